//! Which content codings a browser accepts.

use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;

/// Whether a request's `Accept-Encoding` accepts this coding (RFC 9110).
pub(super) fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter();
    let mut any = false;
    for entry in lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
    {
        let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let wanted = weight(parameters) > 0.0;
        match name.trim() {
            name if name.eq_ignore_ascii_case(coding) => return wanted,
            "*" => any = wanted,
            _ => {}
        }
    }
    any
}

/// The weight of `q=0.5`: 1 without `q`, 0 if it is not a number.
fn weight(parameters: &str) -> f32 {
    let mut parameters = parameters.split(';').map(str::trim);
    let weight = parameters.find_map(|parameter| {
        parameter
            .strip_prefix("q=")
            .or_else(|| parameter.strip_prefix("Q="))
    });
    weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(line: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT_ENCODING, line.parse().unwrap())])
    }

    #[test]
    fn coding_is_accepted_if_named_with_a_weight_above_zero() {
        for line in [
            "br",
            "gzip, deflate, br, zstd",
            "BR;q=0.1",
            "*",
            "gzip;q=0, *",
        ] {
            assert!(accepts(&headers(line), "br"), "{line}");
        }
        for line in [
            "",
            "gzip",
            "br;q=0",
            "br; q=0.0, *",
            "*;q=0",
            "br;q=much",
            "brotli",
        ] {
            assert!(!accepts(&headers(line), "br"), "{line}");
        }
        assert!(!accepts(&HeaderMap::new(), "br"));
    }
}

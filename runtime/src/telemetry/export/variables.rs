//! Reads variables and collects what is wrong with them.

use std::collections::BTreeSet;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::error::run_error::RunError;

/// Whether the program can speak gRPC to a collector.
const HAS_GRPC: bool = cfg!(feature = "otel-grpc");

/// The cure where it cannot.
pub(super) const NO_GRPC: &str = "grpc needs natsfn's feature `otel-grpc`, which this program is built without; build it \
    with that feature, or take http/protobuf, which collectors hear at port 4318";

/// Whether the program can speak TLS to a collector.
pub(super) const HAS_TLS: bool = cfg!(feature = "otel-tls");

/// The cure where it cannot.
pub(super) const NO_TLS: &str = "https needs natsfn's feature `otel-tls`, which this program is built without; build \
    it with that feature, or name a collector beside it, by http, that sends on over https";

/// Variables, and the mistakes found so far.
pub(crate) struct Variables<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    has_grpc: bool,
    has_tls: bool,
    mistakes: Vec<String>,
}

impl<'a> Variables<'a> {
    pub(crate) fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            get,
            has_grpc: HAS_GRPC,
            has_tls: HAS_TLS,
            mistakes: Vec::new(),
        }
    }

    /// The mistakes, if there were any; each once, although some variables are read twice.
    pub(crate) fn finish(mut self) -> Result<(), RunError> {
        let mut seen = BTreeSet::new();
        self.mistakes.retain(|mistake| seen.insert(mistake.clone()));
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(RunError::misuse(self.mistakes))
        }
    }

    /// A variable; an empty one counts as none, as OpenTelemetry has it.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        (self.get)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn one_of<T: Copy>(&mut self, name: &str, known: &[(&str, T)], usual: T) -> T {
        let Some(text) = self.text(name) else {
            return usual;
        };
        let found = known
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(&text));
        found.map_or_else(
            || {
                let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
                self.wrong(name, format!("{text:?} is none of {}", words.join(", ")));
                usual
            },
            |(_, value)| *value,
        )
    }

    pub(crate) fn count(&mut self, name: &str, usual: usize) -> usize {
        self.parsed(name, usual, "a number of at least 1", |text| {
            text.parse().ok().filter(|n| *n > 0)
        })
    }

    pub(crate) fn milliseconds(&mut self, name: &str, usual: Duration) -> Duration {
        self.parsed(
            name,
            usual,
            "a number of milliseconds, at least 1",
            |text| {
                let millis: u64 = text.parse().ok().filter(|n| *n > 0)?;
                Some(Duration::from_millis(millis))
            },
        )
    }

    pub(crate) fn share(&mut self, name: &str, usual: f64) -> f64 {
        self.parsed(name, usual, "a share between 0 and 1", |text| {
            text.parse()
                .ok()
                .filter(|share| (0.0..=1.0).contains(share))
        })
    }

    /// The address of a collector.
    pub(crate) fn address(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let is_tls = text.starts_with("https://");
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
        match host {
            Some(_) if is_tls && !self.has_tls => {
                self.wrong(name, format!("{:?}: {NO_TLS}", shown(&text)));
            }
            Some(host) if !host.is_empty() && has_good_port(host) => return Some(text),
            _ => self.wrong(
                name,
                format!(
                    "{:?} is no address such as http://localhost:4318",
                    shown(&text)
                ),
            ),
        }
        None
    }

    /// gRPC in a program without it is a mistake of the variable that asks for it.
    pub(crate) fn asks_for_grpc(&mut self, names: &[&str]) {
        let is_grpc = |text: String| text.eq_ignore_ascii_case("grpc");
        let asks = names
            .iter()
            .find(|name| self.text(name).is_some_and(is_grpc));
        if let (false, Some(name)) = (self.has_grpc, asks) {
            self.wrong(name, NO_GRPC.to_owned());
        }
    }

    /// `key=value,key=value`, percent-encoded.
    pub(crate) fn pairs(&mut self, name: &str) -> Vec<(String, String)> {
        let text = self.text(name).unwrap_or_default();
        let mut pairs = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            match part.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    let value = percent_decode_str(value.trim()).decode_utf8_lossy();
                    pairs.push((key.trim().to_owned(), value.into_owned()));
                }
                _ => self.wrong(name, format!("{part:?} is no key=value")),
            }
        }
        pairs
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        usual: T,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.text(name) else {
            return usual;
        };
        parse(&text).unwrap_or_else(|| {
            self.wrong(name, format!("{text:?} is not {what}"));
            usual
        })
    }

    pub(crate) fn wrong(&mut self, name: &str, why: String) {
        self.mistakes.push(format!("variable {name}: {why}"));
    }
}

/// An address, which need not be right, without what may be a secret in it: a login, a query.
pub(super) fn shown(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    let host = match plain.rsplit_once('@') {
        Some((_, host)) => host,
        // The end of a password may look like a query.
        None if rest.contains('@') => "...",
        None => plain,
    };
    format!("{scheme}{host}")
}

fn has_good_port(host: &str) -> bool {
    match host.rsplit_once(':') {
        // The last colon of an address such as [::1] is no port's.
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_in_an_address_that_is_none_is_not_shown() {
        for address in [
            "http://user:hush@a",
            "user:hush@a:4318",
            "http://user:hu/sh@a:x",
            "http://user:hush?@a",
            "http://a:x/?key=hush",
        ] {
            let get = |_: &str| Some(address.to_owned());
            let mut variables = Variables::new(&get);
            assert_eq!(variables.address("ENDPOINT"), None);
            let mistake = variables.finish().unwrap_err().to_string();
            assert!(!mistake.contains("hu"), "{mistake}");
        }
    }

    #[test]
    fn https_without_tls_names_the_feature_and_with_it_is_an_address() {
        let get = |_: &str| Some("https://a:4318/x".to_owned());
        for has_tls in [false, true] {
            let mut variables = Variables::new(&get);
            variables.has_tls = has_tls;
            assert_eq!(variables.address("ENDPOINT").is_some(), has_tls);
            let mistake = variables.finish().err().map(|error| error.to_string());
            assert_eq!(mistake.is_none(), has_tls);
            assert!(mistake.is_none_or(|mistake| mistake.contains("otel-tls")));
        }
    }

    #[test]
    fn grpc_without_its_feature_is_a_mistake_of_the_variable_that_asks_for_it() {
        let get = |name: &str| Some(if name == "COMMON" { "GRPC" } else { "x" }.to_owned());
        for has_grpc in [false, true] {
            let mut variables = Variables::new(&get);
            variables.has_grpc = has_grpc;
            variables.asks_for_grpc(&["OWN", "COMMON"]);
            let mistake = variables.finish().err().map(|error| error.to_string());
            assert_eq!(mistake.is_none(), has_grpc);
            assert!(mistake.is_none_or(|it| it.contains("COMMON") && it.contains("otel-grpc")));
        }
    }
}

//! What a browser must not do with the page, said with every answer.

use std::iter;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

use super::Settings;

/// The same for every answer, so that none goes without them.
pub(super) fn of(settings: &Settings) -> HeaderMap {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A link that somebody posts must not tell where it was found.
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let mut headers: HeaderMap = fixed
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    // What stands in the settings was checked: it makes a header.
    if let Ok(policy) = HeaderValue::try_from(policy(settings)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers
}

/// Nothing is allowed but what the page is made of and whom it talks to.
fn policy(settings: &Settings) -> String {
    let connect: Vec<String> = iter::once("'self'".to_owned())
        .chain(settings.origins())
        .collect();
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "manifest-src 'self'",
        &format!("connect-src {}", connect.join(" ")),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    .join("; ")
}

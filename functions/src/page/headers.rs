//! The security headers of every answer.

use std::iter;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

use super::Settings;

/// The headers, the same for every answer.
pub(super) fn of(settings: &Settings) -> HeaderMap {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The target of a posted link must not learn where the link was.
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
    // Always valid: the settings were checked.
    if let Ok(policy) = HeaderValue::try_from(policy(settings)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers
}

/// The Content-Security-Policy: the page's own files, and the addresses that it connects to.
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

//! How long to wait before something is tried again.

use std::time::Duration;

/// Doubles from half a second to half a minute; jitter spreads what failed together.
pub(crate) fn backoff(attempt: u64) -> Duration {
    let doubled = 500u64.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let millis = doubled.min(30_000) as f64 * (0.75 + 0.5 * fastrand::f64());
    Duration::from_millis(millis as u64)
}

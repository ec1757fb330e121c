//! How long to wait before something is tried again.

use std::time::Duration;

/// Doubles from half a second to half a minute, with jitter.
pub(crate) fn backoff(attempt: u64) -> Duration {
    let doubled = 500u64.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    jitter(Duration::from_millis(doubled.min(30_000)))
}

/// A quarter more or less: spreads what failed together.
pub(crate) fn jitter(time: Duration) -> Duration {
    time.mul_f64(0.75 + 0.5 * fastrand::f64())
}

//! A limit on how often one caller may ask.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use serde_json::json;

use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::event::Request;

/// How many checks pass between two clean-ups of keys that are not used any more.
const CLEAN_EVERY: usize = 4096;

/// So many requests a second and caller, with bursts. Each instance counts for itself; clones count
/// together, so several endpoints can share one allowance.
#[derive(Clone)]
pub struct RateLimit {
    key: Arc<dyn Fn(&Caller) -> String + Send + Sync>,
    counts: Arc<Counts>,
}

struct Counts {
    clock: DefaultClock,
    states: DefaultKeyedRateLimiter<String>,
    checks: AtomicUsize,
}

impl RateLimit {
    /// `per_second` requests, and up to `burst` at once after a pause. The key is the caller's user
    /// name.
    pub fn new(per_second: f64, burst: u32) -> Self {
        let period = Duration::from_secs_f64(1.0 / per_second.clamp(0.001, 1e9));
        let quota = Quota::with_period(period)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        let counts = Counts {
            clock: DefaultClock::default(),
            states: DefaultKeyedRateLimiter::keyed(quota),
            checks: AtomicUsize::new(0),
        };
        Self {
            key: Arc::new(|caller| caller.user.clone()),
            counts: Arc::new(counts),
        }
    }

    /// Counts by something else of the caller than the user name.
    #[must_use]
    pub fn by(mut self, key: impl Fn(&Caller) -> String + Send + Sync + 'static) -> Self {
        self.key = Arc::new(key);
        self
    }

    /// Lets a request pass, or refuses it with [`Kind::TooManyRequests`]; a request without a
    /// stamped caller is [`Kind::Unauthorized`].
    pub(crate) fn check(&self, request: &Request) -> Result<()> {
        let key = (self.key)(&Caller::of(request)?);
        let Counts {
            clock,
            states,
            checks,
        } = &*self.counts;
        if checks.fetch_add(1, Relaxed) % CLEAN_EVERY == CLEAN_EVERY - 1 {
            states.retain_recent();
        }
        states.check_key(&key).map_err(|refused| {
            let wait = refused.wait_time_from(clock.now());
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            Error::new(
                Kind::TooManyRequests,
                format!("too many requests: try again in {wait_ms} ms"),
            )
            .with_details(json!({ "retry_after_ms": wait_ms }))
        })
    }
}

impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RateLimit")
    }
}

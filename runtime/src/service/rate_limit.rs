//! A limit on how often one caller may ask, and on how much at once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use parking_lot::Mutex;
use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::function::caller::Caller;
use crate::function::event::Request;

/// How many checks pass between two clean-ups of keys that are not used any more.
const CLEAN_EVERY: usize = 4096;

/// When a caller who has too many requests in flight is told to try again.
const BUSY_MS: u64 = 250;

/// A longer key is counted by its hash: who makes up keys would fill the memory with them.
const LONGEST_KEY: usize = 128;

/// The longest time that a burst may take to come back: the clock counts no more than 584 years.
const LONGEST_BURST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// So many requests a second and caller, with bursts, and so many at once. Each instance counts for
/// itself; clones count together, so several endpoints can share one allowance.
///
/// ```
/// use natsfn::{Endpoint, RateLimit};
///
/// // 20 a second, 100 after a pause, and never more than 16 at the same time.
/// let limit = RateLimit::new(20.0, 100).in_flight(16);
/// let price = Endpoint::new("price", "shop.price.{sku}").rate_limit(limit.clone());
/// let stock = Endpoint::new("stock", "shop.stock.{sku}").rate_limit(limit);
/// ```
#[derive(Clone)]
pub struct RateLimit {
    per_second: f64,
    key: Arc<Key>,
    pub(crate) is_by_caller: bool,
    counts: Arc<Counts>,
    max_in_flight: usize,
    in_flight: Arc<InFlight>,
}

/// Whose request it is.
type Key = dyn Fn(&Request) -> Result<String> + Send + Sync;

/// How many requests each caller has in flight; who has none is not in it.
#[derive(Default)]
struct InFlight(Mutex<HashMap<String, usize>>);

/// A request that was let pass: it is in flight until this is dropped.
pub(crate) struct Admitted {
    key: String,
    in_flight: Arc<InFlight>,
}

struct Counts {
    clock: DefaultClock,
    states: DefaultKeyedRateLimiter<String>,
    checks: AtomicUsize,
    hashers: [RandomState; 2],
}

impl RateLimit {
    /// `per_second` requests (more than 0; one in 1,000 s at least), and up to `burst` at once after a pause. The key is
    /// the caller's user name.
    pub fn new(per_second: f64, burst: u32) -> Self {
        let rate = if per_second > 0.0 { per_second } else { 0.0 };
        let period = Duration::from_secs_f64(1.0 / rate.clamp(0.001, 1e9));
        let most = LONGEST_BURST.as_nanos() / period.as_nanos().max(1);
        let burst = burst.min(u32::try_from(most).unwrap_or(u32::MAX));
        let quota = Quota::with_period(period)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        let counts = Counts {
            clock: DefaultClock::default(),
            states: DefaultKeyedRateLimiter::keyed(quota),
            checks: AtomicUsize::new(0),
            hashers: [RandomState::new(), RandomState::new()],
        };
        Self {
            per_second,
            key: Arc::new(|request| Ok(Caller::of(request)?.user)),
            is_by_caller: true,
            counts: Arc::new(counts),
            max_in_flight: usize::MAX,
            in_flight: Arc::default(),
        }
    }

    /// How many requests of one caller may be in flight at once, those that wait for their turn
    /// included (as many as they like, unless this says otherwise; at least 1).
    #[must_use]
    pub fn in_flight(mut self, n: usize) -> Self {
        self.max_in_flight = n.max(1);
        self
    }

    /// Counts by something else of the caller than the user name.
    #[must_use]
    pub fn by(mut self, key: impl Fn(&Caller) -> String + Send + Sync + 'static) -> Self {
        self.key = Arc::new(move |request| Ok(key(&Caller::of(request)?)));
        self.is_by_caller = true;
        self
    }

    /// Counts by something of the request, such as a header or a token of the subject. It needs no caller, which only a
    /// server with accounts names. An error refuses the request. It limits nobody who may choose that at will: who has
    /// used one up takes another.
    ///
    /// ```
    /// use natsfn::{Endpoint, Error, RateLimit};
    ///
    /// let by_key = RateLimit::new(20.0, 100).by_request(|request| {
    ///     let key = request.headers().get("Api-Key");
    ///     let key = key.ok_or_else(|| Error::bad_request("the header Api-Key is missing"))?;
    ///     Ok(key.to_string())
    /// });
    /// let price = Endpoint::new("price", "shop.price.{sku}").rate_limit(by_key);
    /// ```
    #[must_use]
    pub fn by_request(
        mut self,
        key: impl Fn(&Request) -> Result<String> + Send + Sync + 'static,
    ) -> Self {
        self.key = Arc::new(key);
        self.is_by_caller = false;
        self
    }

    /// Lets a request pass for as long as the answer is held, or refuses it with
    /// [`Kind::TooManyRequests`]; where the caller counts, a request without one is [`Kind::Unauthorized`].
    pub(crate) fn admit(&self, request: &Request) -> Result<Admitted> {
        let key = self.counts.short((self.key)(request)?);
        // What is refused for being too much at once does not count as asked.
        let admitted = self.in_flight.enter(key, self.max_in_flight)?;
        self.counts.check(&admitted.key)?;
        Ok(admitted)
    }
}

impl RateLimit {
    /// Why it makes no sense.
    pub(crate) fn problem(&self) -> Option<String> {
        let per_second = self.per_second;
        // False of what is no number, too.
        let is_positive = per_second > 0.0;
        (!is_positive).then(|| {
            format!("RateLimit::new({per_second}, ..) lets nobody in: it takes more than 0 requests a second")
        })
    }
}

impl Counts {
    /// The key as it is counted.
    fn short(&self, key: String) -> String {
        if key.len() <= LONGEST_KEY {
            return key;
        }
        let hashes = self.hashers.each_ref().map(|hasher| hasher.hash_one(&key));
        format!("{hashes:x?}")
    }

    fn check(&self, key: &String) -> Result<()> {
        if self.checks.fetch_add(1, Relaxed) % CLEAN_EVERY == CLEAN_EVERY - 1 {
            self.states.retain_recent();
        }
        self.states.check_key(key).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            too_many("too many requests".to_owned(), wait_ms)
        })
    }
}

impl InFlight {
    fn enter(self: &Arc<Self>, key: String, max: usize) -> Result<Admitted> {
        let mut counts = self.0.lock();
        match counts.get_mut(&key) {
            Some(count) if *count >= max => {
                let said = format!("{max} of your requests are in flight already");
                return Err(too_many(said, BUSY_MS));
            }
            Some(count) => *count += 1,
            None => {
                counts.insert(key.clone(), 1);
            }
        }
        Ok(Admitted {
            key,
            in_flight: self.clone(),
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.in_flight.0.lock();
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.key);
            }
        }
    }
}

fn too_many(said: String, wait_ms: u64) -> Error {
    let said = format!("{said}: try again in {wait_ms} ms");
    Error::new(Kind::TooManyRequests, said).with_details(json!({ "retry_after_ms": wait_ms }))
}

impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RateLimit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_nothing_in_flight_any_more_takes_no_memory() {
        let in_flight = Arc::new(InFlight::default());
        let alices: Vec<_> = (0..3).map(|_| in_flight.enter("alice".into(), 3)).collect();
        assert!(alices.iter().all(Result::is_ok));
        let refused = in_flight.enter("alice".into(), 3).err().unwrap();
        assert_eq!(refused.kind(), Kind::TooManyRequests);
        drop(in_flight.enter("bob".into(), 3));
        assert_eq!(in_flight.0.lock().len(), 1);
        drop(alices);
        assert!(in_flight.0.lock().is_empty());
    }

    #[test]
    fn long_key_takes_no_more_memory_than_a_short_one_and_is_still_its_own() {
        let counts = RateLimit::new(1.0, 1).counts;
        let long = |last: &str| counts.short("x".repeat(1 << 20) + last);
        assert!(long("a").len() <= LONGEST_KEY);
        assert_eq!(long("a"), long("a"));
        assert_ne!(long("a"), long("b"));
        assert_eq!(counts.short("alice".to_owned()), "alice");
    }

    #[test]
    fn burst_may_be_as_large_as_its_type_has_it() {
        for per_second in [f64::NAN, 0.0, 0.001, 0.2, 1.0, 1e9, f64::INFINITY] {
            let counts = RateLimit::new(per_second, u32::MAX).counts;
            for _ in 0..1000 {
                assert!(counts.check(&"alice".to_owned()).is_ok(), "{per_second}");
            }
        }
    }
}

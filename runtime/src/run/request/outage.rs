//! Failures of an endpoint that last: the log has their begin and their end, the counters the rest.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use parking_lot::Mutex;

use crate::nats::connect::TELL;

/// Whether the last requests have failed because something is away or slow.
#[derive(Default)]
pub(super) struct Outage {
    /// Since the last success.
    failures: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    is_open: bool,
}

impl Outage {
    /// Counts a failure. Returns whether it is to be told: the first of several, and not more than
    /// once a minute where some requests succeed in between.
    pub(super) fn fails(&self) -> bool {
        if self.failures.fetch_add(1, Relaxed) > 0 {
            return false;
        }
        let mut told = self.told.lock();
        let is_new = told.last.is_none_or(|last| last.elapsed() >= TELL);
        if is_new {
            told.last = Some(Instant::now());
            told.is_open = true;
        }
        is_new
    }

    /// A request has succeeded. Returns how many have failed before, if that was told.
    pub(super) fn ends(&self) -> Option<u64> {
        if self.failures.load(Relaxed) == 0 {
            return None;
        }
        let failures = self.failures.swap(0, Relaxed);
        std::mem::take(&mut self.told.lock().is_open).then_some(failures)
    }
}

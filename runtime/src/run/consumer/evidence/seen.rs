//! The failures and successes that one instance of a consumer has seen.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::function::event::Key;

#[derive(Default)]
pub(super) struct Seen {
    pub(super) successes: u64,
    pub(super) failing: HashMap<Key, Failing>,
    /// Set while nothing succeeds.
    pub(super) doubt: Option<Doubt>,
}

/// A message that has failed, or was returned to the server untried.
#[derive(Default)]
pub(super) struct Failing {
    /// When it failed first and last.
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
    /// The successes of other messages at its last try.
    pub(super) successes: u64,
    pub(super) tries: u32,
    pub(super) attempts: u32,
    pub(super) timeouts: u32,
    pub(super) alone: bool,
    /// How often this instance has returned it to the server: deliveries that no crash explains.
    pub(super) returned: u64,
}

pub(super) struct Doubt {
    pub(super) rounds: u32,
    /// When the next round begins.
    pub(super) next: Instant,
    /// How many messages may still be tried in this round.
    pub(super) budget: u32,
    pub(super) failed: Instant,
}

impl Seen {
    pub(super) fn record(&mut self, key: Key) -> &mut Failing {
        if self.failing.len() >= REMEMBERED && !self.failing.contains_key(&key) {
            self.failing.clear();
        }
        self.failing.entry(key).or_default()
    }

    pub(super) fn others_fail(&self, key: Key, now: Instant) -> bool {
        self.failing.iter().any(|(other, record)| {
            *other != key && record.last.is_some_and(|last| now - last < STALE)
        })
    }
}

/// Limits the memory of failures. Beyond it all are forgotten, which costs failing messages some more
/// attempts.
const REMEMBERED: usize = 200_000;

/// An older failure is no evidence about other messages: another instance may have handled the failed
/// one since.
pub(super) const STALE: Duration = Duration::from_secs(60);

//! The failures and successes that one instance of a consumer has seen.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::function::event::Key;
use crate::service::consumer::MOST_UNSETTLED;

#[derive(Default)]
pub(super) struct Seen {
    pub(super) successes: u64,
    pub(super) last_success: Option<Instant>,
    /// Failures since then that nothing explains.
    pub(super) in_vain: u32,
    pub(super) failing: HashMap<Key, Failing>,
    /// When those of them are to be tried again whose error may concern others too.
    waiting: BTreeSet<(Instant, Key)>,
    /// Set while nothing succeeds.
    pub(super) doubt: Option<Doubt>,
}

/// A message that has failed, or was returned to the server untried.
#[derive(Default)]
pub(super) struct Failing {
    /// When it failed first.
    pub(super) first: Option<Instant>,
    /// The same of errors that concerned it alone: what an outage before took is not counted against it.
    pub(super) own_first: Option<Instant>,
    pub(super) own_tries: u32,
    /// When it is to be tried again, which may be a long time after it has failed; none where its error
    /// concerned it alone.
    due: Option<Instant>,
    /// How often it had been delivered before that, with no outcome that is known here, and its age then.
    pub(super) before: (u64, Duration),
    /// The successes of other messages at its last try.
    pub(super) successes: u64,
    pub(super) tries: u32,
    pub(super) attempts: u32,
    pub(super) timeouts: u32,
    pub(super) alone: bool,
    /// Its first wait here was short, in case of an outage: others may not have come to fail within it.
    pub(super) hurried: bool,
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
            self.waiting.clear();
        }
        self.failing.entry(key).or_default()
    }

    /// Notes when a message that has failed is to be tried again; none where its error concerned it alone.
    pub(super) fn set_due(&mut self, key: Key, due: Option<Instant>) {
        let before = std::mem::replace(&mut self.record(key).due, due);
        if let Some(before) = before {
            self.waiting.remove(&(before, key));
        }
        self.waiting.extend(due.map(|due| (due, key)));
    }

    pub(super) fn forget(&mut self, key: Key) {
        let due = self.failing.remove(&key).and_then(|record| record.due);
        if let Some(due) = due {
            self.waiting.remove(&(due, key));
        }
    }

    pub(super) fn others_fail(&self, key: Key, now: Instant) -> bool {
        // The two that are due last: one of them is another.
        let mut last = self.waiting.iter().rev().take(2);
        last.any(|&(due, other)| other != key && now < due + STALE)
    }
}

/// How long ago the stream stored a message.
pub(super) fn age(key: Key) -> Duration {
    let stored = UNIX_EPOCH + Duration::from_nanos(u64::try_from(key.1).unwrap_or(0));
    SystemTime::now().duration_since(stored).unwrap_or_default()
}

/// Limits the memory of failures. Beyond it all are forgotten, and what failed here counts as delivered
/// elsewhere: the waits go on, the attempts begin anew, and of the time only a part counts. So with more
/// messages that wait than this, those that fail may never be given up.
const REMEMBERED: usize = MOST_UNSETTLED;

/// A message that has not come back for so long after its wait is no evidence about others: another instance
/// may have handled it since.
pub(super) const STALE: Duration = Duration::from_secs(60);

//! A subject's last message.

use std::time::Instant;

use serde::Deserialize;

use crate::function::event::nanoseconds;
use crate::nats::jetstream;

/// A subject's last message, as a look at the stream's leader found it.
#[derive(Clone, Debug)]
pub struct Head {
    pub(super) last: Option<Last>,
    /// The client's count of connects: restoring an older copy of a stream takes a restart of the server.
    pub(super) connects: u64,
    /// When the look began.
    pub(super) looked: Instant,
}

/// The last message of a subject. The time tells it from one with the same sequence in a stream that was made
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Last {
    seq: u64,
    time: String,
}

/// Whether two looks have found the same.
impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        (&self.last, self.connects) == (&other.last, other.connects)
    }
}

impl Head {
    /// Its sequence, 0 where the subject has no message.
    pub fn seq(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.seq)
    }

    /// When the stream stored it, in nanoseconds since 1970; `None` where the subject has no message.
    pub fn time_ns(&self) -> Option<i64> {
        self.at().map(|(_, time_ns)| time_ns)
    }

    /// Its sequence, and when the stream stored it.
    pub(super) fn at(&self) -> Option<(u64, i64)> {
        let last = self.last.as_ref()?;
        let time = jetstream::parse_time(&last.time).ok()?;
        Some((last.seq, nanoseconds(time)))
    }

    #[cfg(test)]
    pub(super) fn of_none(connects: u64) -> Self {
        Self {
            last: None,
            connects,
            looked: Instant::now(),
        }
    }
}

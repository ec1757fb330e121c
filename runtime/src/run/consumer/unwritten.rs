//! Dead letters that cannot be written at present. The message stays on the server, unsettled, with a long
//! redelivery delay; its error is remembered, so the function is not called again.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::Error;
use crate::function::event::{Key, StreamId};
use crate::run::backoff::jitter;

/// More than a consumer may have unsettled; beyond it a message is tried again instead.
const REMEMBERED: usize = 200_000;

/// After this delay a message is redelivered, in case this instance is gone; while it is not, each
/// redelivery is wasted.
const SHORTEST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// A message's dead letter, without the message.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) error: Arc<Error>,
    pub(crate) attempts: u32,
    pub(crate) stream: Arc<StreamId>,
    /// The subject to term the message on, once the letter is written.
    pub(crate) ack: Subject,
}

/// The dead letters of one consumer that wait to be written.
#[derive(Default)]
pub(crate) struct Unwritten {
    letters: Mutex<BTreeMap<Key, Letter>>,
    added: Notify,
}

impl Unwritten {
    pub(crate) fn is_empty(&self) -> bool {
        self.letters.lock().is_empty()
    }

    /// Remembers a letter; returns the redelivery delay of its message.
    pub(crate) fn add(&self, key: Key, letter: Letter) -> Duration {
        let mut letters = self.letters.lock();
        if letters.len() < REMEMBERED {
            letters.insert(key, letter);
        }
        self.added.notify_one();
        jitter(SHORTEST_WAIT)
    }

    /// Notes that a message whose letter waits here was redelivered; returns its next delay.
    pub(crate) fn again(&self, key: Key, ack: &Subject) -> Option<Duration> {
        let mut letters = self.letters.lock();
        letters.get_mut(&key)?.ack = ack.clone();
        Some(jitter(LONGEST_WAIT))
    }

    /// The next letters after `key`, from the beginning again after the last one.
    pub(crate) fn after(&self, key: Option<Key>, n: usize) -> Vec<(Key, Letter)> {
        let letters = self.letters.lock();
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = letters.range((from, Bound::Unbounded));
        let found: Vec<_> = rest.take(n).map(copy).collect();
        if found.is_empty() {
            letters.iter().take(n).map(copy).collect()
        } else {
            found
        }
    }

    /// Forgets a letter that is written; returns the subject to term its message on.
    pub(crate) fn take(&self, key: Key) -> Option<Subject> {
        self.letters.lock().remove(&key).map(|letter| letter.ack)
    }

    /// Forgets all; returns the subjects to give their messages back on.
    pub(crate) fn take_all(&self) -> Vec<Subject> {
        let letters = std::mem::take(&mut *self.letters.lock());
        letters.into_values().map(|letter| letter.ack).collect()
    }

    /// Returns when there is a letter.
    pub(crate) async fn wait(&self) {
        while self.is_empty() {
            self.added.notified().await;
        }
    }
}

fn copy((key, letter): (&Key, &Letter)) -> (Key, Letter) {
    (*key, letter.clone())
}

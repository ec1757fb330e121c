//! The deliveries that this instance holds: kept in progress until they are settled, so that slow
//! work is not given to another instance, and given back when the instance stops.

use std::collections::HashMap;
use std::mem::take;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Subject};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::position::Position;
use crate::function::event::Key;

struct Held {
    ack: Subject,
    told: Instant,
}

/// How often is looked for what the server has not heard of for too long.
const LOOK: Duration = Duration::from_millis(250);

/// The unsettled deliveries of one consumer in this instance.
pub(crate) struct InProgress {
    held: Mutex<HashMap<Key, Held>>,
    /// After how long without a word the server delivers a message again.
    ack_wait: Mutex<Duration>,
}

impl InProgress {
    pub(crate) fn new(ack_wait: Duration) -> Self {
        Self {
            held: Mutex::default(),
            ack_wait: Mutex::new(ack_wait),
        }
    }

    /// The consumer on the server waits for so long: another version, or an operator, may have set it.
    pub(crate) fn server_waits(&self, ack_wait: Duration) {
        *self.ack_wait.lock() = ack_wait;
    }

    /// Holds a delivery. False if the message is held already: it was redelivered meanwhile, and only its
    /// newest acknowledgement counts.
    pub(crate) fn hold(&self, key: Key, ack: Subject) -> bool {
        let mut all = self.held.lock();
        all.insert(
            key,
            Held {
                ack,
                told: Instant::now(),
            },
        )
        .is_none()
    }

    /// Ends the hold; returns the subject to send the outcome to.
    pub(crate) fn settle(&self, key: Key) -> Option<Subject> {
        self.held.lock().remove(&key).map(|held| held.ack)
    }

    /// The subject to send the outcome to, while the message is held.
    pub(crate) fn peek(&self, key: Key) -> Option<Subject> {
        self.held.lock().get(&key).map(|held| held.ack.clone())
    }

    /// Ends all holds; returns their messages and subjects.
    pub(crate) fn take_all(&self) -> impl Iterator<Item = (Key, Subject)> + use<> {
        let all = take(&mut *self.held.lock());
        all.into_iter().map(|(key, held)| (key, held.ack))
    }

    /// Ends all holds without an outcome, of which the server learns nothing; returns how many there were.
    pub(crate) fn forget(&self) -> usize {
        take(&mut *self.held.lock()).len()
    }

    /// The held messages with the highest sequences, the highest first.
    pub(crate) fn last(&self, n: usize) -> Vec<Key> {
        let mut keys: Vec<Key> = self.held.lock().keys().copied().collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.truncate(n);
        keys
    }

    /// Keeps the fetched messages that are still to be settled: not those that were let go of since, nor, of two with
    /// the same sequence, the one that came first, which a log that was rolled back has replaced.
    pub(crate) fn keep_current<M>(&self, fetched: &mut Vec<(Position, M)>) {
        let times = fetched.iter().map(|(it, _)| (it.seq, it.time_ns));
        let times: HashMap<u64, i64> = times.collect();
        let mut held = self.held.lock();
        fetched.retain(|(position, _)| {
            let is_current = times.get(&position.seq) == Some(&position.time_ns);
            if !is_current {
                held.remove(&position.key());
            }
            is_current && held.contains_key(&position.key())
        });
    }

    /// Regularly tells the server that the held messages are in progress. Runs until dropped.
    pub(crate) async fn keep(&self, nats: &Client) {
        loop {
            let pause = *self.ack_wait.lock() / 3;
            tokio::time::sleep(pause.clamp(Duration::from_millis(10), LOOK)).await;
            // While the connection is down, signals would pile up and be stale.
            if nats.connection_state() != State::Connected {
                continue;
            }
            for ack in self.due(pause) {
                // A failure shows as a redelivery, which is harmless.
                let _ = nats.publish(ack, "+WPI".into()).await;
            }
        }
    }

    fn due(&self, pause: Duration) -> Vec<Subject> {
        let now = Instant::now();
        let mut due = Vec::new();
        for held in self.held.lock().values_mut() {
            if now.duration_since(held.told) >= pause {
                held.told = now;
                due.push(held.ack.clone());
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetched_messages_that_are_no_longer_to_be_settled_are_left_out() {
        let held = InProgress::new(Duration::from_secs(30));
        let at = |seq, time_ns| Position {
            seq,
            time_ns,
            delivered: 1,
        };
        let all = [at(5, 50), at(6, 60), at(7, 70), at(5, 51), at(6, 59)];
        for position in all {
            held.hold(position.key(), "ack".into());
        }
        held.settle(at(7, 70).key());

        let mut fetched: Vec<_> = all.map(|position| (position, ())).into();
        held.keep_current(&mut fetched);

        let kept: Vec<Key> = fetched
            .iter()
            .map(|(position, ())| position.key())
            .collect();
        assert_eq!(kept, [(5, 51), (6, 59)]);
        assert_eq!(held.last(1), [(6, 59)]);
        assert_eq!(held.forget(), 2, "the former ones are no longer held");
    }
}

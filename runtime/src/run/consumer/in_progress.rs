//! The deliveries that this instance holds: kept in progress until they are settled, so that slow
//! work is not given to another instance, and given back when the instance stops.

use std::collections::HashMap;
use std::mem::take;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Subject};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::function::event::Key;

struct Held {
    ack: Subject,
    told: Instant,
}

/// The unsettled deliveries of one consumer in this instance.
#[derive(Default)]
pub(crate) struct InProgress(Mutex<HashMap<Key, Held>>);

impl InProgress {
    /// Holds a delivery. False if the message is held already: it was redelivered meanwhile, and only its
    /// newest acknowledgement counts.
    pub(crate) fn hold(&self, key: Key, ack: Subject) -> bool {
        let mut all = self.0.lock();
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
        self.0.lock().remove(&key).map(|held| held.ack)
    }

    /// The subject to send the outcome to, while the message is held.
    pub(crate) fn peek(&self, key: Key) -> Option<Subject> {
        self.0.lock().get(&key).map(|held| held.ack.clone())
    }

    /// Ends all holds; returns their messages and subjects.
    pub(crate) fn take_all(&self) -> impl Iterator<Item = (Key, Subject)> + use<> {
        let all = take(&mut *self.0.lock());
        all.into_iter().map(|(key, held)| (key, held.ack))
    }

    /// Regularly tells the server that the held messages are in progress. Runs until dropped.
    pub(crate) async fn keep(&self, nats: &Client, ack_wait: Duration) {
        let pause = ack_wait / 3;
        let mut tick = tokio::time::interval(pause.max(Duration::from_millis(10)));
        loop {
            tick.tick().await;
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
        for held in self.0.lock().values_mut() {
            if now.duration_since(held.told) >= pause {
                held.told = now;
                due.push(held.ack.clone());
            }
        }
        due
    }
}

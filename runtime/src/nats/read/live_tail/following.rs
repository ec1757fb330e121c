//! The task that follows a subject.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::time::timeout_at;

use super::chain::{Chain, Link};
use super::{Followed, Tails};
use crate::error::{Error, Result};
use crate::nats::client::Client;
use crate::nats::range::{header, stored};

/// How long a subject is followed after somebody asked about it.
const IDLE: Duration = Duration::from_secs(10);

/// Follows a subject until nobody asks any more. Then, or when this is dropped, it is forgotten.
pub(super) struct Following<T> {
    pub(super) tails: Weak<Tails<T>>,
    pub(super) subject: String,
    pub(super) followed: Arc<Followed<T>>,
}

impl<T> Following<T> {
    pub(super) async fn run(&self, client: &Client, live: String) -> Result<()> {
        let reads = client.reads();
        let taken = match reads {
            Some(reads) => Some(reads.take().await?),
            None => None,
        };
        let nats = taken.as_ref().map_or(client.nats(), |taken| &taken.nats);
        let mut messages = nats.subscribe(live).await.map_err(Error::from)?;
        loop {
            let until = *self.followed.asked.lock() + IDLE;
            match timeout_at(until.into(), messages.next()).await {
                Ok(Some(message)) => {
                    let Some(tails) = self.tails.upgrade() else {
                        return Ok(());
                    };
                    self.push(&tails, message, connects(client));
                }
                // The client's own task has ended.
                Ok(None) => {
                    if let (Some(reads), Some(taken)) = (reads, &taken) {
                        reads.ended(taken);
                    }
                    return Ok(());
                }
                Err(_) if self.followed.asked.lock().elapsed() >= IDLE => return Ok(()),
                Err(_) => {}
            }
        }
    }

    fn push(&self, tails: &Tails<T>, message: async_nats::Message, connects: u64) {
        // Others may be republished to the same subject.
        if header(&message, "Nats-Stream") != Some(&tails.stream) {
            return;
        }
        let previous = header(&message, "Nats-Last-Sequence").and_then(|seq| seq.parse().ok());
        let bytes = message.length;
        let Ok(message) = stored(message) else {
            return;
        };
        if message.subject() != self.subject {
            return;
        }
        let link = Link {
            seq: message.seq(),
            time_ns: message.time_ns(),
            bytes,
            came: Instant::now(),
            value: (tails.read)(&message),
        };
        // What was missed has come, or the next one that is missed is another.
        *self.followed.missed.lock() = None;
        tails.change(&self.followed, |chain| {
            chain.push(link, previous.unwrap_or(0), connects);
            chain.drop_older(tails.max_age);
        });
        while tails.bytes.load(Relaxed) > tails.max_bytes
            && self.followed.chain.borrow().bytes() > 0
        {
            tails.change(&self.followed, Chain::drop_first);
        }
    }
}

impl<T> Drop for Following<T> {
    fn drop(&mut self) {
        if let Some(tails) = self.tails.upgrade() {
            tails.change(&self.followed, Chain::end);
            // Its handle may end this task, so outside of the lock.
            let entry = tails.subjects.lock().remove(&self.subject);
            drop(entry);
        }
    }
}

/// How often the connection was made on which a client hears what it follows.
pub(super) fn connects(client: &Client) -> u64 {
    let own = client.reads().filter(|reads| reads.is_replaced());
    own.map_or_else(
        || client.nats().statistics().connects.load(Relaxed),
        |reads| reads.connects(),
    )
}

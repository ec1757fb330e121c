//! The newest messages of a stream's subjects, in memory.

mod chain;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

use super::head::Head;
use crate::error::{Error, Result};
use crate::function::event::Message;
use crate::nats::client::Client;
use crate::nats::client::access::Access;
use crate::nats::range::{header, stored};
use chain::{Chain, Link};

/// How long a subject is followed after somebody asked about it.
const IDLE: Duration = Duration::from_secs(10);

/// How many subjects are followed at most.
const SUBJECTS: usize = 1_000;

/// How long a message may take to come that the stream has. It comes with its acknowledgement, which waits for the
/// server's disk.
const PATIENCE: Duration = Duration::from_millis(500);

/// The newest messages of a stream's subjects, in memory, each as what `read` made of it: for answers that need the
/// messages that are not in a database yet, where much arrives.
///
/// The stream must be [republished](crate::Stream::republish). A subject that somebody asks about is followed from then
/// on, until nobody has asked for 10 s. Each message names the one before it, so what was missed is noticed. What is
/// held proves nothing by itself: it is compared with the subject's last message in the stream, which a
/// [`StreamCache`](crate::StreamCache) looks at for each question.
///
/// A message that is deleted from the stream may be held until it is `max_age` old.
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
/// use natsfn::{Access, Client, Endpoint, Head, LiveTail, Message, Result, Service, State};
///
/// type Sizes = LiveTail<usize>;
///
/// /// The sizes of the orders above `stored`, up to the last one, where they are held.
/// async fn sizes(sizes: &Sizes, client: &Client, who: &str, stored: u64, known: Instant, last: &Head) -> Option<Vec<usize>> {
///     let held = sizes.between(client, &format!("orders.{who}"), stored, last, known).await?;
///     Some(held.into_iter().map(|(_seq, size)| size).collect())
/// }
///
/// let sizes = Sizes::new("ORDERS", "live.", 8 << 20, Duration::from_secs(4), |order| order.payload().len());
/// # let _ = (sizes, Access::hears("live.orders.{who}"));
/// ```
pub struct LiveTail<T>(Arc<Tails<T>>);

struct Tails<T> {
    stream: String,
    prefix: String,
    read: fn(&Message) -> T,
    max_bytes: usize,
    max_age: Duration,
    subjects: Mutex<HashMap<String, Arc<Followed<T>>>>,
    /// What is held of all subjects.
    bytes: AtomicUsize,
}

/// A subject that is followed.
struct Followed<T> {
    chain: watch::Sender<Chain<T>>,
    asked: Mutex<Instant>,
}

impl<T: Clone + Send + Sync + 'static> LiveTail<T> {
    /// Holds messages of a stream that is republished to `prefix` and the subject: at most so many bytes of them, as they
    /// are on the wire, and each no longer than `max_age`.
    pub fn new(
        stream: impl Into<String>,
        prefix: impl Into<String>,
        max_bytes: usize,
        max_age: Duration,
        read: fn(&Message) -> T,
    ) -> Self {
        Self(Arc::new(Tails {
            stream: stream.into(),
            prefix: prefix.into(),
            read,
            max_bytes,
            max_age,
            subjects: Mutex::default(),
            bytes: AtomicUsize::new(0),
        }))
    }

    /// A subject's messages above a sequence, up to `last`, its last message as a look at the stream has found it, in
    /// the stream's order and with their sequences. `known` is a moment after which the caller looked at the stream, and
    /// found that it is the one in which `above` is meant.
    ///
    /// `None` if not all of them are held: then they are to be read from the stream. So it is while the subject is
    /// followed for the first moments, after a message was missed, and where the user may not subscribe the subject that
    /// the stream is republished to.
    ///
    /// # Errors
    /// In dev, that the function does not declare [`Access::hears`].
    pub async fn between(
        &self,
        client: &Client,
        subject: &str,
        above: u64,
        last: &Head,
        known: Instant,
    ) -> Result<Option<Vec<(u64, T)>>> {
        let live = format!("{}{subject}", self.0.prefix);
        client.check(|| Access::hears(&live))?;
        let Some(last) = last.at() else {
            return Ok(None);
        };
        let Some(followed) = self.followed(client, subject, live) else {
            return Ok(None);
        };
        let connects = connects(client);
        let mut chain = followed.chain.subscribe();
        if chain.borrow().connects() != connects {
            return Ok(None);
        }
        let reached = chain.wait_for(|chain| chain.has_reached(last.0));
        if timeout(PATIENCE, reached).await.is_err() {
            // It was missed. Nobody waits again for what does not come.
            self.0.change(&followed, Chain::end);
            return Ok(None);
        }
        self.0
            .change(&followed, |chain| chain.drop_older(self.0.max_age));
        let held = followed
            .chain
            .borrow()
            .between(above, last, known, connects);
        Ok(held)
    }

    /// What is held of a subject, which is followed from now on; `None` where too many are.
    fn followed(&self, client: &Client, subject: &str, live: String) -> Option<Arc<Followed<T>>> {
        let mut subjects = self.0.subjects.lock();
        if let Some(followed) = subjects.get(subject) {
            *followed.asked.lock() = Instant::now();
            return Some(followed.clone());
        }
        if subjects.len() >= SUBJECTS {
            return None;
        }
        let followed = Arc::new(Followed {
            chain: watch::Sender::new(Chain::new()),
            asked: Mutex::new(Instant::now()),
        });
        subjects.insert(subject.to_owned(), followed.clone());
        let (tails, subject) = (Arc::downgrade(&self.0), subject.to_owned());
        let following = Following {
            tails,
            subject,
            followed: followed.clone(),
        };
        let client = client.clone();
        tokio::spawn(async move {
            if let Err(error) = following.run(&client, live).await {
                tracing::debug!(%error, subject = following.subject, "a subject cannot be followed");
            }
        });
        Some(followed)
    }
}

impl<T> Tails<T> {
    /// Changes what is held of a subject; the bytes of all are counted.
    fn change(&self, followed: &Followed<T>, change: impl FnOnce(&mut Chain<T>)) {
        // Those who wait look at it again.
        followed.chain.send_modify(|chain| {
            let before = chain.bytes();
            change(chain);
            self.bytes.fetch_add(chain.bytes(), Relaxed);
            self.bytes.fetch_sub(before, Relaxed);
        });
    }
}

/// Follows a subject until nobody asks any more. Then, or when this is dropped, it is forgotten.
struct Following<T> {
    tails: Weak<Tails<T>>,
    subject: String,
    followed: Arc<Followed<T>>,
}

impl<T> Following<T> {
    async fn run(&self, client: &Client, live: String) -> Result<()> {
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
        let link = Link {
            seq: message.seq(),
            time_ns: message.time_ns(),
            bytes,
            came: Instant::now(),
            value: (tails.read)(&message),
        };
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
            tails.subjects.lock().remove(&self.subject);
        }
    }
}

/// How often the connection was made on which a client hears what it follows.
fn connects(client: &Client) -> u64 {
    let own = client.reads().filter(|reads| reads.is_replaced());
    own.map_or_else(
        || client.nats().statistics().connects.load(Relaxed),
        |reads| reads.connects(),
    )
}

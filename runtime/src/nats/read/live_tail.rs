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
use tokio_util::task::AbortOnDropHandle;

use super::head::Head;
use crate::error::{Error, Result};
use crate::function::event::Message;
use crate::nats::client::Client;
use crate::nats::client::access::Access;
use crate::nats::range::{header, stored};
use chain::{Chain, Link};

/// How long a subject is followed after somebody asked about it.
const IDLE: Duration = Duration::from_secs(10);

/// How many subjects are followed at most: servers limit the subscriptions of a connection, and ranges need some.
const SUBJECTS: usize = 256;

/// How long a message may take to come that the stream has. It comes with its acknowledgement, which waits for the
/// server's disk.
const PATIENCE: Duration = Duration::from_millis(500);

/// For how long nobody waits after a message that did not come.
const AFTER_MISS: Duration = Duration::from_secs(5);

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
/// use std::time::{Duration, Instant};
/// use natsfn::{Access, Client, Endpoint, Head, LiveTail, Result};
///
/// type Sizes = LiveTail<usize>;
///
/// /// The sizes of somebody's orders above `stored`, up to the last one; `None` if not all of them are held.
/// async fn sizes(
///     sizes: &Sizes,
///     client: &Client,
///     who: &str,
///     (stored, known): (u64, Instant),
///     last: &Head,
/// ) -> Result<Option<Vec<usize>>> {
///     let subject = format!("orders.{who}");
///     let held = sizes.between(client, &subject, stored, last, known).await?;
///     Ok(held.map(|held| held.into_iter().map(|(_seq, size)| size).collect()))
/// }
///
/// let age = Duration::from_secs(4);
/// let held = Sizes::new("ORDERS", "live.", 8 << 20, age, |order| order.payload().len());
/// let asks = Endpoint::new("sizes", "shop.sizes.{who}").uses(Access::hears("live.orders.{who}"));
/// # let _ = (held, asks);
/// ```
pub struct LiveTail<T>(Arc<Tails<T>>);

struct Tails<T> {
    stream: String,
    prefix: String,
    read: fn(&Message) -> T,
    max_bytes: usize,
    max_age: Duration,
    subjects: Mutex<HashMap<String, Subject<T>>>,
    /// What is held of all subjects.
    bytes: AtomicUsize,
}

/// A subject that is followed, and the task that does so.
struct Subject<T> {
    followed: Arc<Followed<T>>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// What is held of a subject.
struct Followed<T> {
    chain: watch::Sender<Chain<T>>,
    asked: Mutex<Instant>,
    missed: Mutex<Option<Instant>>,
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
    /// the stream's order and with their sequences. The subject has no wildcards. `known` is a moment after which the
    /// caller looked at the stream, and found that it is the one in which `above` is meant: one before the look.
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
        // Between the look and a later moment the stream may have become another one.
        let Some(last) = last.at().filter(|_| known <= last.looked) else {
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
        if timeout(followed.patience(), reached).await.is_err() {
            followed.missed.lock().get_or_insert_with(Instant::now);
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
        if let Some(Subject { followed, .. }) = subjects.get(subject) {
            *followed.asked.lock() = Instant::now();
            return Some(followed.clone());
        }
        if subjects.len() >= SUBJECTS {
            return None;
        }
        let followed = Arc::new(Followed {
            chain: watch::Sender::new(Chain::new()),
            asked: Mutex::new(Instant::now()),
            missed: Mutex::default(),
        });
        let entry = Subject {
            followed: followed.clone(),
            _task: None,
        };
        subjects.insert(subject.to_owned(), entry);
        // The task may end at once, where the runtime ends.
        drop(subjects);
        let following = Following {
            tails: Arc::downgrade(&self.0),
            subject: subject.to_owned(),
            followed: followed.clone(),
        };
        let client = client.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = following.run(&client, live).await {
                tracing::debug!(%error, subject = following.subject, "a subject cannot be followed");
            }
        });
        if let Some(entry) = self.0.subjects.lock().get_mut(subject)
            && Arc::ptr_eq(&entry.followed, &followed)
        {
            entry._task = Some(AbortOnDropHandle::new(task));
        }
        Some(followed)
    }
}

impl<T> Followed<T> {
    /// How long somebody waits for a message that the stream has.
    fn patience(&self) -> Duration {
        let mut missed = self.missed.lock();
        missed.take_if(|missed| missed.elapsed() > AFTER_MISS);
        missed.map_or(PATIENCE, |_| Duration::ZERO)
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
fn connects(client: &Client) -> u64 {
    let own = client.reads().filter(|reads| reads.is_replaced());
    own.map_or_else(
        || client.nats().statistics().connects.load(Relaxed),
        |reads| reads.connects(),
    )
}

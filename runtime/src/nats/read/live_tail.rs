//! The newest messages of a stream's subjects, in memory.

mod chain;
mod following;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::head::Head;
use crate::error::Result;
use crate::function::event::Message;
use crate::nats::client::Client;
use crate::nats::client::access::Access;
use chain::Chain;
use following::{Following, connects};

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
    /// the stream's order and with their sequences. The subject has no wildcards. The caller has looked at the stream
    /// before that, from `known` on, and found that it is the one in which `above` is meant; if that look may have ended
    /// later, [`Head::time_ns`] is to be compared with the time at which the stream was created.
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

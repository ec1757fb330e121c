//! Answers computed from a subject's messages, kept until the subject gets another one.

mod kept;
mod look;

use std::hash::Hash;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::head::Head;
use super::shared_reads::SharedReads;
use crate::error::Result;
use crate::function::reply::Response;
use crate::nats::client::Client;
use crate::nats::client::access::Access;
use kept::{Entry, Kept, Key};
use look::Looks;

/// Answers that were computed from a subject's messages, kept until the subject gets another one. What was
/// acknowledged before the question is in the answer, as it is where every question is read.
///
/// Each question looks at the subject's last message, at the stream's leader, which knows everything that was
/// acknowledged. If that is the message that it was before the answer was read, the answer is what reading would
/// find. Those who ask about a subject at the same time share one look, and those who ask the same question share
/// one reading, if it began after they asked. While looks fail, every question is read.
///
/// Perhaps not noticed before `max_age` is over: that something changes which an answer was computed from, other
/// than new messages of the subject; that messages are deleted or purged; that a message comes and is deleted
/// again, or the stream is made again, where the subject has no message before and after.
///
/// A leader that is cut off from the other servers answers until it notices that. An answer may lack what their
/// new leader acknowledges meanwhile.
///
/// A cache belongs to one connection: a stream is compared with that of before only as long as this connection lasts.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use natsfn::{Access, Client, Endpoint, Path, Response, Result, Service, State, StreamCache};
///
/// /// How many orders somebody has.
/// async fn count(
///     State(counts): State<Arc<StreamCache<()>>>,
///     client: Client,
///     Path(who): Path<String>,
/// ) -> Result<Response> {
///     let subject = format!("orders.{who}");
///     let read = async |_| {
///         // From the leader. A follower may answer `Client::range`, and lack the last ones.
///         let (mut orders, mut seq) = (0, 0);
///         while let Some(order) = client.next("ORDERS", &subject, seq + 1).await? {
///             (orders, seq) = (orders + 1, order.seq());
///         }
///         Ok((Response::json(&orders)?, true))
///     };
///     counts.get(&client, &subject, (), read).await
/// }
///
/// let counts = StreamCache::new("ORDERS", 8 << 20, Duration::from_secs(5));
/// let count_of = Endpoint::new("count", "shop.count.{who}").uses(Access::messages("ORDERS"));
/// let shop = Service::new("shop", "1.0.0").state(Arc::new(counts)).endpoint(count_of, count);
/// # let _ = shop;
/// ```
pub struct StreamCache<Q: Eq + Hash> {
    stream: String,
    looks: Looks,
    readings: SharedReads<Key<Q>, Response>,
    kept: Mutex<Kept<Q>>,
}

impl<Q: Eq + Hash + Clone> StreamCache<Q> {
    /// Keeps answers about a stream: at most so many bytes of them, the least recently used go first, and each no
    /// longer than `max_age`.
    pub fn new(stream: impl Into<String>, max_bytes: usize, max_age: Duration) -> Self {
        Self {
            stream: stream.into(),
            looks: Looks::default(),
            readings: SharedReads::default(),
            kept: Mutex::new(Kept::new(max_bytes, max_age)),
        }
    }

    /// The answer to a question about a subject: one that is kept, or what `read` returns, with whether that stays
    /// the same as long as the subject gets no message. Where it does not, it is shared, but not kept. `read` must
    /// find everything of the subject that was in the stream when it began. It is called with the subject's
    /// last message, as a look has just found it; `None` if the look failed. [`Client::range`] may have been answered by a follower that lacks it.
    ///
    /// # Errors
    /// Those of `read`. In dev, that the function does not declare [`Access::messages`].
    pub async fn get(
        &self,
        client: &Client,
        subject: &str,
        question: Q,
        read: impl AsyncFnOnce(Option<Head>) -> Result<(Response, bool)>,
    ) -> Result<Response> {
        client.check(|| Access::messages(&self.stream))?;
        let key: Key<Q> = (subject.into(), question);
        let look = async || self.looks.look(client, &self.stream, &key.0).await;
        let kept = |head: &Option<Head>| self.kept.lock().get(&key, head.as_ref()?);
        if self.kept.lock().has(&key)
            && let Some(answer) = kept(&look().await)
        {
            return Ok(answer);
        }
        let read = async || {
            let since = Instant::now();
            let head = look().await;
            // Another reading may have ended meanwhile.
            if let Some(answer) = kept(&head) {
                return Ok(answer);
            }
            let (answer, stays) = read(head.clone()).await?;
            if let (true, Some(head)) = (stays, head) {
                let mut answer = answer.clone();
                // At its size: what it was written into may be twice as large.
                answer.payload = Bytes::copy_from_slice(&answer.payload);
                let entry = Entry {
                    answer,
                    head,
                    since,
                };
                self.kept.lock().keep(key.clone(), entry);
            }
            Ok(answer)
        };
        self.readings.read(&key, read).await
    }
}

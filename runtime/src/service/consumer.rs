//! A function that a stream feeds: what it is.

pub(crate) mod by_key;
mod crashes;
mod database;
mod edited;
mod floor;
mod owner;
pub(crate) mod retry;
mod set_up;
pub(crate) mod start;

use std::collections::BTreeMap;
use std::time::Duration;

use super::background::Background;
use super::stream::Stream;
use crate::error::Result;
use crate::function::event::{Delivery, StreamId};
use crate::function::handler::Call;
use crate::function::handler::layer::{Layer, Next};
use crate::function::reply::Outcomes;
use crate::function::template::Template;
use crate::nats::client::access::{Access, declares};
use by_key::ByKey;
use floor::Floor;
use retry::Retry;
use set_up::settings;
use start::Start;

pub(crate) use set_up::{REMOVED_WITHIN, Wanted};

/// The most messages that may be delivered and not settled: with these as many as fail, or wait for
/// a dead letter to be written, good messages still pass. Beyond it none does.
const UNSETTLED: usize = 100_000;

/// How many messages a consumer may sensibly have that are delivered and not settled: an instance remembers
/// the failures of no more.
pub(crate) const MOST_UNSETTLED: usize = 2 * UNSETTLED;

/// A function that a stream feeds, through a durable pull consumer of its own: `<service>-<function>`.
///
/// ```
/// use std::time::Duration;
///
/// use natsfn::{Batch, Consumer, Retry, Service, Start, Stream};
///
/// async fn count(orders: Batch<serde_json::Value>) {
///     println!("{} orders", orders.len());
/// }
///
/// let orders = Stream::new("ORDERS", ["orders.{customer}"]);
/// let consumer = Consumer::new("count", orders)
///     .max_batch(100)
///     // Not what was ordered before this function came.
///     .start(Start::New)
///     // A message that fails is tried again after ten seconds, and is a dead letter after ten minutes.
///     .retry(Retry::fixed(Duration::from_secs(10)).within(Duration::from_secs(600)))
///     // How long a call may take, and how soon a crashed instance's messages go to another.
///     .deadline(Duration::from_secs(10))
///     .ack_wait(Duration::from_secs(15));
/// let shop = Service::new("shop", "1.0.0").consumer(consumer, count);
/// ```
#[derive(Clone, Debug)]
pub struct Consumer {
    pub(crate) name: String,
    /// The service that it belongs to; empty until it does.
    service: String,
    durable: Option<String>,
    pub(crate) stream: Stream,
    pub(crate) filter: Vec<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) max_batch: usize,
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) by_key: Option<ByKey>,
    pub(crate) retry: Retry,
    start: Start,
    pub(crate) deadline: Duration,
    pub(crate) ack_wait: Duration,
    pub(crate) instances: usize,
    pub(crate) natural_key: bool,
    pub(crate) floor: Option<Floor>,
    pub(crate) uses: Vec<Access>,
    pub(crate) layers: Vec<Layer<Delivery>>,
}

/// A consumer with its handler.
pub(crate) struct StreamTrigger {
    pub(crate) consumer: Consumer,
    pub(crate) call: Call<Delivery>,
}

impl Consumer {
    /// A consumer of everything in `stream`.
    pub fn new(name: impl Into<String>, stream: Stream) -> Self {
        Self {
            name: name.into(),
            service: String::new(),
            durable: None,
            stream,
            filter: Vec::new(),
            metadata: BTreeMap::new(),
            max_batch: 500,
            max_in_flight: None,
            by_key: None,
            retry: Retry::default(),
            start: Start::All,
            deadline: Duration::from_secs(30),
            ack_wait: Duration::from_secs(30),
            instances: 8,
            natural_key: false,
            floor: None,
            uses: Vec::new(),
            layers: Vec::new(),
        }
    }

    declares!();

    /// The durable consumer's name on the server, instead of `<service>-<function>`: for one that is
    /// there already, such as that of an earlier version or of a function that was renamed.
    #[must_use]
    pub fn durable(mut self, name: impl Into<String>) -> Self {
        self.durable = Some(name.into());
        self
    }

    /// Puts a layer around this function, inside those of the service ([`Service::layer`](crate::Service::layer)).
    #[must_use]
    pub fn layer<F, Fut>(mut self, layer: F) -> Self
    where
        F: Fn(Delivery, Next<Delivery>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcomes>> + Send + 'static,
    {
        self.layers.push(Layer::new(layer));
        self
    }

    /// Only messages on these subjects of the stream.
    ///
    /// One that is widened later, by `setup`, brings what is stored from then on: nats-server does
    /// not go back. For what came before, delete the durable consumer before `setup`; what the
    /// inbox knows is not done again.
    #[must_use]
    pub fn filter<T: Into<String>>(mut self, subjects: impl IntoIterator<Item = T>) -> Self {
        self.filter = subjects.into_iter().map(Into::into).collect();
        self
    }

    /// Adds to the function's metadata in discovery.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The most messages in one batch (500 by default). A batch is what is there; it never waits
    /// to become larger.
    #[must_use]
    pub fn max_batch(mut self, n: usize) -> Self {
        self.max_batch = n;
        self
    }

    /// How many batches are in the function at once in one instance (1 by default, and so in the
    /// stream's order), or how many single messages (64 by default). More may be in it: a message that
    /// was slow before runs alone beside the others, and so do those that may have ended the process.
    ///
    /// A call that waits for somebody who hangs keeps its place until the function's own timeout: make that
    /// short, and let no receiver take all places ([`max_in_flight_by`](Self::max_in_flight_by)).
    #[must_use]
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.max_in_flight = Some(n);
        self
    }

    /// How long the function may take for one call (30 s by default); its messages are kept in
    /// progress for that long.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// After this long without a word from an instance its messages go to another (30 s by
    /// default): how soon a crash is noticed.
    #[must_use]
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait;
        self
    }

    /// For how many instances the consumer must have messages in flight (8 by default).
    #[must_use]
    pub fn instances(mut self, n: usize) -> Self {
        self.instances = n.max(1);
        self
    }

    /// The rows that the function writes have a key of their own that makes a repeat harmless, so
    /// the runtime keeps no inbox for it, and calls it also with what is replayed for another one.
    #[must_use]
    pub fn natural_key(mut self) -> Self {
        self.natural_key = true;
        self
    }

    /// Lets the consumer be compared with the service's own store: by `setup`, by the function on
    /// each new connection, before it takes a message there, and each time that
    /// [`Background::settled`] is asked. `floor` tells up to which sequence
    /// of a stream's life the store is complete, without a gap, and 0 where it knows nothing of that
    /// life. Where that lies behind what the consumer has acknowledged (a backup was restored,
    /// another database stands behind the same stream, the stream was rolled back), the consumer is
    /// recreated, so that what is still in the stream is handled again.
    ///
    /// What the store has above that sequence is handled again too, so the function needs a key of
    /// its own that makes this harmless ([`Self::natural_key`]). What may be trimmed of the stream
    /// [`Background::settled`] tells; ask it every few seconds, and a store that is put back to an
    /// older state while the function runs is noticed as soon.
    #[must_use]
    pub fn floor<F, Fut>(mut self, floor: F) -> Self
    where
        F: Fn(Background, StreamId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<u64>> + Send + 'static,
    {
        self.floor = Some(Floor::new(floor));
        self
    }

    /// The subjects that it is fed with, with wildcards.
    pub(crate) fn subjects(&self) -> Vec<String> {
        if self.filter.is_empty() {
            return self.stream.subjects().map(str::to_owned).collect();
        }
        self.filter
            .iter()
            .map(|text| Template::parse(text).map_or(text.clone(), |t| t.subject().to_owned()))
            .collect()
    }

    /// The templates that give `Path` its names.
    pub(crate) fn templates(&self) -> Result<Vec<Template>, String> {
        let texts = if self.filter.is_empty() {
            self.stream.templates()
        } else {
            &self.filter
        };
        texts.iter().map(|text| Template::parse(text)).collect()
    }

    /// How many messages one instance holds at once, those being fetched included.
    pub(crate) fn capacity(&self, single: bool) -> usize {
        let in_flight = self.in_flight(single);
        if single {
            in_flight.saturating_mul(2)
        } else {
            self.max_batch.saturating_mul(in_flight.saturating_add(1))
        }
    }

    /// How many messages one call takes, or how many calls of one message run at once.
    pub(crate) fn at_once(&self, single: bool) -> usize {
        if single {
            self.in_flight(true)
        } else {
            self.max_batch
        }
    }

    pub(crate) fn in_flight(&self, single: bool) -> usize {
        self.max_in_flight.unwrap_or(if single { 64 } else { 1 })
    }

    /// Up to where the service's own store is complete, where that lies behind what the consumer
    /// has acknowledged.
    pub(crate) async fn behind(
        &self,
        context: Background,
        stream: StreamId,
    ) -> Result<Option<u64>> {
        let Some(floor) = &self.floor else {
            return Ok(None);
        };
        let acknowledged = stream.ack_floor;
        let stored = floor.ask(context, stream).await?;
        Ok((stored < acknowledged).then_some(stored))
    }
}

//! A function that a stream feeds: what it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::background::Background;
use crate::error::{Error, Kind, Result};
use crate::event::StreamId;
use crate::jetstream::{ConsumerInfo, consumer_info};
use crate::stream::Stream;
use crate::template::Template;

/// A function that a stream feeds, through a durable pull consumer of its name.
#[derive(Clone, Debug)]
pub struct Consumer {
    pub(crate) name: String,
    pub(crate) stream: Stream,
    pub(crate) filter: Vec<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) max_batch: usize,
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) max_attempts: u32,
    pub(crate) deadline: Duration,
    pub(crate) ack_wait: Duration,
    pub(crate) instances: usize,
    pub(crate) natural_key: bool,
    pub(crate) floor: Option<Floor>,
}

/// Asks the service up to where its own store is complete.
#[derive(Clone)]
pub(crate) struct Floor(
    Arc<dyn Fn(Background, StreamId) -> BoxFuture<'static, Result<u64>> + Send + Sync>,
);

impl std::fmt::Debug for Floor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Floor")
    }
}

impl Consumer {
    /// A consumer of everything in `stream`.
    pub fn new(name: impl Into<String>, stream: Stream) -> Self {
        Self {
            name: name.into(),
            stream,
            filter: Vec::new(),
            metadata: BTreeMap::new(),
            max_batch: 500,
            max_in_flight: None,
            max_attempts: 5,
            deadline: Duration::from_secs(30),
            ack_wait: Duration::from_secs(30),
            instances: 8,
            natural_key: false,
            floor: None,
        }
    }

    /// Only messages on these subjects of the stream.
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
    /// stream's order), or how many single messages (64 by default).
    #[must_use]
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.max_in_flight = Some(n);
        self
    }

    /// After so many internal failures of a message alone, in this process, it is a dead letter
    /// (5 by default). A crash is no attempt.
    #[must_use]
    pub fn max_attempts(mut self, n: u32) -> Self {
        self.max_attempts = n.max(1);
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
    /// the runtime keeps no inbox for it.
    #[must_use]
    pub fn natural_key(mut self) -> Self {
        self.natural_key = true;
        self
    }

    /// Lets `setup` compare: `floor` tells up to which sequence of a stream's life the service's own
    /// store is complete, 0 where it knows nothing of that life. Where that lies behind what the
    /// consumer has acknowledged (a backup was restored, or another database stands behind the same
    /// stream), `setup` makes the consumer again, so that what is still in the stream is handled
    /// again.
    #[must_use]
    pub fn floor<F, Fut>(mut self, floor: F) -> Self
    where
        F: Fn(Background, StreamId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<u64>> + Send + 'static,
    {
        self.floor = Some(Floor(Arc::new(move |reach, stream| {
            floor(reach, stream).boxed()
        })));
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
            in_flight * 2
        } else {
            self.max_batch * (in_flight + 1)
        }
    }

    pub(crate) fn in_flight(&self, single: bool) -> usize {
        self.max_in_flight.unwrap_or(if single { 64 } else { 1 })
    }

    /// The durable consumer on the server.
    fn config(&self, start: Option<u64>) -> pull::Config {
        let held = self.capacity(false).max(self.capacity(true)) * self.instances;
        let filters = if self.filter.is_empty() {
            Vec::new()
        } else {
            self.subjects()
        };
        let (filter_subject, filter_subjects) = match filters.as_slice() {
            [one] => (one.clone(), Vec::new()),
            _ => (String::new(), filters),
        };
        pull::Config {
            durable_name: Some(self.name.clone()),
            name: Some(self.name.clone()),
            deliver_policy: start.map_or(DeliverPolicy::All, |start_sequence| {
                DeliverPolicy::ByStartSequence { start_sequence }
            }),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            // The server's own limit leaves a message behind without a word; we count ourselves.
            max_deliver: -1,
            filter_subject,
            filter_subjects,
            replay_policy: ReplayPolicy::Instant,
            max_ack_pending: i64::try_from(held.max(1000)).unwrap_or(i64::MAX),
            ..pull::Config::default()
        }
    }

    /// Makes the durable consumer where it is missing, and changes it to what this version needs.
    /// `start` is the sequence that a new one begins with; without it, the stream's first.
    pub(crate) async fn set_up(&self, nats: &Client, start: Option<u64>) -> Result<ConsumerInfo> {
        let stream = self.stream.name();
        match consumer_info(nats, stream, &self.name).await {
            Err(error) if error.kind() == Kind::NotFound => {
                self.create(nats, self.config(start)).await
            }
            Err(error) => Err(error),
            Ok(_) => {
                // Where a consumer starts cannot be changed; the rest can.
                let live: Live = crate::jetstream::call(
                    nats,
                    &format!("CONSUMER.INFO.{stream}.{}", self.name),
                    &(),
                )
                .await?;
                let mut wanted = self.config(None);
                wanted.deliver_policy = live.config.deliver_policy;
                self.create(nats, wanted).await
            }
        }
    }

    /// Makes the durable consumer again where the service's own store lies behind it. Returns the
    /// consumer as it then is.
    pub(crate) async fn catch_up(
        &self,
        reach: Option<Background>,
        stream: StreamId,
        consumer: ConsumerInfo,
    ) -> Result<ConsumerInfo> {
        let (Some(Floor(floor)), Some(reach)) = (&self.floor, reach) else {
            return Ok(consumer);
        };
        let nats = reach.client().nats().clone();
        let stored = floor(reach, stream).await?;
        let acknowledged = consumer.ack_floor.stream_seq;
        if stored >= acknowledged {
            return Ok(consumer);
        }
        tracing::warn!(consumer = %self.name, stored, acknowledged, "the store lies behind the consumer: what is still in the stream is handled again");
        let again = self.restart_at(&nats, stored + 1).await;
        // Another instance that missed the consumer may have made it again first, from the
        // stream's beginning: that is more than enough.
        match consumer_info(&nats, self.stream.name(), &self.name).await {
            Ok(info) if info.created > consumer.created => Ok(info),
            _ => again,
        }
    }

    /// Deletes the durable consumer and makes it again from `start`.
    async fn restart_at(&self, nats: &Client, start: u64) -> Result<ConsumerInfo> {
        let stream = self.stream.name();
        let _: serde_json::Value = crate::jetstream::call(
            nats,
            &format!("CONSUMER.DELETE.{stream}.{}", self.name),
            &(),
        )
        .await?;
        self.create(nats, self.config(Some(start))).await
    }

    async fn create(&self, nats: &Client, config: pull::Config) -> Result<ConsumerInfo> {
        let stream = self.stream.name();
        let mut subject = format!("CONSUMER.CREATE.{stream}.{}", self.name);
        if !config.filter_subject.is_empty() {
            subject = format!("{subject}.{}", config.filter_subject);
        }
        let body = serde_json::json!({ "stream_name": stream, "config": config, "action": "" });
        crate::jetstream::call(nats, &subject, &body)
            .await
            .map_err(|error| {
                Error::new(
                    error.kind(),
                    format!("consumer {} of {stream}: {error}", self.name),
                )
            })
    }
}

#[derive(serde::Deserialize)]
struct Live {
    config: pull::Config,
}

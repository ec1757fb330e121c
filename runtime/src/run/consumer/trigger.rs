//! A stream as a trigger: a consumer, registered and at work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::feed::Feed;
use crate::function::extract::Needs;
use crate::function::handler::layer::Layers;
use crate::function::template::Template;
use crate::nats::client::access::Access;
use crate::nats::link::Link;
use crate::service::background::StreamFunction;
use crate::service::consumer::retry::LONGEST;
use crate::service::consumer::{Consumer, StreamTrigger};
use crate::service::trigger::{Process, RunningFunction, Trigger};
use crate::service::validate::path;
use crate::telemetry::stats::Stats;

/// How many messages an instance may hold at once: their places are made when it starts.
const MOST_HELD: usize = 1_000_000;

/// How many messages are named that were unfinished at a stop.
const NAMED: usize = 20;

impl Trigger for StreamTrigger {
    fn name(&self) -> &str {
        &self.consumer.name
    }

    fn kind(&self) -> &'static str {
        "a stream function"
    }

    fn needs(&self) -> Needs {
        self.call.needs.clone()
    }

    fn consumer(&self) -> Option<&Consumer> {
        Some(&self.consumer)
    }

    fn uses(&self) -> &[Access] {
        &self.consumer.uses
    }

    fn surround(&mut self, layers: &Layers) {
        let (outer, inner) = (&layers.deliveries, &self.consumer.layers);
        self.call.surround(outer.iter().chain(inner).cloned());
    }

    fn check(&self, problems: &mut Vec<String>) {
        let (consumer, needs) = (&self.consumer, &self.call.needs);
        let name = &consumer.name;
        let durable = consumer.durable_name();
        if durable.is_empty()
            || durable
                .contains(|c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c))
        {
            problems.push(format!(
                "function {name:?}: the durable name {durable:?} must not be empty or contain a space or one of . * > / \\"
            ));
        }
        if needs.single && needs.decode.is_some() {
            problems.push(format!("function {name:?} takes a Batch and an extractor of single messages; it can be called with only one of them"));
        }
        for filter in &consumer.filter {
            match Template::parse(filter) {
                Err(problem) => problems.push(format!("function {name:?}: filter {problem}")),
                Ok(template) if !consumer.stream.may_hold(template.subject()) => {
                    problems.push(format!(
                        "function {name:?}: the filter {filter:?} fits no subject of the stream {}, which has: {}",
                        consumer.stream.name(),
                        consumer.stream.templates().join(", ")
                    ));
                }
                Ok(_) => {}
            }
        }
        let templates = consumer.templates().unwrap_or_default();
        if needs.path.is_some() && templates.is_empty() {
            problems.push(format!(
                "function {name:?} extracts a Path, and nothing names its tokens: add .template(\"...{{id}}\") to Stream::existing, or a filter"
            ));
        }
        for template in &templates {
            path(name, template, needs, problems);
        }
        if consumer.max_batch == 0 || consumer.max_in_flight == Some(0) {
            problems.push(format!(
                "function {name:?}: max_batch and max_in_flight must be at least 1"
            ));
        }
        if consumer.by_key.as_ref().is_some_and(|by| by.most == 0) {
            problems.push(format!(
                "function {name:?}: max_in_flight_by must be at least 1"
            ));
        }
        if consumer.by_key.is_some() && needs.decode.is_some() {
            problems.push(format!("function {name:?} takes a Batch, and max_in_flight_by is for functions of single messages: bound the batches by max_batch"));
        }
        let held = consumer.capacity(needs.decode.is_none());
        if held > MOST_HELD {
            problems.push(format!(
                "function {name:?}: max_batch and max_in_flight let an instance hold {held} messages at once, and must let it hold at most {MOST_HELD}"
            ));
        }
        if consumer.deadline.is_zero() {
            problems.push(format!("function {name:?}: deadline must be longer than 0"));
        }
        if consumer.ack_wait.is_zero() || consumer.ack_wait > LONGEST {
            problems.push(format!(
                "function {name:?}: ack_wait must be longer than 0, and no longer than a year"
            ));
        }
        if let Some(problem) = consumer.retry.problem() {
            problems.push(format!("function {name:?}: {problem}"));
        }
        consumer.check_start(problems);
        if consumer.floor.is_some() && !consumer.natural_key {
            problems.push(format!(
                "function {name:?}: .floor(..) lets messages be handled again that the inbox has forgotten; it needs rows with a key of their own and .natural_key()"
            ));
        }
    }

    fn start(&self, process: &mut Process<'_>) -> Result<Arc<dyn RunningFunction>, String> {
        let intake = process.intake(format!("messages of {}", self.consumer.name));
        let feed = Feed::new(
            &process.service,
            self.consumer.clone(),
            self.call.clone(),
            process.client.clone(),
            intake,
            process.stores.clone(),
            #[cfg(feature = "testing")]
            process.failpoints.clone(),
        )?;
        let inboxes = Link::inboxes(process.client.nats());
        feed.stats.listens_on(&process.unheard, inboxes);
        Ok(Arc::new(feed))
    }
}

impl RunningFunction for Feed {
    fn name(&self) -> &str {
        &self.consumer.name
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.consumer.metadata.clone();
        metadata.insert("stream".into(), self.consumer.stream.name().into());
        metadata.insert("consumer".into(), self.consumer.durable_name());
        metadata.insert("filter".into(), self.consumer.subjects().join(" "));
        metadata
    }

    fn data(&self) -> Value {
        let stats = &self.stats;
        json!({
            "stream": self.consumer.stream.name(),
            "consumer": self.consumer.durable_name(),
            "pending": stats.pending.load(Relaxed),
            "ack_pending": stats.ack_pending.load(Relaxed),
            "redelivered": stats.redelivered.load(Relaxed),
            "duplicates": stats.duplicates.load(Relaxed),
            "dead_lettered": stats.dead_lettered.load(Relaxed),
        })
    }

    fn obstacle(&self) -> Option<&'static str> {
        self.unfed()
    }

    /// An idle consumer's counts are as old as its last message.
    fn refresh(&self) -> BoxFuture<'_, ()> {
        async { drop(self.refresh().await) }.boxed()
    }

    /// It runs once the server has its consumer.
    fn subscribed(&self) {}

    fn run(self: Arc<Self>, stop: watch::Receiver<bool>) -> Option<BoxFuture<'static, ()>> {
        Some(self.run(stop).boxed())
    }

    fn give_back(&self) -> BoxFuture<'_, ()> {
        async {
            let left = self.settler.give_back().await;
            if !left.is_empty() {
                let first = &left[..left.len().min(NAMED)];
                tracing::warn!(messages = left.len(), seqs = ?first, consumer = %self.consumer.name, "given back unfinished: another instance begins with them anew");
            }
        }
        .boxed()
    }

    fn stream_function(self: Arc<Self>) -> Option<Arc<dyn StreamFunction>> {
        Some(self)
    }
}

//! What is measured, by OpenTelemetry's names. No room and no user is ever a label: a label has few
//! values, whatever the traffic.

#[cfg(feature = "otel")]
mod observe;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{KeyValue, StringValue};

use super::stats::{Counters, Stats};
use crate::error::Kind;
use observe::Functions;

/// The instruments; none while nobody asks for metrics.
static METERS: OnceLock<Meters> = OnceLock::new();

/// Bounds for durations in seconds: from a round trip on one machine to the longest deadline.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// Bounds for the sizes of batches.
const SIZES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0];

struct Meters {
    processed: Histogram<f64>,
    called: Histogram<f64>,
    queried: Histogram<f64>,
    batch: Histogram<u64>,
    received: Counter<u64>,
    outcomes: Counter<u64>,
    functions: Functions,
}

/// Begins to measure.
pub(super) fn begin(meter: &Meter) {
    let seconds = |name: &'static str, about: &'static str| {
        meter
            .f64_histogram(name)
            .with_unit("s")
            .with_description(about)
            .with_boundaries(SECONDS.to_vec())
            .build()
    };
    let functions = Functions::default();
    observe::begin(meter, &functions);
    let meters = Meters {
        processed: seconds(
            "messaging.process.duration",
            "How long a function took for a request or a batch",
        ),
        called: seconds(
            "messaging.client.operation.duration",
            "How long NATS took to be sent to, asked or told",
        ),
        queried: seconds("db.client.operation.duration", "How long a statement took"),
        batch: meter
            .u64_histogram("natsfn.batch.size")
            .with_unit("{message}")
            .with_description("Messages fetched at once")
            .with_boundaries(SIZES.to_vec())
            .build(),
        received: meter
            .u64_counter("messaging.client.consumed.messages")
            .with_unit("{message}")
            .with_description("Messages that a stream has delivered")
            .build(),
        outcomes: meter
            .u64_counter("natsfn.outcomes")
            .with_unit("{message}")
            .with_description("What became of requests and messages")
            .build(),
        functions,
    };
    // A process has one; a second beginning in it is a test's.
    let _ = METERS.set(meters);
}

/// Whether anybody asks for metrics.
pub(crate) fn is_on() -> bool {
    METERS.get().is_some()
}

/// What tells one function's measurements from another's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels(Vec<KeyValue>);

impl Labels {
    pub(crate) fn new<'a>(pairs: impl IntoIterator<Item = (&'static str, &'a str)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| {
            // Shared, so that a measurement copies no text.
            KeyValue::new(name, StringValue::from(Arc::<str>::from(value)))
        });
        Self(pairs.collect())
    }

    fn and(&self, name: &'static str, value: &'static str) -> Vec<KeyValue> {
        let mut all = self.0.clone();
        all.push(KeyValue::new(name, value));
        all
    }
}

/// A function has taken so long for a request or a batch.
pub(crate) fn processed(labels: &Labels, time: Duration, error: Option<Kind>) {
    let Some(meters) = METERS.get() else { return };
    match error {
        None => meters.processed.record(time.as_secs_f64(), &labels.0),
        Some(kind) => {
            let labels = labels.and("error.type", kind.name());
            meters.processed.record(time.as_secs_f64(), &labels);
        }
    }
}

/// NATS has taken so long for an operation on a subject of this template.
pub(crate) fn called(
    operation: &'static str,
    template: Option<&str>,
    time: Duration,
    error: Option<Kind>,
) {
    let Some(meters) = METERS.get() else { return };
    let mut labels = vec![
        KeyValue::new("messaging.system", "nats"),
        KeyValue::new("messaging.operation.name", operation),
    ];
    if let Some(template) = template {
        labels.push(KeyValue::new(
            "messaging.destination.template",
            template.to_owned(),
        ));
    }
    if let Some(kind) = error {
        labels.push(KeyValue::new("error.type", kind.name()));
    }
    meters.called.record(time.as_secs_f64(), &labels);
}

/// The database has taken so long for a statement.
#[cfg_attr(
    not(feature = "sea-orm"),
    expect(dead_code, reason = "only SQL has statements")
)]
pub(crate) fn queried(
    system: &'static str,
    operation: &str,
    collection: Option<&str>,
    time: Duration,
    error: Option<String>,
) {
    let Some(meters) = METERS.get() else { return };
    let mut labels = vec![
        KeyValue::new("db.system.name", system),
        KeyValue::new("db.operation.name", operation.to_owned()),
    ];
    if let Some(collection) = collection {
        labels.push(KeyValue::new("db.collection.name", collection.to_owned()));
    }
    if let Some(error) = error {
        labels.push(KeyValue::new("error.type", error));
    }
    meters.queried.record(time.as_secs_f64(), &labels);
}

/// A stream has delivered so many messages at once.
pub(crate) fn received(labels: &Labels, n: usize) {
    let Some(meters) = METERS.get() else { return };
    meters.received.add(n as u64, &labels.0);
    meters.batch.record(n as u64, &labels.0);
}

/// What became of one request or message.
pub(crate) fn outcome(labels: &Labels, outcome: &'static str) {
    let Some(meters) = METERS.get() else { return };
    meters.outcomes.add(1, &labels.and("outcome", outcome));
}

/// What is counted for a function is told too. One that is started again takes its place.
pub(crate) fn watch(service: &str, function: &str, counters: Option<Counters>, stats: &Arc<Stats>) {
    if let Some(meters) = METERS.get() {
        let mut all = meters.functions.lock();
        let function = (service.to_owned(), function.to_owned());
        all.insert(function, (counters, stats.clone()));
    }
}

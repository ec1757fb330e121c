//! What is counted anyway, told when metrics are collected: it costs a function nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrumentBuilder, Meter};
use parking_lot::Mutex;

use crate::telemetry::stats::{Counters, State, Stats};

/// What is counted for each function of this process, by service and function.
pub(crate) type Functions = Arc<Mutex<BTreeMap<(String, String), (Option<Counters>, Arc<Stats>)>>>;

/// A counter of [`Stats`].
type Count = fn(&Stats) -> &AtomicU64;

/// Name, unit, description, of which functions, and what.
type Instrument = (&'static str, &'static str, &'static str, Of, Count);

/// Which functions have an instrument.
type Of = fn(Option<Counters>, &Stats) -> bool;

const ALL: Of = |_, _| true;
const REQUESTS: Of = |counters, _| counters == Some(Counters::Request);
const STREAMS: Of = |counters, _| counters == Some(Counters::Stream);
/// What only the server knows.
const LAG: Of = |counters, stats| STREAMS(counters, stats) && stats.knows_lag();

pub(crate) fn begin(meter: &Meter, functions: &Functions) {
    let growing: [Instrument; 4] = [
        (
            "natsfn.shed",
            "{request}",
            "Requests refused because too many were in flight",
            REQUESTS,
            |stats| &stats.shed,
        ),
        (
            "natsfn.dead_letters",
            "{message}",
            "Messages that became dead letters",
            STREAMS,
            |stats| &stats.dead_lettered,
        ),
        (
            "natsfn.duplicates",
            "{message}",
            "Messages that had been done before",
            STREAMS,
            |stats| &stats.duplicates,
        ),
        (
            "natsfn.redeliveries",
            "{message}",
            "Deliveries beyond a message's first",
            STREAMS,
            |stats| &stats.redeliveries,
        ),
    ];
    for told in growing {
        let instrument = meter.u64_observable_counter(told.0);
        counting(instrument, told, functions).build();
    }
    let levels: [Instrument; 6] = [
        (
            "natsfn.in_flight",
            "{call}",
            "Calls of a function that are running",
            ALL,
            |stats| &stats.in_flight,
        ),
        (
            "natsfn.consumer.pending",
            "{message}",
            "Messages not yet delivered",
            LAG,
            |stats| &stats.pending,
        ),
        (
            "natsfn.consumer.ack_pending",
            "{message}",
            "Messages delivered and not yet settled",
            LAG,
            |stats| &stats.ack_pending,
        ),
        (
            "natsfn.consumer.oldest.age",
            "ms",
            "Age of the oldest message that is not settled",
            LAG,
            |stats| &stats.oldest_ms,
        ),
        (
            "natsfn.stream.bytes",
            "By",
            "What the stream holds",
            LAG,
            |stats| &stats.stream_bytes,
        ),
        (
            "natsfn.stream.limit",
            "By",
            "What the stream may hold; 0 for no limit",
            LAG,
            |stats| &stats.stream_limit,
        ),
    ];
    for told in levels {
        let instrument = meter.u64_observable_gauge(told.0);
        counting(instrument, told, functions).build();
    }
    let functions = functions.clone();
    meter
        .u64_observable_gauge("natsfn.healthy")
        .with_description("1 while a function runs; 0 while it holds, has halted or has not begun")
        .with_callback(move |observer| {
            each(&functions, ALL, |labels, stats| {
                let well = matches!(stats.state(), State::Running | State::Draining);
                observer.observe(u64::from(well), labels);
            });
        })
        .build();
}

/// An instrument that tells a count of each function.
fn counting<'a, I>(
    instrument: AsyncInstrumentBuilder<'a, I, u64>,
    (_, unit, about, of, count): Instrument,
    functions: &Functions,
) -> AsyncInstrumentBuilder<'a, I, u64> {
    let functions = functions.clone();
    instrument
        .with_unit(unit)
        .with_description(about)
        .with_callback(move |observer| {
            each(&functions, of, |labels, stats| {
                observer.observe(count(stats).load(Relaxed), labels);
            });
        })
}

fn each(functions: &Functions, of: Of, tell: impl Fn(&[KeyValue], &Stats)) {
    let all = functions.lock();
    for ((service, function), (counters, stats)) in &*all {
        if !of(*counters, stats) {
            continue;
        }
        let labels = [
            KeyValue::new("natsfn.service", service.clone()),
            KeyValue::new("natsfn.function", function.clone()),
        ];
        tell(&labels, stats);
    }
}

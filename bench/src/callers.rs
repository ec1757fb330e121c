//! Callers that append to a stream, each one message after the other.

use std::time::{Duration, Instant};

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;

use crate::Outcome;
use crate::rounds::Figures;

/// So many callers, each of which calls again as soon as it is answered.
pub(crate) async fn callers<F: Future<Output = Outcome> + Send + 'static>(
    in_flight: usize,
    time: Duration,
    call: impl Fn(String) -> F + Clone + Send + 'static,
) -> Outcome<Figures> {
    let start = Instant::now();
    let caller = |_| {
        let call = call.clone();
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < time {
                let sent = Instant::now();
                call(id()).await?;
                latencies.push(sent.elapsed());
            }
            Outcome::Ok(latencies)
        })
    };
    let callers: Vec<_> = (0..in_flight).map(caller).collect();
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await??);
    }
    Ok(figures(latencies.len(), start.elapsed(), latencies))
}

/// A plain publish with an id, and its acknowledgement.
pub(crate) async fn publish(
    jetstream: jetstream::Context,
    subject: &'static str,
    id: String,
    payload: Bytes,
) -> Outcome {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let ack = jetstream.publish_with_headers(subject, headers, payload);
    ack.await?.await?;
    Ok(())
}

pub(crate) fn id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

pub(crate) fn figures(count: usize, took: Duration, mut latencies: Vec<Duration>) -> Figures {
    latencies.sort();
    let latency = |share: f64| {
        let at = (latencies.len() as f64 * share) as usize;
        let latency = latencies.get(at.min(latencies.len().saturating_sub(1)));
        latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    };
    vec![
        ("messages/s", count as f64 / took.as_secs_f64()),
        ("p50 us", latency(0.5)),
        ("p99 us", latency(0.99)),
    ]
}

/// And leaves nothing in the stream.
pub(crate) async fn emptied(
    jetstream: &jetstream::Context,
    stream: &str,
    round: impl Future<Output = Outcome<Figures>>,
) -> Outcome<Figures> {
    let figures = round.await?;
    jetstream.get_stream(stream).await?.purge().await?;
    Ok(figures)
}

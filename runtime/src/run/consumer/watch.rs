//! Regularly reads what only the server knows of a consumer, for metrics.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::error::Result;
use crate::nats::jetstream::raw_message::RawMessage;
use crate::nats::jetstream::{Nats, call, calls, consumer_info, stream_info};
use crate::service::consumer::Consumer;
use crate::telemetry::measure;
use crate::telemetry::stats::Stats;

/// How often: three requests to the server each time.
const EVERY: Duration = Duration::from_secs(5);

/// Keeps lag, age and size up to date, for ever; does nothing without metrics.
pub(crate) async fn watch(nats: &Nats, consumer: &Consumer, stats: &Stats) {
    if !measure::is_on() {
        return std::future::pending().await;
    }
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // What cannot be read keeps its last value for a while; the consumer itself reports the cause.
        if let Err(error) = look(nats, consumer, stats).await {
            tracing::debug!(%error, "the lag is not known");
        }
    }
}

async fn look(nats: &Nats, consumer: &Consumer, stats: &Stats) -> Result<()> {
    let stream = consumer.stream.name();
    let told = stream_info(nats, stream).await?;
    stats.stream_bytes.store(told.state.bytes, Relaxed);
    let limit = u64::try_from(told.config.max_bytes).unwrap_or(0);
    stats.stream_limit.store(limit, Relaxed);
    let info = consumer_info(nats, stream, &consumer.durable_name()).await?;
    stats.pending.store(info.num_pending, Relaxed);
    stats.ack_pending.store(info.num_ack_pending, Relaxed);
    stats.see_lag();
    let age = if info.num_pending + info.num_ack_pending == 0 {
        Duration::ZERO
    } else {
        // The first unsettled message of any subject: a consumer of some subjects may have skipped it.
        let next = json!({ "seq": info.ack_floor.stream_seq + 1, "next_by_subj": ">" });
        let oldest: RawMessage = call(nats, &calls::message(stream), &next).await?;
        let now = SystemTime::now();
        now.duration_since(oldest.time()?).unwrap_or_default()
    };
    let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    stats.oldest_ms.store(millis, Relaxed);
    Ok(())
}

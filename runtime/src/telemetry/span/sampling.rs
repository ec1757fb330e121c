//! Which traces are recorded: a share of them, by their id.
//!
//! The same share in every process keeps a trace whole. A flag that somebody from outside sets
//! forces nothing.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use opentelemetry_sdk::trace::Sampler;

/// Trace ids below this are recorded; of an id its last 63 bits count. 0 while nobody traces.
static BELOW: AtomicU64 = AtomicU64::new(OFF);

const OFF: u64 = 0;
const ALL: u64 = 1 << 63;

/// Begins to trace a share of the traces, 0 to 1.
pub(crate) fn begin(ratio: f64) -> Sampler {
    BELOW.store(below(ratio), Relaxed);
    Sampler::TraceIdRatioBased(ratio)
}

/// Whether traces are made in this process, be they recorded or not.
pub(crate) fn is_on() -> bool {
    BELOW.load(Relaxed) != OFF
}

/// Whether the trace with this id, 32 hexadecimal digits, is recorded.
pub(crate) fn is_sampled(trace_id: &str) -> bool {
    let last = trace_id.get(16..).unwrap_or_default();
    u64::from_str_radix(last, 16).is_ok_and(|last| last >> 1 < BELOW.load(Relaxed))
}

/// At least 1: a share of nothing still makes ids, which logs and error replies tell.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 2^63 is neither negative nor too large"
)]
fn below(ratio: f64) -> u64 {
    ((ratio.clamp(0.0, 1.0) * ALL as f64) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanKind, TraceId};
    use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};

    use super::*;

    #[test]
    fn we_and_the_sampler_decide_alike() {
        let sampler = begin(0.25);
        let mut sampled = 0;
        for _ in 0..2_000 {
            let id =
                TraceId::from(u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(..)));
            let theirs = sampler
                .should_sample(None, id, "x", &SpanKind::Server, &[], &[])
                .decision;
            assert_eq!(
                is_sampled(&id.to_string()),
                theirs == SamplingDecision::RecordAndSample
            );
            sampled += u32::from(is_sampled(&id.to_string()));
        }
        assert!((300..700).contains(&sampled), "{sampled}");
    }
}

//! Which traces are recorded: a ratio of them, decided by trace id.
//!
//! The same ratio in every process keeps a trace whole. The sampled flag of an incoming message has no
//! effect.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use opentelemetry_sdk::trace::Sampler;

/// Trace ids whose last 63 bits are below this are recorded. 0 while tracing is off.
static BELOW: AtomicU64 = AtomicU64::new(OFF);

const OFF: u64 = 0;
const ALL: u64 = 1 << 63;

/// Starts tracing with a ratio of 0 to 1.
pub(crate) fn begin(ratio: f64) -> Sampler {
    BELOW.store(below(ratio), Relaxed);
    Sampler::TraceIdRatioBased(ratio)
}

/// Whether this process makes traces, recorded or not.
pub(crate) fn is_on() -> bool {
    BELOW.load(Relaxed) != OFF
}

/// Whether the trace with this id, 32 hexadecimal digits, is recorded.
pub(crate) fn is_sampled(trace_id: &str) -> bool {
    let last = trace_id.get(16..).unwrap_or_default();
    u64::from_str_radix(last, 16).is_ok_and(|last| last >> 1 < BELOW.load(Relaxed))
}

/// At least 1: with a ratio of 0, logs and error replies still show trace ids.
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

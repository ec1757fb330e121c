//! Makes OpenTelemetry spans from those of `tracing`, with what only the runtime knows of its own: the
//! kind, and the trace id that the log has already shown.

use std::cell::Cell;

use opentelemetry::Context;
use opentelemetry::trace::{SpanBuilder, SpanId, SpanKind, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, Span};

use super::details::Role;

thread_local! {
    /// The runtime's own span that is starting on this thread.
    static STARTING: Cell<Option<SpanKind>> = const { Cell::new(None) };
    static TRACE_ID: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Starts one of the runtime's own spans, by `start`.
pub(crate) fn starting<T>(role: Role, trace_id: Option<TraceId>, start: impl FnOnce() -> T) -> T {
    STARTING.set(Some(match role {
        Role::Server => SpanKind::Server,
        Role::Client => SpanKind::Client,
        Role::Producer => SpanKind::Producer,
        Role::Consumer => SpanKind::Consumer,
    }));
    TRACE_ID.set(trace_id);
    let started = start();
    STARTING.set(None);
    TRACE_ID.set(None);
    started
}

pub(crate) fn new_ids() -> (TraceId, SpanId) {
    let random = RandomIdGenerator::default();
    (random.new_trace_id(), random.new_span_id())
}

/// A tracer below the layer of `tracing`.
#[derive(Clone, Debug)]
pub(crate) struct Tracer(pub(crate) SdkTracer);

impl opentelemetry::trace::Tracer for Tracer {
    type Span = Span;

    fn build_with_context(&self, mut builder: SpanBuilder, parent: &Context) -> Span {
        if let Some(kind) = STARTING.take() {
            builder.span_kind = Some(kind);
            // These are for the log; OpenTelemetry gets attributes with the names of its conventions.
            builder.attributes = None;
        }
        self.0.build_with_context(builder, parent)
    }
}

/// Random ids, unless the log has already shown the id of a new trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        TRACE_ID.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

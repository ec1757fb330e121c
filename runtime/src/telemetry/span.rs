//! The runtime's own spans: what they are called and what they say, whoever listens.
//!
//! A span of the `tracing` crate carries what the log shows. What OpenTelemetry shows is told apart
//! from it, and only where somebody records it: so the log stays readable, and a trace that is not
//! sampled costs next to nothing.

pub(crate) mod broker;
pub(crate) mod details;
#[cfg(feature = "otel")]
pub(crate) mod here;
pub(crate) mod message_spans;
#[cfg(feature = "otel")]
mod otel_span;
#[cfg(feature = "otel")]
pub(crate) mod sampling;
#[cfg(not(feature = "otel"))]
mod silent_span;
pub(crate) mod source;
#[cfg(feature = "otel")]
pub(crate) mod traced;
#[cfg(feature = "otel")]
pub(crate) mod tracer;

use std::pin::Pin;

use tracing::Span;

use super::trace_context::TraceContext;
use crate::error::{Error, Kind};
use details::{Attribute, Details, Link, Parent, Role};
#[cfg(feature = "otel")]
use otel_span as listener;
#[cfg(not(feature = "otel"))]
use silent_span as listener;

/// A span of the runtime's own that the log shows too; `$quiet` where its trace is not sampled.
macro_rules! process_span {
    ($quiet:expr, $($fields:tt)*) => {
        if $quiet {
            tracing::info_span!(target: $crate::telemetry::QUIET, "process", $($fields)*)
        } else {
            tracing::info_span!(target: $crate::telemetry::SPAN, "process", $($fields)*)
        }
    };
}
pub(crate) use process_span;

/// Makes `span` a span of a trace. `details` is asked only where it is recorded.
pub(crate) fn open(
    span: &Span,
    role: Role,
    parent: Parent<'_>,
    links: &[Link<'_>],
    details: impl FnOnce() -> Details,
) {
    listener::open(span, role, parent, links, details);
}

/// A span that only a trace shows, never the log: a call to a server.
pub(crate) fn call(role: Role, parent: Parent<'_>, details: impl FnOnce() -> Details) -> Span {
    listener::call(role, parent, details)
}

/// Links a span that is open to another one of this process.
pub(crate) fn link(span: &Span, other: &Span) {
    listener::link(span, other);
}

/// Whether anybody traces in this process.
pub(crate) fn is_on() -> bool {
    listener::is_on()
}

/// Whether a span is being worked in that belongs to a trace.
pub(crate) fn is_in_trace() -> bool {
    listener::is_in_trace()
}

/// Says more about a span that is open. `attributes` is asked only where it is recorded.
pub(crate) fn record(span: &Span, attributes: impl FnOnce() -> Vec<Attribute>) {
    listener::record(span, attributes);
}

/// Says that what a span stands for failed. A caller's own mistake is its outcome, not ours.
pub(crate) fn mark_failed(span: &Span, error: &Error) {
    let ours = matches!(
        error.kind(),
        Kind::Internal | Kind::Halt | Kind::Unavailable | Kind::Timeout
    );
    record(span, || vec![("error.type", error.kind().name().into())]);
    if ours {
        listener::mark_failed(span, || error.to_string());
    }
}

/// Says that what a span stands for failed, and no more: what went wrong is nothing to be told.
#[cfg(feature = "sea-orm")]
pub(crate) fn mark_broken(span: &Span) {
    listener::mark_failed(span, String::new);
}

/// Whether the trace with this id is made, but not recorded.
pub(crate) fn is_quiet(trace_id: &str) -> bool {
    listener::is_quiet(trace_id)
}

/// Works below a span that is not recorded: what is begun in it belongs to that trace, and is not
/// recorded either. The work stays where it is: moving it would cost more than the trace does.
pub(crate) async fn quietly<T>(
    trace: Option<&TraceContext>,
    work: Pin<&mut impl Future<Output = T>>,
) -> T {
    match trace {
        None => work.await,
        Some(trace) => listener::below(trace, work).await,
    }
}

/// What another process is told of a span, in the headers of a message: that of `span`, or where
/// that is not open, of the one that is being worked in. None while nobody traces.
pub(crate) fn context_of(span: &Span) -> Option<TraceContext> {
    listener::context_of(span)
}

/// A trace that begins here, without a span yet. None while nobody traces.
pub(crate) fn fresh() -> Option<TraceContext> {
    listener::fresh()
}

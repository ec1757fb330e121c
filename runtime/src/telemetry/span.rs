//! The runtime's own spans: what they are called and what they say, whoever listens.
//!
//! A span of the `tracing` crate carries what the log shows. What OpenTelemetry shows is told apart
//! from it, and only where somebody records it: so the log stays readable, and a trace that is not
//! sampled costs next to nothing.

use std::borrow::Cow;
use std::pin::Pin;

use tracing::Span;

#[cfg(feature = "otel")]
use super::otel_span as listener;
#[cfg(not(feature = "otel"))]
use super::silent_span as listener;
use crate::error::{Error, Kind};
use crate::trace_context::TraceContext;

/// The target of the runtime's own spans.
pub(crate) const SPAN: &str = "natsfn::span";

/// The target of those that only the log shows, since their trace is not sampled. OpenTelemetry does
/// not see them, which is what makes a small share cheap.
pub(crate) const QUIET: &str = "natsfn::quiet";

/// A span of the runtime's own that the log shows too; `$quiet` where its trace is not sampled.
macro_rules! process_span {
    ($quiet:expr, $($fields:tt)*) => {
        if $quiet {
            tracing::info_span!(target: crate::telemetry::QUIET, "process", $($fields)*)
        } else {
            tracing::info_span!(target: crate::telemetry::SPAN, "process", $($fields)*)
        }
    };
}
pub(crate) use process_span;

/// The part that somebody plays in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
    Producer,
    Consumer,
}

/// What a span hangs below.
pub(crate) enum Parent<'a> {
    /// The span that is being worked in.
    Current,
    /// A span of another process, or of this one at another time.
    Remote(&'a TraceContext),
    /// A span of this process.
    Span(&'a Span),
    /// Nothing: a trace of its own, with this id.
    Root(Option<&'a str>),
}

/// A span that belongs to another trace.
pub(crate) enum Link<'a> {
    Remote(&'a TraceContext),
    Span(&'a Span),
}

/// An attribute, by its name in the semantic conventions.
pub(crate) type Attribute = (&'static str, Value);

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(Cow<'static, str>),
    Number(i64),
    Flag(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// What a span says beside how long it took.
pub(crate) struct Details {
    /// `{operation} {subject template}`: few names, whatever the traffic.
    pub(crate) name: String,
    pub(crate) attributes: Vec<Attribute>,
}

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

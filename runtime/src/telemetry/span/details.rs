//! The content of a span, for the log and for OpenTelemetry.

use std::borrow::Cow;

use tracing::Span;

use crate::telemetry::trace_context::TraceContext;

/// The target of the runtime's own spans.
pub(crate) const SPAN: &str = "natsfn::span";

/// The target of spans that only the log shows, since their trace is not sampled. OpenTelemetry does
/// not see them, which makes a small ratio cheap.
pub(crate) const QUIET: &str = "natsfn::quiet";

/// The role of this process in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
    Producer,
    Consumer,
}

/// The parent of a span.
pub(crate) enum Parent<'a> {
    /// The current span.
    Current,
    /// A span of another process, or of this one at another time.
    Remote(&'a TraceContext),
    /// A span of this process.
    Span(&'a Span),
    /// None: a trace of its own, with this id.
    Root(Option<&'a str>),
}

/// A link to a span of another trace.
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

/// What a span holds besides its duration.
pub(crate) struct Details {
    /// `{operation} {subject template}`: few different names, whatever the traffic.
    pub(crate) name: String,
    pub(crate) attributes: Vec<Attribute>,
}

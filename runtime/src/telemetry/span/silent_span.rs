//! Spans without OpenTelemetry: none.

use tracing::Span;

use super::details::{Attribute, Details, Link, Parent, Role};
use crate::telemetry::trace_context::TraceContext;

pub(crate) fn open(_: &Span, _: Role, _: Parent<'_>, _: &[Link<'_>], _: impl FnOnce() -> Details) {}

pub(crate) fn call(_: Role, _: Parent<'_>, _: impl FnOnce() -> Details) -> Span {
    Span::none()
}

pub(crate) fn link(_: &Span, _: &Span) {}

pub(crate) fn is_on() -> bool {
    false
}

pub(crate) fn is_in_trace() -> bool {
    false
}

pub(crate) fn record(_: &Span, _: impl FnOnce() -> Vec<Attribute>) {}

pub(crate) fn mark_failed(_: &Span, _: impl FnOnce() -> String) {}

pub(crate) fn context_of(_: &Span) -> Option<TraceContext> {
    None
}

pub(crate) fn fresh() -> Option<TraceContext> {
    None
}

pub(crate) fn is_quiet(_: &str) -> bool {
    false
}

pub(crate) async fn below<T>(_: &TraceContext, work: impl Future<Output = T>) -> T {
    work.await
}

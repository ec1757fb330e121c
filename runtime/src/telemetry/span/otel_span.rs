//! The runtime's spans as OpenTelemetry's.

use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId};
use opentelemetry::{Context, KeyValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::details::{Attribute, Details, Link, Parent, Role, SPAN, Value};
use super::here::is_here;
use super::sampling::is_sampled;
use super::tracer;
use crate::telemetry::trace_context::TraceContext;

pub(crate) use super::sampling::is_on;

pub(crate) fn open(
    span: &Span,
    role: Role,
    parent: Parent<'_>,
    links: &[Link<'_>],
    details: impl FnOnce() -> Details,
) {
    if !is_on() || span.is_disabled() {
        return;
    }
    let mut trace_id = None;
    let above = match parent {
        Parent::Current => Context::current(),
        Parent::Remote(remote) => remote_context(remote),
        Parent::Span(parent) => parent.context(),
        Parent::Root(id) => {
            trace_id = id.and_then(|id| TraceId::from_hex(id).ok());
            Context::new()
        }
    };
    // No layer exports traces, or the span has already started.
    if span.set_parent(above).is_err() {
        return;
    }
    let context = tracer::starting(role, trace_id, || span.context());
    let started = context.span();
    if !started.is_recording() {
        return;
    }
    let Details { name, attributes } = details();
    started.update_name(name);
    started.set_attributes(attributes.into_iter().map(key_value));
    for link in links {
        let linked = match link {
            Link::Remote(remote) => span_context(remote),
            Link::Span(span) => span.context().span().span_context().clone(),
        };
        if linked.is_valid() {
            started.add_link(linked, Vec::new());
        }
    }
}

pub(crate) fn call(role: Role, parent: Parent<'_>, details: impl FnOnce() -> Details) -> Span {
    if !is_on() || !may_be_sampled(&parent) {
        return Span::none();
    }
    let span = tracing::debug_span!(target: SPAN, "call");
    open(&span, role, parent, &[], details);
    span
}

/// A child of an unsampled span is not sampled either, so it is not even started.
fn may_be_sampled(parent: &Parent<'_>) -> bool {
    match parent {
        Parent::Current => {
            let current = Context::current();
            let span = current.span();
            let above = span.span_context();
            !above.is_valid() || above.is_sampled()
        }
        Parent::Remote(remote) => remote.trace_id().is_none_or(is_sampled),
        Parent::Span(_) | Parent::Root(_) => true,
    }
}

pub(crate) fn link(span: &Span, other: &Span) {
    if !span.is_disabled() {
        let other = other.context().span().span_context().clone();
        span.add_link(other);
    }
}

pub(crate) fn is_in_trace() -> bool {
    is_on() && Context::current().span().span_context().is_valid()
}

pub(crate) fn record(span: &Span, attributes: impl FnOnce() -> Vec<Attribute>) {
    if !is_on() || span.is_disabled() {
        return;
    }
    let context = span.context();
    let started = context.span();
    if started.is_recording() {
        started.set_attributes(attributes().into_iter().map(key_value));
    }
}

pub(crate) fn mark_failed(span: &Span, why: impl FnOnce() -> String) {
    if !is_on() || span.is_disabled() {
        return;
    }
    let context = span.context();
    let started = context.span();
    if started.is_recording() {
        started.set_status(Status::error(why()));
    }
}

pub(crate) fn context_of(span: &Span) -> Option<TraceContext> {
    if !is_on() {
        return None;
    }
    let context = if span.is_disabled() {
        Context::current()
    } else {
        span.context()
    };
    let span = context.span();
    let told = span.span_context();
    told.is_valid().then(|| {
        let traceparent = format!(
            "00-{}-{}-{:02x}",
            told.trace_id(),
            told.span_id(),
            told.trace_flags().to_u8() & TraceFlags::SAMPLED.to_u8()
        );
        let state = told.trace_state().header();
        TraceContext::new(traceparent, Some(state).filter(|state| !state.is_empty()))
    })
}

pub(crate) fn fresh() -> Option<TraceContext> {
    (is_on() && is_here()).then(|| {
        let (trace, span) = tracer::new_ids();
        TraceContext::new(format!("00-{trace}-{span}-00"), None)
    })
}

pub(crate) fn is_quiet(trace_id: &str) -> bool {
    is_on() && !is_sampled(trace_id)
}

pub(crate) fn below<T>(
    trace: &TraceContext,
    work: impl Future<Output = T>,
) -> impl Future<Output = T> {
    work.with_context(remote_context(trace))
}

fn remote_context(remote: &TraceContext) -> Context {
    let parent = span_context(remote);
    if parent.is_valid() {
        Context::new().with_remote_span_context(parent)
    } else {
        Context::new()
    }
}

fn span_context(remote: &TraceContext) -> SpanContext {
    let read = || {
        let (trace, span, flags) = remote.ids()?;
        Some(SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(span).ok()?,
            TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
            true,
            remote
                .state()
                .and_then(|state| state.parse().ok())
                .unwrap_or_default(),
        ))
    };
    read().unwrap_or_else(SpanContext::empty_context)
}

pub(crate) fn key_value((key, value): Attribute) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(key, text),
        Value::Number(number) => KeyValue::new(key, number),
        Value::Flag(flag) => KeyValue::new(key, flag),
    }
}

//! What the spans of a stream function say about the source of its messages.

use std::sync::Arc;

use async_nats::Message;
use tracing::Span;

use super::broker::Broker;
use super::details::{Attribute, Details, Link, Parent, Role};
use super::process_span;
use crate::function::event::Entry;
use crate::function::template::{Template, overlap};
use crate::telemetry::measure::Labels;
use crate::telemetry::span;
use crate::telemetry::trace_context::TraceContext;

/// The names of a stream function and its source.
pub(crate) struct Names<'a> {
    pub(crate) service: &'a str,
    pub(crate) function: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) durable: &'a str,
}

/// A consumer, as its spans name it.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) broker: Arc<Broker>,
    pub(crate) stream: String,
    /// The durable consumer's name.
    pub(crate) group: String,
    pub(crate) templates: Arc<[Template]>,
    /// Whether the function takes one message at a time.
    pub(crate) single: bool,
    /// The labels of its metrics.
    pub(crate) labels: Labels,
}

impl Source {
    pub(crate) fn new(
        broker: &Arc<Broker>,
        names: &Names<'_>,
        templates: &Arc<[Template]>,
        single: bool,
    ) -> Self {
        let Names {
            service,
            function,
            stream,
            durable,
        } = *names;
        let mut labels = vec![
            ("messaging.system", "nats"),
            ("messaging.operation.name", operation(single)),
            ("messaging.consumer.group.name", durable),
            ("natsfn.service", service),
            ("natsfn.function", function),
            ("nats.stream", stream),
        ];
        if let [only] = &**templates {
            labels.push(("messaging.destination.template", only.text()));
        }
        Self {
            broker: broker.clone(),
            stream: stream.to_owned(),
            group: durable.to_owned(),
            templates: templates.clone(),
            single,
            labels: Labels::new(labels),
        }
    }

    /// Span of a fetch, in a trace of its own.
    pub(crate) fn receive(&self, messages: &[Message]) -> Span {
        span::call(Role::Client, Parent::Root(None), || {
            let subjects = || messages.iter().map(|message| message.subject.as_str());
            self.batch("receive", "receive", messages.len(), subjects)
        })
    }

    /// Span of the function's work on these messages. For a single message it continues the message's
    /// own trace; for several it is a child of their fetch, with links to their own traces. Also returns
    /// the trace context of the work if that is not sampled.
    pub(crate) fn process(
        &self,
        entries: &[Arc<Entry>],
        receive: &Span,
    ) -> (Span, Option<TraceContext>) {
        let own = match entries {
            [alone] => Some(TraceContext::of(alone.headers())).filter(TraceContext::is_some),
            _ => None,
        };
        let told = own.clone().or_else(|| span::context_of(receive));
        let trace_id = told.as_ref().and_then(TraceContext::trace_id);
        let quiet = trace_id.is_some_and(span::is_quiet);
        let span = process_span!(
            quiet,
            subject = (entries.len() == 1)
                .then(|| tracing::field::display(entries[0].subject().to_owned())),
            seq = entries.first().map(|entry| entry.seq()),
            items = entries.len(),
            trace_id,
        );
        if quiet {
            return (span, told);
        }
        let contexts: Vec<TraceContext> = match own {
            Some(_) => Vec::new(),
            None => contexts(entries),
        };
        let (parent, links) = match &own {
            Some(own) => (Parent::Remote(own), vec![Link::Span(receive)]),
            None => (
                Parent::Span(receive),
                contexts.iter().map(Link::Remote).collect(),
            ),
        };
        span::open(&span, Role::Consumer, parent, &links, || {
            let operation = operation(self.single);
            let subjects = || entries.iter().map(|entry| entry.subject());
            self.batch(operation, "process", entries.len(), subjects)
        });
        (span, None)
    }

    /// Span of one message of a batch, in the message's own trace.
    pub(crate) fn message(&self, entry: &Entry, batch: &Span) -> Span {
        let own = TraceContext::of(entry.headers());
        if !own.is_some() {
            return Span::none();
        }
        let span = span::call(Role::Consumer, Parent::Remote(&own), || {
            let mut details =
                self.batch("process", "process", 1, || std::iter::once(entry.subject()));
            details.attributes.extend(about(entry));
            details
        });
        span::link(&span, batch);
        span
    }

    /// Span of sending the ack, nak or term for these messages.
    pub(crate) fn settle(&self, how: &'static str, entries: &[Arc<Entry>]) -> Span {
        span::call(Role::Client, Parent::Current, || {
            let subjects = || entries.iter().map(|entry| entry.subject());
            self.batch(how, "settle", entries.len(), subjects)
        })
    }

    fn batch<'a, S: Iterator<Item = &'a str>>(
        &self,
        operation: &'static str,
        kind: &'static str,
        n: usize,
        subjects: impl Fn() -> S,
    ) -> Details {
        let mut attributes = self.broker.attributes(operation, kind);
        let template = self.template(subjects());
        attributes.extend([
            ("messaging.consumer.group.name", self.group.clone().into()),
            ("messaging.batch.message_count", n.into()),
            ("nats.stream", self.stream.clone().into()),
        ]);
        let mut all = subjects();
        if let Some(first) = all.next()
            && all.all(|subject| subject == first)
        {
            attributes.push(("messaging.destination.name", first.to_owned().into()));
        }
        if let Some(template) = template {
            attributes.push(("messaging.destination.template", template.to_owned().into()));
        }
        Details {
            name: format!("{operation} {}", template.unwrap_or(&self.stream)),
            attributes,
        }
    }

    /// The template that matches all these subjects. `None` if they match several; then the span has
    /// the stream's name.
    fn template<'a>(&self, mut subjects: impl Iterator<Item = &'a str>) -> Option<&str> {
        let first = subjects.next()?;
        let found = self
            .templates
            .iter()
            .find(|template| overlap(template.subject(), first))?;
        subjects
            .all(|subject| overlap(found.subject(), subject))
            .then(|| found.text())
    }
}

fn operation(single: bool) -> &'static str {
    if single { "process" } else { "process_batch" }
}

/// The attributes that a span of one message has beside those of a batch.
pub(crate) fn about(entry: &Entry) -> Vec<Attribute> {
    let mut attributes = vec![
        ("nats.stream.sequence", entry.seq().into()),
        ("nats.delivery_count", entry.delivered().into()),
    ];
    if let Some(id) = entry.headers().get(async_nats::header::NATS_MESSAGE_ID) {
        attributes.push(("messaging.message.id", id.as_str().to_owned().into()));
    }
    attributes
}

fn contexts(entries: &[Arc<Entry>]) -> Vec<TraceContext> {
    if span::is_on() {
        entries
            .iter()
            .map(|entry| TraceContext::of(entry.headers()))
            .collect()
    } else {
        Vec::new()
    }
}

//! What became of each message of a batch, told in its own trace.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::Span;

use super::source::{Source, about};
use crate::error::Error;
use crate::function::event::Entry;
use crate::telemetry::span;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageOutcome {
    /// Its effect is in the database.
    Stored,
    /// The function said Ok.
    Done,
    /// It had been done before.
    Duplicate,
    /// It is a dead letter.
    DeadLetter,
    /// It comes again later.
    Retried,
}

impl MessageOutcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Done => "done",
            Self::Duplicate => "duplicate",
            Self::DeadLetter => "dead_letter",
            Self::Retried => "retried",
        }
    }
}

/// The spans of the messages of one batch. A message alone has the batch's own.
pub(crate) struct MessageSpans(Mutex<HashMap<u64, Span>>);

impl MessageSpans {
    /// Begins one for each message, in the batch's span, which is the current one.
    pub(crate) fn begin(source: &Source, entries: &[Arc<Entry>]) -> Self {
        let batch = Span::current();
        let mut spans = HashMap::new();
        match entries {
            _ if !span::is_on() => {}
            [alone] => {
                span::record(&batch, || about(alone));
                spans.insert(alone.seq(), batch);
            }
            several => {
                for entry in several {
                    let span = source.message(entry, &batch);
                    if !span.is_disabled() {
                        spans.insert(entry.seq(), span);
                    }
                }
            }
        }
        Self(Mutex::new(spans))
    }

    /// Ends a message's span.
    pub(crate) fn end(&self, entry: &Entry, outcome: MessageOutcome, error: Option<&Error>) {
        let span = self.0.lock().remove(&entry.seq());
        match span {
            Some(span) => tell(&span, outcome, error),
            // A dead letter must be found; without a trace of its own it is told of where it is settled.
            None if outcome == MessageOutcome::DeadLetter => tell(&Span::current(), outcome, error),
            None => {}
        }
    }
}

/// Says what became of the message that a span is about.
pub(crate) fn tell(span: &Span, outcome: MessageOutcome, error: Option<&Error>) {
    span::record(span, || vec![("outcome", outcome.name().into())]);
    if let Some(error) = error {
        span::mark_failed(span, error);
    }
}

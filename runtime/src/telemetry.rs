//! Traces, metrics and the log.
//!
//! The runtime's own spans are opened where their work is done, with the names and
//! attributes of OpenTelemetry. Without the feature `otel`, or while no collector is named, opening
//! one does nothing.

#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "cli")]
mod log;
#[cfg(feature = "otel")]
pub(crate) mod measure;
#[cfg(not(feature = "otel"))]
pub(crate) mod silent_measure;
#[cfg_attr(
    not(feature = "otel"),
    expect(dead_code, reason = "without OpenTelemetry nobody asks what spans say")
)]
mod span;
pub(crate) mod stats;
pub(crate) mod trace_context;
pub(crate) mod unheard;

#[cfg(feature = "otel")]
pub use export::providers::Telemetry;
#[cfg(feature = "otel")]
pub use export::settings::{Exporter, Protocol, Settings, SpanQueue};
#[cfg(feature = "cli")]
pub(crate) use log::{init, is_alone};
#[cfg(not(feature = "otel"))]
pub(crate) use silent_measure as measure;

/// Without a command line the program has its own log, which may show spans in any way.
#[cfg(not(feature = "cli"))]
pub(crate) fn is_alone() -> bool {
    false
}

pub(crate) use span::broker::Broker;
pub(crate) use span::details::{Attribute, Details, Parent, QUIET, Role, SPAN};
#[cfg(feature = "sea-orm")]
pub(crate) use span::mark_broken;
pub(crate) use span::message_spans::{MessageOutcome, MessageSpans, tell};
pub(crate) use span::source::{Names, Source};
pub(crate) use span::{
    call, context_of, fresh, is_in_trace, is_quiet, mark_failed, open, process_span, quietly,
    record,
};

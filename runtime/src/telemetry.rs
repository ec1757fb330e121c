//! Traces, metrics and the log.
//!
//! The runtime's own spans are opened where their work is done, with the names and
//! attributes of OpenTelemetry. Without the feature `otel`, or while no collector is named, opening
//! one does nothing.

mod broker;
#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "cli")]
mod log;
#[cfg(feature = "otel")]
pub(crate) mod measure;
#[cfg(not(feature = "otel"))]
#[path = "telemetry/silent_measure.rs"]
pub(crate) mod measure;
mod message_spans;
#[cfg(feature = "otel")]
mod observe;
#[cfg(feature = "otel")]
mod otel_span;
#[cfg(feature = "otel")]
mod providers;
#[cfg(feature = "otel")]
mod sampling;
#[cfg(feature = "otel")]
mod settings;
#[cfg(not(feature = "otel"))]
mod silent_span;
mod source;
#[cfg_attr(
    not(feature = "otel"),
    expect(dead_code, reason = "without OpenTelemetry nobody asks what spans say")
)]
mod span;
#[cfg(feature = "otel")]
mod told;
#[cfg(feature = "otel")]
mod traced;
#[cfg(feature = "otel")]
mod tracer;
#[cfg(feature = "otel")]
mod variables;

pub(crate) use broker::Broker;
#[cfg(feature = "cli")]
pub(crate) use log::init;
pub(crate) use message_spans::{MessageSpans, Outcome, tell};
#[cfg(feature = "otel")]
pub use providers::Telemetry;
#[cfg(feature = "otel")]
pub use settings::{Exporter, Protocol, Settings, SpanQueue};
pub(crate) use source::Source;
#[cfg(feature = "sea-orm")]
pub(crate) use span::mark_broken;
pub(crate) use span::{
    Attribute, Details, Parent, QUIET, Role, SPAN, call, context_of, fresh, is_in_trace, is_quiet,
    mark_failed, open, process_span, quietly, record,
};

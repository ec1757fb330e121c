//! The log: to stderr, with levels by `RUST_LOG`; a line carries service, function, subject and
//! sequence of what is being handled.

use std::io::IsTerminal;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{LogFormat, variable};
use crate::error::run_error::RunError;

/// Ours at `info`; of the libraries only what is wrong. async-nats tells of every attempt to connect
/// that fails; `connect/trouble.rs` says the same, once a minute. OpenTelemetry's exporters tell of each
/// export that fails; `export/logging_exporter.rs` says the same, once a minute.
const LEVELS: &str = "info,async_nats=warn,async_nats::connector=off,sea_orm=warn,sea_orm_migration=warn,sqlx=warn,opentelemetry-otlp=off";

/// Whether spans are there for the lines of this log alone.
static IS_ALONE: AtomicBool = AtomicBool::new(false);

/// Whether nothing but this log's lines shows spans, so that those that say the same may be one.
pub(crate) fn is_alone() -> bool {
    IS_ALONE.load(Relaxed)
}

/// What makes traces of spans.
pub(crate) type Traces = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts the log, and beside it what makes traces of spans. A process has one log: where the
/// program has started its own before, that stays.
///
/// # Errors
/// `RUST_LOG` does not say levels.
pub(crate) fn init(format: LogFormat, traces: Option<Traces>) -> Result<(), RunError> {
    let levels = variable("RUST_LOG").map_or(LEVELS.to_owned(), |levels| {
        levels.to_string_lossy().into_owned()
    });
    let filter = EnvFilter::try_new(&levels).map_err(|error| {
        RunError::misuse([format!(
            "variable RUST_LOG: {error}; levels are such as `info,natsfn=debug`"
        )])
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    let is_alone = traces.is_none();
    let started = match traces {
        // A filter for all costs less than one for each, and here there is one layer.
        None => tracing_subscriber::registry()
            .with(lines)
            .with(filter)
            .try_init(),
        Some(traces) => tracing_subscriber::registry()
            .with(vec![
                traces,
                lines.with_filter(filter.and(filter_fn(is_news))).boxed(),
            ])
            .try_init(),
    };
    IS_ALONE.store(is_alone && started.is_ok(), Relaxed);
    started.or(Ok(()))
}

/// OpenTelemetry's own word for an export that failed comes each time, beside that of `export/logging_exporter.rs`.
fn is_news(event: &tracing::Metadata<'_>) -> bool {
    !event.name().ends_with(".ExportError")
}

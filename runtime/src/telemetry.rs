//! The log: to stderr, with levels by `RUST_LOG`; a line carries service, function, subject and
//! sequence of what is being handled.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::RunError;
use crate::config::{LogFormat, variable};

/// Ours at `info`; of the libraries only what is wrong. async-nats tells of every attempt to connect
/// that fails; `connect.rs` says the same, once a minute.
const LEVELS: &str =
    "info,async_nats=warn,async_nats::connector=off,sea_orm=warn,sea_orm_migration=warn,sqlx=warn";

/// Starts the log. A process has one: where the program has started its own before, that stays.
///
/// # Errors
/// `RUST_LOG` does not say levels.
pub(crate) fn init(format: LogFormat) -> Result<(), RunError> {
    let levels = variable("RUST_LOG").map_or(LEVELS.to_owned(), |levels| {
        levels.to_string_lossy().into_owned()
    });
    let filter = EnvFilter::try_new(&levels).map_err(|error| {
        RunError::misuse([format!(
            "variable RUST_LOG: {error}; levels are such as `info,natsfn=debug`"
        )])
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal());
            tracing_subscriber::registry()
                .with(filter)
                .with(lines)
                .try_init()
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_span_list(false);
            tracing_subscriber::registry()
                .with(filter)
                .with(lines)
                .try_init()
        }
    };
    started.or(Ok(()))
}

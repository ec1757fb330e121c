//! What goes into traces.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use super::details::SPAN;

/// The runtime's own spans, and from level `info` on those of the functions, and events. The
/// runtime's other spans are the log's, and those of the libraries that carry a trace to its
/// collector would be traced for ever.
pub(crate) struct Traced;

/// The crates of those libraries.
const LIBRARIES: [&str; 16] = [
    "async_nats",
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry-otlp",
    "opentelemetry_http",
    "opentelemetry_sdk",
    "sea_orm",
    "sea_orm_migration",
    "sqlx",
    "sqlx_core",
    "sqlx_postgres",
    "sqlx_sqlite",
    "tonic",
    "tower",
];

impl<S> Filter<S> for Traced {
    fn enabled(&self, of: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        goes_in(of)
    }

    // It depends on the place alone, so it is asked once for each, and not for each request.
    fn callsite_enabled(&self, of: &'static Metadata<'static>) -> Interest {
        if goes_in(of) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
}

fn goes_in(of: &Metadata<'_>) -> bool {
    let target = of.target();
    if target == SPAN {
        return true;
    }
    let from = target.split("::").next().unwrap_or_default();
    let theirs = LIBRARIES.contains(&from);
    *of.level() <= Level::INFO && !theirs && (of.is_event() || from != "natsfn")
}

//! Which spans and events are traced.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use super::details::SPAN;

/// The runtime's own spans, and from level `info` on the spans and events of the functions. The
/// runtime's other spans are for the log. The libraries that send a trace to its collector are
/// excluded: tracing them would never end.
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

    // It depends on the call site alone, so it is evaluated once per call site, not per request.
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

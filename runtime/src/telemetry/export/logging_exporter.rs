//! An exporter that says what becomes of what it sends: at once when the collector does not take it,
//! then once a minute, and again when it does.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use parking_lot::Mutex;

use super::failure::Failure;
use super::settings::Exporter;

/// OpenTelemetry tells of each export that fails, which under load is several a second.
const AGAIN: Duration = Duration::from_secs(60);

pub(crate) struct LoggingExporter<E> {
    inner: E,
    what: &'static str,
    collector: String,
    /// More about the last failure.
    failure: Failure,
    /// When a failure was told last; none while all is well.
    told: Mutex<Option<Instant>>,
    /// Whether it is still to be told that files for TLS are named for an address of plain HTTP.
    ignores_files: AtomicBool,
}

impl<E> LoggingExporter<E> {
    /// `what` is exported to this collector.
    pub(super) fn new(inner: E, what: &'static str, to: &Exporter, failure: Failure) -> Self {
        Self {
            inner,
            what,
            collector: to.shown(),
            failure,
            told: Mutex::default(),
            ignores_files: to.ignores_files().into(),
        }
    }

    fn tell(&self, result: &OTelSdkResult) {
        let Self {
            what, collector, ..
        } = self;
        if self.ignores_files.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "{what} go to the collector at {collector} unencrypted, although OTEL_EXPORTER_OTLP_CERTIFICATE or \
                 ..._CLIENT_CERTIFICATE is set: TLS needs an https address"
            );
        }
        let mut told = self.told.lock();
        match result {
            Ok(()) if told.take().is_some() => {
                tracing::info!("the collector at {collector} takes {what} again");
            }
            Ok(()) => {}
            Err(_) if told.is_some_and(|told| told.elapsed() < AGAIN) => {}
            Err(error) => {
                *told = Some(Instant::now());
                let error = error.to_string();
                let error = once(&error);
                let why = self.failure.get().map(|why| format!(": {why}"));
                let why = why.unwrap_or_default();
                tracing::warn!(
                    "the collector at {collector} does not take {what}, which are lost: {error}{why}. Does it run, and is \
                     the address right (OTEL_EXPORTER_OTLP_ENDPOINT)? Functions work on; this is said once a minute"
                );
            }
        }
    }
}

/// A text without what it ends with twice: gRPC's exporter shows a cause, and the same as the cause's own.
fn once(text: &str) -> &str {
    let repeats = text.match_indices(": ").find_map(|(at, _)| {
        let end = &text[at..];
        let (first, second) = end.split_at_checked(end.len() / 2)?;
        (first == second).then_some(at + first.len())
    });
    &text[..repeats.unwrap_or(text.len())]
}

impl<E> fmt::Debug for LoggingExporter<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LoggingExporter")
            .field("what", &self.what)
            .field("collector", &self.collector)
            .finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for LoggingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        self.tell(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for LoggingExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export(metrics).await;
        self.tell(&result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::once;

    #[test]
    fn cause_that_stands_twice_is_said_once() {
        assert_eq!(once("failed: why: not: why: not"), "failed: why: not");
        assert_eq!(once("failed: why: how"), "failed: why: how");
        assert_eq!(once("failed"), "failed");
    }
}

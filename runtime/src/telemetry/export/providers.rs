//! Starts and stops OpenTelemetry.

use std::io;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use prometheus::{Registry, TextEncoder};
use tracing::Subscriber;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::settings::Settings;
use crate::error::run_error::RunError;
use crate::telemetry::span::here::Here;
use crate::telemetry::span::sampling;
use crate::telemetry::span::traced::Traced;
use crate::telemetry::span::tracer::{Ids, Tracer};
use crate::telemetry::{export, measure};

/// How long what is left may take to be sent at the end. A collector that stands still does not
/// keep the process.
const FLUSH: Duration = Duration::from_secs(2);

/// A span links every message of its batch, and OpenTelemetry keeps 128. A batch is far smaller than
/// this; memory is bounded by the batch.
const LINKS: u32 = 65_536;

/// OpenTelemetry at work: traces and metrics of this process, on their way to a collector.
///
/// [`natsfn::main`](crate::main) does this by itself. In a program of your own:
///
/// ```no_run
/// use natsfn::telemetry::{Settings, Telemetry};
/// use tracing_subscriber::prelude::*;
///
/// # async fn run() -> Result<(), natsfn::RunError> {
/// if let Some(settings) = Settings::from_environment()? {
///     let telemetry = Telemetry::start(&settings, "shop", Some("1.0.0"))?;
///     tracing_subscriber::registry().with(telemetry.layer()).init();
///     // Here natsfn::start, and what stops the service again.
///     telemetry.stop().await; // last: it sends what the stop itself was
/// }
/// # Ok(())
/// # }
/// ```
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    prometheus: Option<Registry>,
}

impl Telemetry {
    /// Starts what the settings ask for, as the service `name`. Where metrics are asked for, they
    /// become the process's own. It has to be called where a runtime of tokio runs.
    ///
    /// # Errors
    /// A variable that an exporter reads itself is wrong.
    pub fn start(settings: &Settings, name: &str, version: Option<&str>) -> Result<Self, RunError> {
        let resource = resource(settings, name, version);
        // Metrics first: what the traces' own machinery counts goes there.
        let mut readers = SdkMeterProvider::builder().with_resource(resource.clone());
        if let Some(to) = &settings.metrics {
            let reader = PeriodicReader::builder(export::metrics(to)?)
                .with_interval(settings.metric_interval)
                .build();
            readers = readers.with_reader(reader);
        }
        let prometheus = settings.prometheus.then(Registry::new);
        if let Some(registry) = &prometheus {
            let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone());
            let reader = reader.build().map_err(|error| {
                RunError::while_doing("the exporter for Prometheus does not start", error)
            })?;
            readers = readers.with_reader(reader);
        }
        let metrics = (settings.metrics.is_some() || settings.prometheus).then(|| {
            let provider = readers.build();
            opentelemetry::global::set_meter_provider(provider.clone());
            measure::begin(&provider.meter("natsfn"));
            provider
        });
        let traces = match &settings.traces {
            None => None,
            Some(to) => {
                let queue = BatchConfigBuilder::default()
                    .with_max_queue_size(settings.queue.size)
                    .with_max_export_batch_size(settings.queue.batch)
                    .with_scheduled_delay(settings.queue.delay)
                    .build();
                let processor = BatchSpanProcessor::builder(export::spans(to)?)
                    .with_batch_config(queue)
                    .build();
                let provider = SdkTracerProvider::builder()
                    .with_resource(resource)
                    .with_sampler(sampling::begin(settings.ratio))
                    .with_id_generator(Ids::default())
                    .with_max_links_per_span(LINKS)
                    .with_span_processor(processor)
                    .build();
                Some(provider)
            }
        };
        Ok(Self {
            traces,
            metrics,
            prometheus,
        })
    }

    /// Writes the metrics as they are now, in Prometheus' text format 0.0.4: what OTLP sends, under the
    /// names that a collector would give it. None where [`Settings::prometheus`] is false.
    ///
    /// The function that this returns fails once telemetry is stopped.
    pub fn prometheus(&self) -> Option<impl Fn() -> io::Result<String> + Send + Sync + use<>> {
        let registry = self.prometheus.clone()?;
        Some(move || {
            let mut families = registry.gather();
            for family in &mut families {
                // The exporter adds the unit to a name that ends with it already.
                let name = family.name().replace("_bytes_bytes", "_bytes");
                family.set_name(name);
            }
            let text = TextEncoder::new().encode_to_string(&families);
            text.map_err(io::Error::other)
        })
    }

    /// The layer that makes traces of spans: the runtime's own, and those of the functions from
    /// level `info` on. None where traces are not asked for.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let provider = self.traces.as_ref()?;
        let layer = tracing_opentelemetry::layer()
            .with_tracer(Tracer(provider.tracer("natsfn")))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        Some(layer.and_then(Here).with_filter(Traced))
    }

    /// Sends what is left, for at most 2 s. It comes last: after everything that makes spans.
    pub async fn stop(self) {
        let Self {
            traces, metrics, ..
        } = self;
        // Side by side: a collector that is silent about one may take the other.
        tokio::join!(
            stopped("traces", move || traces
                .map(|traces| traces.shutdown_with_timeout(FLUSH))),
            stopped("metrics", move || {
                metrics.map(|metrics| metrics.shutdown_with_timeout(FLUSH))
            }),
        );
    }
}

/// Stops a provider, which blocks, while its exporter needs the runtime.
async fn stopped(what: &str, stop: impl FnOnce() -> Option<OTelSdkResult> + Send + 'static) {
    let stopping = tokio::task::spawn_blocking(stop);
    match tokio::time::timeout(FLUSH, stopping).await {
        Ok(Ok(None | Some(Ok(())))) => {}
        Ok(Ok(Some(Err(error)))) => tracing::warn!(%error, "the last {what} were not sent"),
        _ => tracing::warn!("the collector does not answer: the last {what} were not sent"),
    }
}

fn resource(settings: &Settings, name: &str, version: Option<&str>) -> Resource {
    let mut attributes: Vec<KeyValue> = vec![KeyValue::new(
        "service.instance.id",
        nuid::next().to_string(),
    )];
    if let Some(version) = version {
        attributes.push(KeyValue::new("service.version", version.to_owned()));
    }
    for (key, value) in &settings.attributes {
        attributes.push(KeyValue::new(key.clone(), value.clone()));
    }
    let own_name = settings
        .attributes
        .iter()
        .any(|(key, _)| key == "service.name");
    match &settings.service_name {
        Some(name) => attributes.push(KeyValue::new("service.name", name.clone())),
        None if own_name => {}
        None => attributes.push(KeyValue::new("service.name", name.to_owned())),
    }
    // Without detectors: those read the environment, which the settings have read.
    Resource::builder_empty()
        .with_attributes(attributes)
        .build()
}

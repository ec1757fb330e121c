//! Exporters: OTLP over gRPC or HTTP.

mod logging_exporter;
pub(crate) mod providers;
pub(crate) mod settings;
mod variables;

use std::time::Duration;

use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig,
};
use tokio::runtime::Handle;

use crate::error::run_error::RunError;
use logging_exporter::LoggingExporter;
use settings::{Exporter, Protocol};

/// Sends spans. It has to be made where a runtime of tokio runs.
pub(super) fn spans(to: &Exporter) -> Result<LoggingExporter<SpanExporter>, RunError> {
    let made = match to.protocol {
        Protocol::Grpc => addressed(SpanExporter::builder().with_tonic(), to).build(),
        Protocol::HttpProtobuf => over_http(SpanExporter::builder().with_http(), to).build(),
    };
    logging(made, "traces", to)
}

/// Sends metrics. It has to be made where a runtime of tokio runs.
pub(super) fn metrics(to: &Exporter) -> Result<LoggingExporter<MetricExporter>, RunError> {
    let made = match to.protocol {
        Protocol::Grpc => addressed(MetricExporter::builder().with_tonic(), to).build(),
        Protocol::HttpProtobuf => over_http(MetricExporter::builder().with_http(), to).build(),
    };
    logging(made, "metrics", to)
}

fn over_http<B: WithExportConfig + WithHttpConfig>(builder: B, to: &Exporter) -> B {
    let builder = builder.with_http_client(Http::new(to.timeout));
    addressed(
        builder.with_protocol(opentelemetry_otlp::Protocol::HttpBinary),
        to,
    )
}

fn addressed<B: WithExportConfig>(builder: B, to: &Exporter) -> B {
    builder.with_endpoint(&to.endpoint).with_timeout(to.timeout)
}

/// What is left that can be wrong is in variables that the exporters read themselves.
fn logging<E>(
    made: Result<E, ExporterBuildError>,
    what: &'static str,
    to: &Exporter,
) -> Result<LoggingExporter<E>, RunError> {
    match made {
        Ok(made) => Ok(LoggingExporter::new(made, what, &to.endpoint)),
        Err(error) => Err(RunError::misuse([format!(
            "variables OTEL_EXPORTER_OTLP_...: {error}"
        )])),
    }
}

/// The exporters' threads are none of tokio's, so the requests run where the functions run.
#[derive(Debug)]
struct Http {
    client: HyperClient,
    runtime: Handle,
}

impl Http {
    fn new(timeout: Duration) -> Self {
        Self {
            client: HyperClient::with_default_connector(timeout, None),
            runtime: Handle::current(),
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        sent.await?
    }
}

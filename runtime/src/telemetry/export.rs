//! Exporters: OTLP over gRPC or HTTP.

mod failure;
mod logging_exporter;
pub(crate) mod providers;
pub(crate) mod settings;
#[cfg(feature = "otel-tls")]
mod tls;
mod variables;

use std::sync::Arc;

use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use tokio::runtime::Handle;

use crate::error::run_error::RunError;
use failure::Failure;
use logging_exporter::LoggingExporter;
use settings::{Exporter, Protocol};
use variables::{HAS_TLS, NO_TLS};

/// Sends spans. It has to be made where a runtime of tokio runs.
pub(super) fn spans(to: &Exporter) -> Result<LoggingExporter<SpanExporter>, RunError> {
    let failure = Failure::default();
    let builder = SpanExporter::builder();
    let made = match to.protocol {
        Protocol::Grpc => over_grpc(builder.with_tonic(), to)?.build(),
        Protocol::HttpProtobuf => over_http(builder.with_http(), to, &failure)?.build(),
    };
    let made = made.map_err(wrong)?;
    Ok(LoggingExporter::new(made, "traces", to, failure))
}

/// Sends metrics. It has to be made where a runtime of tokio runs.
pub(super) fn metrics(to: &Exporter) -> Result<LoggingExporter<MetricExporter>, RunError> {
    let failure = Failure::default();
    let builder = MetricExporter::builder();
    let made = match to.protocol {
        Protocol::Grpc => over_grpc(builder.with_tonic(), to)?.build(),
        Protocol::HttpProtobuf => over_http(builder.with_http(), to, &failure)?.build(),
    };
    let made = made.map_err(wrong)?;
    Ok(LoggingExporter::new(made, "metrics", to, failure))
}

fn over_grpc<B>(builder: B, to: &Exporter) -> Result<B, RunError>
where
    B: WithExportConfig + WithTonicConfig,
{
    let builder = addressed(builder, to)?;
    #[cfg(feature = "otel-tls")]
    if to.is_tls() {
        let channel = tls::Connector::new(to).channel().map_err(wrong)?;
        return Ok(builder.with_channel(channel));
    }
    Ok(builder)
}

fn over_http<B>(builder: B, to: &Exporter, failure: &Failure) -> Result<B, RunError>
where
    B: WithExportConfig + WithHttpConfig,
{
    let builder = addressed(builder, to)?.with_http_client(Http::new(to, failure));
    Ok(builder.with_protocol(opentelemetry_otlp::Protocol::HttpBinary))
}

fn addressed<B: WithExportConfig>(builder: B, to: &Exporter) -> Result<B, RunError> {
    if to.is_tls() && !HAS_TLS {
        return Err(RunError::misuse([format!("{}: {NO_TLS}", to.shown())]));
    }
    Ok(builder.with_endpoint(&to.endpoint).with_timeout(to.timeout))
}

/// What is left that can be wrong is in variables that the exporters read themselves.
fn wrong(error: impl std::fmt::Display) -> RunError {
    RunError::misuse([format!("variables OTEL_EXPORTER_OTLP_...: {error}")])
}

/// The exporters' threads are none of tokio's, so the requests run where the functions run.
#[derive(Debug)]
struct Http {
    client: Arc<dyn HttpClient>,
    failure: Failure,
    runtime: Handle,
}

impl Http {
    fn new(to: &Exporter, failure: &Failure) -> Self {
        Self {
            client: client(to),
            failure: failure.clone(),
            runtime: Handle::current(),
        }
    }
}

fn client(to: &Exporter) -> Arc<dyn HttpClient> {
    #[cfg(feature = "otel-tls")]
    if to.is_tls() {
        let connector = tls::Connector::new(to);
        return Arc::new(HyperClient::new(connector, to.timeout, None));
    }
    Arc::new(HyperClient::with_default_connector(to.timeout, None))
}

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        let sent = sent.await?;
        match &sent {
            Ok(_) => self.failure.clear(),
            Err(error) => self.failure.set(&**error),
        }
        sent
    }
}

//! Exporters: OTLP over HTTP or gRPC.

mod failure;
mod http;
mod logging_exporter;
pub(crate) mod providers;
pub(crate) mod settings;
#[cfg(feature = "otel-tls")]
mod tls;
mod variables;

use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig};

use crate::error::run_error::RunError;
use failure::Failure;
use http::Http;
use logging_exporter::LoggingExporter;
use settings::{Exporter, Protocol};
use variables::{HAS_TLS, NO_TLS};

/// Makes an exporter of a signal, over what its settings say.
macro_rules! exporter {
    ($builder:expr, $to:ident, $failure:ident) => {
        match $to.protocol {
            #[cfg(feature = "otel-grpc")]
            Protocol::Grpc => over_grpc($builder.with_tonic(), $to)?.build(),
            #[cfg(not(feature = "otel-grpc"))]
            Protocol::Grpc => return Err(without_feature($to, variables::NO_GRPC)),
            Protocol::HttpProtobuf => over_http($builder.with_http(), $to, &$failure)?.build(),
        }
        .map_err(wrong)?
    };
}

/// Sends spans. It has to be made where a runtime of tokio runs.
pub(super) fn spans(to: &Exporter) -> Result<LoggingExporter<SpanExporter>, RunError> {
    let failure = Failure::default();
    let made = exporter!(SpanExporter::builder(), to, failure);
    Ok(LoggingExporter::new(made, "traces", to, failure))
}

/// Sends metrics. It has to be made where a runtime of tokio runs.
pub(super) fn metrics(to: &Exporter) -> Result<LoggingExporter<MetricExporter>, RunError> {
    let failure = Failure::default();
    let made = exporter!(MetricExporter::builder(), to, failure);
    Ok(LoggingExporter::new(made, "metrics", to, failure))
}

#[cfg(feature = "otel-grpc")]
fn over_grpc<B>(builder: B, to: &Exporter) -> Result<B, RunError>
where
    B: WithExportConfig + opentelemetry_otlp::WithTonicConfig,
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
    let builder = addressed(builder, to)?.with_protocol(opentelemetry_otlp::Protocol::HttpBinary);
    #[cfg(feature = "otel-tls")]
    if to.is_tls() {
        let http = Http::over(tls::Connector::new(to), to, failure);
        return Ok(builder.with_http_client(http));
    }
    Ok(builder.with_http_client(Http::new(to, failure)))
}

fn addressed<B: WithExportConfig>(builder: B, to: &Exporter) -> Result<B, RunError> {
    if to.is_tls() && !HAS_TLS {
        return Err(without_feature(to, NO_TLS));
    }
    Ok(builder.with_endpoint(&to.endpoint).with_timeout(to.timeout))
}

fn without_feature(to: &Exporter, why: &str) -> RunError {
    RunError::misuse([format!("{}: {why}", to.shown())])
}

/// What is left that can be wrong is in variables that the exporters read themselves.
fn wrong(error: impl std::fmt::Display) -> RunError {
    RunError::misuse([format!("variables OTEL_EXPORTER_OTLP_...: {error}")])
}

//! Where a traced process sends its spans: to a collector that accepts and discards them, to one
//! that never reads, or to none.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Failure;

/// A tracing mode of a process.
pub(crate) struct Mode {
    pub(crate) name: &'static str,
    collector: Option<(String, &'static str)>,
}

impl Mode {
    /// All modes. Off is the first, since the others are shown as a share of it.
    pub(crate) fn all(collector: &Collector) -> Vec<Self> {
        let mode = |name, collector: Option<(&String, &'static str)>| Self {
            name,
            collector: collector.map(|(address, ratio)| (address.clone(), ratio)),
        };
        vec![
            mode("off", None),
            mode("1 %", Some((&collector.well, "0.01"))),
            mode("100 %", Some((&collector.well, "1"))),
            mode("100 %, away", Some((&collector.away, "1"))),
            mode("100 %, stalled", Some((&collector.stalled, "1"))),
        ]
    }

    pub(crate) fn variables(&self) -> Vec<(&'static str, &str)> {
        self.collector
            .as_ref()
            .map_or_else(Vec::new, |(to, ratio)| {
                vec![
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", &**to),
                    ("OTEL_METRICS_EXPORTER", "none"),
                    ("OTEL_TRACES_SAMPLER", "traceidratio"),
                    ("OTEL_TRACES_SAMPLER_ARG", *ratio),
                ]
            })
    }
}

/// The addresses of the collectors.
pub(crate) struct Collector {
    well: String,
    away: String,
    stalled: String,
    // Its backlog accepts connections, but nothing reads from them.
    _deaf: TcpListener,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let well = address(&listener)?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(take)),
                );
            }
        });
        let away = address(&TcpListener::bind("127.0.0.1:0").await?)?;
        let deaf = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self {
            well,
            away,
            stalled: address(&deaf)?,
            _deaf: deaf,
        })
    }
}

async fn take(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    Ok(Response::new(Empty::new()))
}

fn address(listener: &TcpListener) -> Result<String, Failure> {
    Ok(format!("http://{}", listener.local_addr()?))
}

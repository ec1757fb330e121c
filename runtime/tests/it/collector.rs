//! A collector: it takes OTLP over HTTP and gRPC, on one port, and keeps what it is sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1;
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, Value>;

/// A span as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the first of a trace.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// Trace and span.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) attributes: Attributes,
    pub(crate) failed: bool,
    pub(crate) events: Vec<String>,
    pub(crate) dropped: u32,
    pub(crate) resource: Attributes,
}

impl Span {
    /// An attribute's value; null where there is none.
    pub(crate) fn get(&self, attribute: &str) -> Value {
        self.attributes.get(attribute).cloned().unwrap_or_default()
    }

    /// Requires these attributes; null requires that there is none.
    pub(crate) fn has(&self, expected: &Value) {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(self.get(name), *value, "{name} of {self:#?}");
        }
    }

    /// Whether it is a child of that one.
    pub(crate) fn is_below(&self, parent: &Self) -> bool {
        (&self.trace, &self.parent) == (&parent.trace, &parent.id)
    }
}

/// A value as it was sent: of a histogram, how many were measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) labels: Attributes,
    pub(crate) value: f64,
}

/// A collector that listens until it is dropped.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    kept: Arc<Kept>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    measured: Mutex<Vec<Measured>>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// One that listens here.
    pub(crate) fn on(listener: TcpListener) -> Self {
        Self::speaking(listener, |stream| std::future::ready(Some(stream)))
    }

    /// One that listens here, and does not serve who is turned into none.
    pub(crate) fn speaking<S, F>(
        listener: TcpListener,
        speak: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Option<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let kept = Arc::<Kept>::default();
        let address = listener.local_addr().unwrap();
        let keep = kept.clone();
        let serving = tokio::spawn(async move {
            // Dropping the tasks ends the connections too.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (kept, spoken) = (keep.clone(), speak(stream));
                connections.spawn(async move {
                    let Some(stream) = spoken.await else { return };
                    let answer = service_fn(move |request| answer(kept.clone(), request));
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        Self {
            address,
            kept,
            serving,
        }
    }

    /// Its address, as OTEL_EXPORTER_OTLP_ENDPOINT has it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span so far, in the order of their ends.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.kept.spans.lock().unwrap().clone()
    }

    /// Every value so far, each as often as it was sent.
    pub(crate) fn measured(&self) -> Vec<Measured> {
        self.kept.measured.lock().unwrap().clone()
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    kept: Arc<Kept>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let grpc = path.starts_with("/opentelemetry.proto.");
    let body = request.into_body().collect().await?.to_bytes();
    // A message of gRPC has a flag and its length before it.
    let message = if grpc { body.slice(5..) } else { body };
    match path.as_str() {
        "/v1/traces" | "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => {
            let sent = ExportTraceServiceRequest::decode(message).unwrap();
            kept.spans.lock().unwrap().extend(spans(sent));
        }
        "/v1/metrics" | "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => {
            let sent = ExportMetricsServiceRequest::decode(message).unwrap();
            kept.measured.lock().unwrap().extend(measured(sent));
        }
        other => panic!("nothing is sent to {other}"),
    }
    Ok(if grpc { grpc_ok() } else { http_ok() })
}

fn http_ok() -> Response<Body> {
    let body = Full::new(Bytes::new()).boxed();
    Response::builder()
        .header("content-type", "application/x-protobuf")
        .body(body)
        .unwrap()
}

/// An empty message, and the status after it.
fn grpc_ok() -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [
        Ok(Frame::data(Bytes::from_static(&[0; 5]))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    Response::builder()
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap()
}

fn measured(sent: ExportMetricsServiceRequest) -> Vec<Measured> {
    let scopes = sent
        .resource_metrics
        .into_iter()
        .flat_map(|resource| resource.scope_metrics);
    let mut found = Vec::new();
    for metric in scopes.flat_map(|scope| scope.metrics) {
        let numbers = |points: Vec<NumberDataPoint>| -> Vec<_> {
            let read = |point: NumberDataPoint| match point.value.unwrap() {
                Number::AsInt(n) => (point.attributes, n as f64),
                Number::AsDouble(n) => (point.attributes, n),
            };
            points.into_iter().map(read).collect()
        };
        let points = match metric.data.unwrap() {
            Data::Gauge(gauge) => numbers(gauge.data_points),
            Data::Sum(sum) => numbers(sum.data_points),
            Data::Histogram(histogram) => {
                let points = histogram.data_points.into_iter();
                let count = points.map(|point| (point.attributes, point.count as f64));
                count.collect()
            }
            other => panic!("a metric is {other:?}"),
        };
        found.extend(points.into_iter().map(|(labels, value)| Measured {
            name: metric.name.clone(),
            labels: attributes(labels),
            value,
        }));
    }
    found
}

fn spans(sent: ExportTraceServiceRequest) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in sent.resource_spans {
        let about = attributes(resource.resource.unwrap_or_default().attributes);
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            found.push(read(span, &about));
        }
    }
    found
}

fn read(span: v1::Span, resource: &Attributes) -> Span {
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: span.kind().as_str_name().trim_start_matches("SPAN_KIND_"),
        dropped: span.dropped_links_count
            + span.dropped_attributes_count
            + span.dropped_events_count,
        links: span
            .links
            .iter()
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect(),
        failed: span
            .status
            .is_some_and(|status| status.code() == v1::status::StatusCode::Error),
        events: span.events.into_iter().map(|event| event.name).collect(),
        attributes: attributes(span.attributes),
        name: span.name,
        resource: resource.clone(),
    }
}

/// Attributes of anything, by name.
fn attributes(sent: Vec<KeyValue>) -> Attributes {
    sent.into_iter()
        .map(|pair| (pair.key, value(pair.value)))
        .collect()
}

fn value(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text.into(),
        Some(Any::BoolValue(flag)) => flag.into(),
        Some(Any::IntValue(number)) => number.into(),
        Some(Any::DoubleValue(number)) => number.into(),
        other => panic!("an attribute is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

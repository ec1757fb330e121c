//! The health listener: `/livez`, `/readyz` and `/metrics` over HTTP, for a container's health checks and
//! for Prometheus.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::board::Board;
use crate::error::run_error::RunError;

/// How many connections may be open: with one more, the oldest is closed.
const MOST_CONNECTIONS: usize = 64;
/// Limits of a request's line and headers.
const LONGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// How long a client may take to ask, and all in all. A connection brings one request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const LIFE: Duration = Duration::from_secs(10);
/// The pause after a failed accept, as with too many open files.
const PAUSE: Duration = Duration::from_millis(20);

const TEXT: &str = "text/plain; charset=utf-8";
/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the metrics as Prometheus reads them, or says why there are none.
pub(in crate::cli) type WriteMetrics = dyn Fn() -> Result<String, String> + Send + Sync;

/// Answers until it is dropped.
pub(in crate::cli) struct HealthListener {
    _serving: AbortOnDropHandle<()>,
}

impl HealthListener {
    /// # Errors
    /// The address cannot be listened on; exit code 2.
    pub(in crate::cli) fn open(
        at: SocketAddr,
        board: Arc<Board>,
        metrics: Box<WriteMetrics>,
    ) -> Result<Self, RunError> {
        let refuse = |error: io::Error| {
            let why = match error.kind() {
                io::ErrorKind::AddrInUse => "is in use: stop what listens there, or".to_owned(),
                _ => format!("cannot be listened on ({error}):"),
            };
            RunError::misuse([format!("health.listen: {at} {why} name another address")])
        };
        let listener = TcpListener::bind(at).map_err(refuse)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tracing::info!(
            "/livez, /readyz and /metrics are at http://{}",
            listener.local_addr()?
        );
        let answers = Arc::new(Answers { board, metrics });
        Ok(Self {
            _serving: AbortOnDropHandle::new(tokio::spawn(serve(listener, answers))),
        })
    }
}

async fn serve(listener: tokio::net::TcpListener, answers: Arc<Answers>) {
    let mut connections: VecDeque<AbortOnDropHandle<()>> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.retain(|connection| !connection.is_finished());
                let serving = tokio::spawn(attend(stream, answers.clone()));
                connections.push_back(AbortOnDropHandle::new(serving));
                if connections.len() > MOST_CONNECTIONS {
                    connections.pop_front();
                }
            }
            Err(error) => {
                connections.pop_front();
                tracing::debug!(%error, "the health listener cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn attend(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(move |request| {
        let answers = answers.clone();
        async move { Ok::<_, Infallible>(answers.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // An error is the client's: it sent no HTTP, was slow, or went away.
    let _ = timeout(LIFE, connection).await;
}

/// What there is to answer.
struct Answers {
    board: Arc<Board>,
    metrics: Box<WriteMetrics>,
}

impl Answers {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (status, kind, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/livez") => {
                (StatusCode::OK, TEXT, "alive\n".to_owned())
            }
            (&Method::GET | &Method::HEAD, "/readyz") => match self.board.not_ready().await {
                reasons if reasons.is_empty() => (StatusCode::OK, TEXT, "ready\n".to_owned()),
                reasons => {
                    let text = reasons.join("\n") + "\n";
                    (StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
                }
            },
            (&Method::GET | &Method::HEAD, "/metrics") => match (self.metrics)() {
                Ok(metrics) => (StatusCode::OK, METRICS, metrics),
                Err(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, why + "\n"),
            },
            (&Method::GET | &Method::HEAD, _) => {
                let text = "There are /livez, /readyz and /metrics.\n".to_owned();
                (StatusCode::NOT_FOUND, TEXT, text)
            }
            _ => {
                let text = "GET and HEAD only.\n".to_owned();
                (StatusCode::METHOD_NOT_ALLOWED, TEXT, text)
            }
        };
        let mut response = Response::new(Full::new(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

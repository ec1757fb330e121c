//! The client of OTLP over HTTP.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, ResponseBodyTooLarge};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::failure::Failure;
use super::settings::Exporter;

/// A collector answers with a few words. What is longer than this, in bytes, is somebody else's answer; OpenTelemetry's
/// own clients have the same limit.
const LONGEST_ANSWER: usize = 4 << 20;

/// A client of HTTP/1.1. The exporters' threads are none of tokio's, so its requests run where the functions run.
#[derive(Debug)]
pub(super) struct Http<C> {
    client: Client<C, Full<Bytes>>,
    timeout: Duration,
    failure: Failure,
    runtime: Handle,
}

impl Http<HttpConnector> {
    pub(super) fn new(to: &Exporter, failure: &Failure) -> Self {
        Self::over(HttpConnector::new(), to, failure)
    }
}

impl<C: Connect + Clone> Http<C> {
    pub(super) fn over(connector: C, to: &Exporter, failure: &Failure) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            timeout: to.timeout,
            failure: failure.clone(),
            runtime: Handle::current(),
        }
    }
}

#[async_trait]
impl<C> HttpClient for Http<C>
where
    C: Connect + Clone + Debug + Send + Sync + 'static,
{
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let asked = self.client.request(request.map(Full::new));
        let answer = async {
            let (parts, body) = asked.await?.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await;
            let body = body.map_err(too_long)?;
            Ok::<_, HttpError>(Response::from_parts(parts, body.to_bytes()))
        };
        let limit = self.timeout;
        // A timer needs the runtime from its beginning on.
        let sent = self
            .runtime
            .spawn(async move { timeout(limit, answer).await? });
        let sent = sent.await?;
        match &sent {
            Ok(_) => self.failure.clear(),
            Err(error) => self.failure.set(&**error),
        }
        sent
    }
}

/// By this type the exporter knows that the collector has taken what it was sent, which must not go out again.
fn too_long(error: HttpError) -> HttpError {
    match error.downcast::<LengthLimitError>() {
        Ok(_) => ResponseBodyTooLarge::new().into(),
        Err(error) => error,
    }
}

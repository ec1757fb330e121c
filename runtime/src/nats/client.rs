//! The runtime's connection as a function uses it: publish, request, append to a stream.

pub(crate) mod access;
mod append;
mod extract;
pub(crate) mod kv;
mod object_store;
pub(crate) mod subject;

use std::sync::Arc;

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::breaker::Breakers;
use super::intake::Intake;
use super::jetstream::Nats;
use crate::error::reply::check;
use crate::error::{Error, Kind, Result};
use crate::telemetry::trace_context::TraceContext;
use crate::telemetry::{self, Broker, Details, Parent, Role, measure};
use access::{Access, Allowed};
use append::Lane;
use subject::check_length;

/// The runtime's connection. What is sent through it carries the `traceparent` of the event that
/// the function is called with. Cloning is cheap.
///
/// ```
/// use natsfn::{Client, HeaderMap, Json, Result};
///
/// async fn order(client: Client, Json(sku): Json<String>) -> Result<Json<u64>> {
///     let price: u32 = client.request("shop.price", &sku).await?;
///     let order = serde_json::json!({ "sku": sku, "cents": price }).to_string();
///     // In the stream when this returns; a repeat with the same id is stored once.
///     let id = Some("order-1");
///     let appended = client.append("orders.bob", id, HeaderMap::new(), order.into()).await?;
///     Ok(Json(appended.seq))
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("order", order);
/// ```
#[derive(Clone)]
pub struct Client {
    nats: Nats,
    trace: TraceContext,
    broker: Arc<Broker>,
    breakers: Arc<Breakers>,
    /// The streams whose appends are gathered.
    lanes: Arc<[Lane]>,
    /// What ranges of a stream come in on; the connection itself where there is none.
    reads: Option<Arc<Intake>>,
    /// What its function may publish, where that is checked.
    allowed: Option<Arc<Allowed>>,
}

impl Client {
    /// Wraps a connection: what [`connect`](crate::connect()) returns, or a plain [`async_nats::Client`], which uses the
    /// server's own JetStream.
    pub fn new(nats: impl Into<Nats>) -> Self {
        Self {
            nats: nats.into(),
            trace: TraceContext::default(),
            broker: Arc::default(),
            breakers: Arc::default(),
            lanes: Arc::default(),
            reads: None,
            allowed: None,
        }
    }

    /// The same connection, for a service's functions: spans say where it leads.
    pub(crate) fn to(nats: Nats, broker: Arc<Broker>, reads: Arc<Intake>) -> Self {
        Self {
            broker,
            reads: Some(reads),
            ..Self::new(nats)
        }
    }

    /// What spans say of the server.
    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// The same connection, carrying on the trace of a message with these headers.
    #[must_use]
    pub fn continuing(&self, headers: &HeaderMap) -> Self {
        Self {
            trace: TraceContext::of(headers),
            ..self.clone()
        }
    }

    /// The connection that ranges of a stream come in on.
    pub(crate) fn reads(&self) -> Option<&Intake> {
        self.reads.as_deref()
    }

    /// The connection below, for what this type does not offer; for JetStream take [`Client::jetstream`].
    pub fn nats(&self) -> &Nats {
        &self.nats
    }

    /// async-nats's JetStream on the connection below, of `nats.domain` or `nats.api_prefix` where the configuration has
    /// one. Its acknowledgements are not compared with the domain, as those of [`Client::append`] are.
    pub fn jetstream(&self) -> jetstream::Context {
        self.nats.jetstream()
    }

    /// Publishes without an acknowledgement: nobody may be listening.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for a subject that is none, or has over 3,900 bytes; [`Kind::TooLarge`] over the server's
    /// `max_payload`, [`Kind::Unavailable`] when the connection is closed.
    pub async fn publish(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<()> {
        check_length(subject)?;
        self.check(|| Access::publish(subject))?;
        let started = Instant::now();
        let span = self.span(Role::Producer, "publish", "send", subject);
        let headers = self.headers(headers, &span);
        let published = self
            .nats
            .publish_with_headers(subject.to_owned(), headers, payload)
            .instrument(span.clone())
            .await
            .map_err(|error| publish_error(subject, error));
        self.ended(&span, "publish", subject, started, &published);
        published
    }

    /// Asks, and reads the answer as JSON.
    ///
    /// # Errors
    /// The answering function's error with its kind, [`Kind::Unavailable`] where nobody answers,
    /// [`Kind::Timeout`] where the answer does not come in time (10 s).
    pub async fn request<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T> {
        self.request_with_headers(subject, HeaderMap::new(), body)
            .await
    }

    /// As [`Client::request`], with headers.
    ///
    /// ```
    /// use natsfn::{Client, HeaderMap, Json, Result};
    ///
    /// async fn order(client: Client, Json(sku): Json<String>) -> Result<Json<u32>> {
    ///     let mut headers = HeaderMap::new();
    ///     headers.insert("Tenant", "blue");
    ///     client.request_with_headers("shop.price", headers, &sku).await.map(Json)
    /// }
    /// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("order", order);
    /// ```
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request_with_headers<T: DeserializeOwned>(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: &(impl Serialize + Sync),
    ) -> Result<T> {
        let payload = serde_json::to_vec(body)
            .map_err(|error| Error::internal("the request is not JSON").with_source(error))?;
        let answer = self.ask(subject, headers, payload.into()).await?;
        check(&answer)?;
        serde_json::from_slice(&answer.payload).map_err(|error| {
            Error::internal(format!("the answer of {subject} is not the JSON expected"))
                .with_source(error)
        })
    }

    /// Asks, and returns the answer as it is, an error reply included.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where nobody answers, [`Kind::Timeout`] where the answer does not
    /// come in time (10 s).
    pub async fn ask(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<async_nats::Message> {
        use async_nats::RequestErrorKind::{
            InvalidSubject, MaxPayloadExceeded, NoResponders, TimedOut,
        };
        check_length(subject)?;
        self.check(|| Access::publish(subject))?;
        let started = Instant::now();
        let span = self.span(Role::Client, "request", "send", subject);
        let headers = self.headers(headers, &span);
        let answered = self
            .nats
            .request_with_headers(subject.to_owned(), headers, payload)
            .instrument(span.clone())
            .await
            .map_err(|error| {
                let kind = match error.kind() {
                    TimedOut => Kind::Timeout,
                    NoResponders => Kind::Unavailable,
                    InvalidSubject => Kind::BadRequest,
                    MaxPayloadExceeded => Kind::TooLarge,
                    _ => Kind::Unavailable,
                };
                Error::new(kind, format!("{subject}: {error}")).with_source(error)
            });
        self.ended(&span, "request", subject, started, &answered);
        answered
    }

    /// The template of a subject, or what unannounced ones have in common.
    fn family<'a>(&'a self, subject: &'a str) -> &'a str {
        let template = self.broker.template(subject);
        template.unwrap_or_else(|| subject.split('.').next().unwrap_or(subject))
    }

    /// What something is sent in. Where nobody traces, or not this, it is none.
    fn span(&self, role: Role, operation: &'static str, kind: &'static str, subject: &str) -> Span {
        let parent = if telemetry::is_in_trace() || !self.trace.is_some() {
            Parent::Current
        } else {
            // A task that the function has spawned has left its span.
            Parent::Remote(&self.trace)
        };
        telemetry::call(role, parent, || {
            let mut attributes = self.broker.attributes(operation, kind);
            attributes.push(("messaging.destination.name", subject.to_owned().into()));
            let template = self.broker.template(subject);
            if let Some(template) = template {
                attributes.push(("messaging.destination.template", template.to_owned().into()));
            }
            Details {
                // A subject that nobody has announced may be one of very many.
                name: template.map_or(operation.to_owned(), |template| {
                    format!("{operation} {template}")
                }),
                attributes,
            }
        })
    }

    fn ended<T>(
        &self,
        span: &Span,
        operation: &'static str,
        subject: &str,
        started: Instant,
        outcome: &Result<T>,
    ) {
        let error = outcome.as_ref().err();
        if let Some(error) = error {
            telemetry::mark_failed(span, error);
        }
        if measure::is_on() {
            let template = self.broker.template(subject);
            measure::called(
                operation,
                template,
                started.elapsed(),
                error.map(Error::kind),
            );
        }
    }

    /// What is sent belongs to the span it is sent in, or else to the event's trace; and to no batch that a
    /// message with these headers came in.
    fn headers(&self, headers: HeaderMap, span: &Span) -> HeaderMap {
        let mut headers = append::without_batch(headers);
        match telemetry::context_of(span) {
            Some(own) => own.write(&mut headers),
            None => self.trace.write(&mut headers),
        }
        headers
    }
}

fn publish_error(subject: &str, error: async_nats::PublishError) -> Error {
    use async_nats::client::PublishErrorKind::{InvalidSubject, MaxPayloadExceeded};
    let kind = match error.kind() {
        InvalidSubject => Kind::BadRequest,
        MaxPayloadExceeded => Kind::TooLarge,
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("{subject}: {error}")).with_source(error)
}

//! The runtime's connection as a function uses it: publish, request, append to a stream.

use async_nats::HeaderMap;
use async_nats::jetstream;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};
use crate::trace_context::TraceContext;

/// The runtime's connection. What is sent through it carries the `traceparent` of the event that
/// the function is called with. Cloning is cheap.
#[derive(Clone)]
pub struct Client {
    nats: async_nats::Client,
    trace: TraceContext,
}

/// A stream's word that it holds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The message's sequence; for a duplicate that of the message stored before.
    pub seq: u64,
    /// The stream knew the message id already and stored nothing.
    pub duplicate: bool,
}

impl Client {
    /// Wraps a connection.
    pub fn new(nats: async_nats::Client) -> Self {
        Self {
            nats,
            trace: TraceContext::default(),
        }
    }

    /// The same connection, carrying on the trace of a message with these headers.
    #[must_use]
    pub fn continuing(&self, headers: &HeaderMap) -> Self {
        Self {
            nats: self.nats.clone(),
            trace: TraceContext::of(headers),
        }
    }

    /// The connection below, for what this type does not offer.
    pub fn nats(&self) -> &async_nats::Client {
        &self.nats
    }

    /// JetStream on the connection below.
    pub fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.nats.clone())
    }

    /// Publishes without an acknowledgement: nobody may be listening.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for a subject that is none, [`Kind::TooLarge`] over the server's
    /// `max_payload`, [`Kind::Unavailable`] when the connection is closed.
    pub async fn publish(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<()> {
        let headers = self.headers(headers);
        self.nats
            .publish_with_headers(subject.to_owned(), headers, payload)
            .await
            .map_err(|error| publish_error(subject, error))
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
        let payload = serde_json::to_vec(body)
            .map_err(|error| Error::internal("the request is not JSON").with_source(error))?;
        let answer = self.ask(subject, HeaderMap::new(), payload.into()).await?;
        crate::error_reply::check(&answer)?;
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
        let headers = self.headers(headers);
        self.nats
            .request_with_headers(subject.to_owned(), headers, payload)
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
            })
    }

    /// Appends to the stream that captures `subject` and waits until it holds the message. With an
    /// `id` (`Nats-Msg-Id`) a repeat within the stream's duplicate window is stored once.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where the stream is full, away, or does not answer (the message may be
    /// stored all the same: repeat it with the same id); [`Kind::TooLarge`] over the stream's
    /// `max_msg_size`; [`Kind::Conflict`] where an expected sequence differs.
    pub async fn append(
        &self,
        subject: &str,
        id: Option<&str>,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Appended> {
        if let Some(id) = id {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        }
        crate::jetstream::append(&self.nats, subject, self.headers(headers), payload).await
    }

    fn headers(&self, mut headers: HeaderMap) -> HeaderMap {
        self.trace.write(&mut headers);
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

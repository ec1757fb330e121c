//! What a function may return: a response to a request, outcomes for a delivery.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Serialize;

use super::event::{Delivery, Entry, Event, Request};
use super::extract::Json;
use crate::error::reply::write;
use crate::error::{Error, IntoError, Result};

/// What can answer an event of type `E`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a function that is called with a `{E}`",
    note = "a request is answered by (), Json<T>, Bytes, String or Response; a delivery by () or Outcomes; or by a Result of one of them whose error implements IntoError"
)]
pub trait IntoReply<E: Event> {
    /// The answer, or the error that the caller sees or that settles the messages.
    ///
    /// # Errors
    /// The function's own, or that its answer cannot be written as JSON.
    fn into_reply(self) -> Result<E::Answer>;
}

/// An answer to a request: bytes and headers.
///
/// ```
/// use natsfn::{Response, Result};
///
/// async fn invoice() -> Result<Response> {
///     Ok(Response::json(&["tea", "coffee"])?.with_header("Cache-Control", "no-store"))
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("invoice", invoice);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The payload.
    pub payload: Bytes,
    /// The headers; none are sent when it is empty.
    pub headers: HeaderMap,
}

impl Response {
    /// An error as a caller learns it.
    pub(crate) fn error(error: &Error, trace_id: Option<&str>) -> Self {
        let (headers, payload) = write(error, trace_id);
        Self { payload, headers }
    }
}

impl Response {
    /// A JSON body.
    ///
    /// # Errors
    /// [`crate::Kind::Internal`] where `body` cannot be written as JSON.
    pub fn json(body: &impl Serialize) -> Result<Self> {
        let payload = serde_json::to_vec(body)
            .map_err(|error| Error::internal("the answer is not JSON").with_source(error))?;
        Ok(Self {
            payload: payload.into(),
            headers: HeaderMap::new(),
        })
    }

    /// Adds a header. The value must be without CR and LF.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl ToString) -> Self {
        // A line break in a value would make async-nats panic far from here.
        let value: String = value
            .to_string()
            .chars()
            .filter(|c| !matches!(c, '\r' | '\n'))
            .collect();
        self.headers.insert(name, value);
        self
    }
}

impl IntoReply<Request> for Response {
    fn into_reply(self) -> Result<Response> {
        Ok(self)
    }
}

impl IntoReply<Request> for () {
    fn into_reply(self) -> Result<Response> {
        Ok(Response::default())
    }
}

impl IntoReply<Request> for Bytes {
    fn into_reply(self) -> Result<Response> {
        Ok(Response {
            payload: self,
            headers: HeaderMap::new(),
        })
    }
}

impl IntoReply<Request> for String {
    fn into_reply(self) -> Result<Response> {
        Bytes::from(self).into_reply()
    }
}

impl<T: Serialize> IntoReply<Request> for Json<T> {
    fn into_reply(self) -> Result<Response> {
        Response::json(&self.0)
    }
}

/// What became of the messages of a batch: all that are not named were a success.
///
/// ```
/// use natsfn::{Batch, Error, Outcomes};
///
/// async fn store(amounts: Batch<u32>) -> Outcomes {
///     let mut outcomes = Outcomes::new();
///     for amount in &amounts {
///         if **amount == 0 {
///             let error = Error::bad_request("an amount is at least 1");
///             outcomes.fail(amount.message(), error); // a dead letter, by the error's kind
///         }
///     }
///     outcomes
/// }
/// # let amounts = natsfn::Stream::new("AMOUNTS", ["amounts"]);
/// # let _ = natsfn::Service::new("shop", "1.0.0").consumer(natsfn::Consumer::new("store", amounts), store);
/// ```
#[derive(Debug, Default)]
pub struct Outcomes {
    failed: BTreeMap<u64, Error>,
    duplicates: BTreeSet<u64>,
}

impl Outcomes {
    /// Every message was a success.
    pub fn new() -> Self {
        Self::default()
    }

    /// This one failed; its error's kind decides whether it is retried or dead-lettered. The
    /// others are not touched by that, and the function has seen to it that its transaction holds
    /// nothing of this one.
    pub fn fail(&mut self, message: &Entry, error: impl IntoError) {
        self.failed.insert(message.seq(), error.into_error());
    }

    /// This one had been done before: a success, told apart in counters and traces.
    pub fn duplicate(&mut self, message: &Entry) {
        self.duplicates.insert(message.seq());
    }

    /// How many failed.
    pub fn failures(&self) -> usize {
        self.failed.len()
    }

    /// A failure that has a cause, where there is one.
    pub(crate) fn caused(&self) -> Option<&Error> {
        self.failed.values().find(|error| error.source().is_some())
    }

    pub(crate) fn failed_seqs(&self) -> Vec<u64> {
        self.failed.keys().copied().collect()
    }

    pub(crate) fn take_failure(&mut self, seq: u64) -> Option<Error> {
        self.failed.remove(&seq)
    }

    pub(crate) fn duplicates(&self) -> usize {
        self.duplicates.len()
    }

    pub(crate) fn is_duplicate(&self, seq: u64) -> bool {
        self.duplicates.contains(&seq)
    }
}

impl IntoReply<Delivery> for Outcomes {
    fn into_reply(self) -> Result<Outcomes> {
        Ok(self)
    }
}

impl IntoReply<Delivery> for () {
    fn into_reply(self) -> Result<Outcomes> {
        Ok(Outcomes::new())
    }
}

impl<E: Event, R: IntoReply<E>, F: IntoError> IntoReply<E> for Result<R, F> {
    fn into_reply(self) -> Result<E::Answer> {
        match self {
            Ok(reply) => reply.into_reply(),
            Err(error) => Err(error.into_error()),
        }
    }
}

impl Event for Request {
    type Answer = Response;
}

impl Event for Delivery {
    type Answer = Outcomes;
}

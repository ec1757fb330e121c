//! Extractors: the arguments of a function, each made from the event it is called with.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::event::{Delivery, Entry, Message, Request};
use crate::path;

/// An argument of a function: made from an event of type `E` of a service with the state `S`.
///
/// It is synchronous: the payload is in memory already. An application implements it for types of
/// its own; a test makes the argument by hand, since extractors have public fields.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an extractor for a `{E}` of a service with the state `{S}`",
    note = "extractors are Json<T>, Path<T>, State<T>, Batch<T>, Caller, Headers, Subject, Bytes, Client, Db, Tx; implement `FromEvent` for your own"
)]
pub trait FromEvent<E, S>: Sized {
    /// Makes the argument.
    ///
    /// # Errors
    /// What the caller did wrong, as [`crate::Kind::BadRequest`] mostly.
    fn from_event(event: &mut E, state: &S) -> Result<Self>;

    /// Tells the runtime what this argument needs; one that wraps another passes its needs on.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }
}

/// What a function's arguments need from the runtime, collected at registration.
#[derive(Clone, Copy, Default)]
pub struct Needs {
    pub(crate) path: bool,
    pub(crate) database: bool,
    pub(crate) transaction: bool,
    pub(crate) single: bool,
    pub(crate) decode: Option<Decode>,
}

/// Decodes a message of a batch while the batch before it is still in the handler.
pub(crate) type Decode = fn(&Message) -> Result<Arc<dyn Any + Send + Sync>>;

/// JSON, in and out. An unreadable payload is a [`crate::Kind::BadRequest`] that says where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
    serde_json::from_slice(payload).map_err(|error| {
        Error::bad_request(format!(
            "the payload is not the JSON expected here: {error}"
        ))
    })
}

impl<T: DeserializeOwned, S> FromEvent<Request, S> for Json<T> {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        decode(&request.payload).map(Json)
    }
}

impl<T: DeserializeOwned, S> FromEvent<Delivery, S> for Json<T> {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        decode(&delivery.single()?.payload).map(Json)
    }

    fn needs(needs: &mut Needs) {
        needs.single = true;
    }
}

/// The tokens that a subject template names: `Path(sku): Path<Sku>` for `shop.price.{sku}`, a
/// tuple or a struct for several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned, S> FromEvent<Request, S> for Path<T> {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        path::read(&request.template.values(&request.subject)).map(Path)
    }

    fn needs(needs: &mut Needs) {
        needs.path = true;
    }
}

impl<T: DeserializeOwned, S> FromEvent<Delivery, S> for Path<T> {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        let subject = &delivery.single()?.subject;
        let template = delivery
            .templates
            .iter()
            .find(|template| crate::template::overlap(template.subject(), subject))
            .ok_or_else(|| Error::internal(format!("{subject} fits no subject of the stream")))?;
        path::read(&template.values(subject)).map(Path)
    }

    fn needs(needs: &mut Needs) {
        needs.path = true;
        needs.single = true;
    }
}

/// The service's state.
#[derive(Clone, Copy, Debug, Default)]
pub struct State<T>(pub T);

impl<E, S: Clone> FromEvent<E, S> for State<S> {
    fn from_event(_: &mut E, state: &S) -> Result<Self> {
        Ok(Self(state.clone()))
    }
}

/// The concrete subject of a request or of a single message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub String);

impl<S> FromEvent<Request, S> for Subject {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        Ok(Self(request.subject.to_string()))
    }
}

impl<S> FromEvent<Delivery, S> for Subject {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        Ok(Self(delivery.single()?.subject.to_string()))
    }

    fn needs(needs: &mut Needs) {
        needs.single = true;
    }
}

/// The headers of a request or of a single message; empty where there are none.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub HeaderMap);

impl<S> FromEvent<Request, S> for Headers {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        Ok(Self(request.headers.clone()))
    }
}

impl<S> FromEvent<Delivery, S> for Headers {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        Ok(Self(delivery.single()?.headers.clone()))
    }

    fn needs(needs: &mut Needs) {
        needs.single = true;
    }
}

impl<S> FromEvent<Request, S> for Bytes {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        Ok(request.payload.clone())
    }
}

impl<S> FromEvent<Delivery, S> for Bytes {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        Ok(delivery.single()?.payload.clone())
    }

    fn needs(needs: &mut Needs) {
        needs.single = true;
    }
}

impl<S> FromEvent<Request, S> for Client {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        connected(request.reach.client.as_ref(), &request.headers)
    }
}

impl<S> FromEvent<Delivery, S> for Client {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        // A batch has many origins; only a single message's context can be carried on.
        match delivery.entries.as_slice() {
            [entry] => connected(delivery.reach.client.as_ref(), &entry.headers),
            _ => connected(delivery.reach.client.as_ref(), &HeaderMap::new()),
        }
    }
}

fn connected(client: Option<&Client>, headers: &HeaderMap) -> Result<Client> {
    client
        .map(|client| client.continuing(headers))
        .ok_or_else(|| {
            Error::internal("this function needs a Client, and `testing::local` has no broker")
        })
}

/// The messages of a delivery, decoded. One that cannot be decoded never gets here: it is a dead
/// letter. It derefs to a slice of [`Item`].
pub struct Batch<T>(pub Vec<Item<T>>);

impl<T> Deref for Batch<T> {
    type Target = [Item<T>];

    fn deref(&self) -> &[Item<T>] {
        &self.0
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = Item<T>;
    type IntoIter = std::vec::IntoIter<Item<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a Item<T>;
    type IntoIter = std::slice::Iter<'a, Item<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A message of a batch. It derefs to the decoded payload.
pub struct Item<T> {
    value: Arc<T>,
    entry: Arc<Entry>,
}

impl<T> Item<T> {
    /// The stored message: sequence, subject, headers, times, stream.
    pub fn message(&self) -> &Entry {
        &self.entry
    }

    /// The sequence in the stream, from 1.
    pub fn seq(&self) -> u64 {
        self.entry.seq()
    }

    /// The subject under which the message is stored.
    pub fn subject(&self) -> &str {
        self.entry.subject()
    }

    /// The headers, empty where there are none.
    pub fn headers(&self) -> &HeaderMap {
        self.entry.headers()
    }

    /// When the stream stored the message.
    pub fn time(&self) -> std::time::SystemTime {
        self.entry.time()
    }

    /// When the stream itself was made.
    pub fn stream_created(&self) -> std::time::SystemTime {
        self.entry.stream_created()
    }
}

impl<T> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: FromMessage, S> FromEvent<Delivery, S> for Batch<T> {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        delivery
            .entries
            .iter()
            .map(|entry| {
                let value = entry
                    .decoded
                    .clone()
                    .and_then(|value| value.downcast::<T>().ok())
                    .ok_or_else(|| {
                        Error::internal("two batches of different types in one function")
                    })?;
                Ok(Item {
                    value,
                    entry: entry.clone(),
                })
            })
            .collect::<Result<_>>()
            .map(Batch)
    }

    fn needs(needs: &mut Needs) {
        needs.decode = Some(|entry| {
            let value: Arc<dyn Any + Send + Sync> = Arc::new(T::from_message(entry)?);
            Ok(value)
        });
    }
}

/// What an item of a batch is made of. Everything that deserializes is made of the JSON payload; a
/// type of your own that reads the subject, the headers or the times too implements this instead.
pub trait FromMessage: Sized + Send + Sync + 'static {
    /// Makes the item.
    ///
    /// # Errors
    /// Why it cannot be: the reason in the dead letter.
    fn from_message(message: &Message) -> Result<Self>;
}

impl<T: DeserializeOwned + Send + Sync + 'static> FromMessage for T {
    fn from_message(message: &Message) -> Result<Self> {
        decode(&message.payload)
    }
}

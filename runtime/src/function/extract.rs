//! Extractors: the arguments of a function, each made from the event it is called with.

use std::any::Any;
use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::event::{Delivery, Message, Request};
use super::json::from_json;
use super::path;
use crate::error::{Error, Result};

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
    /// Why the `Path` fits no subject whose template has these names.
    pub(crate) path: Option<CheckNames>,
    pub(crate) database: bool,
    pub(crate) transaction: bool,
    pub(crate) single: bool,
    pub(crate) decode: Option<Decode>,
}

/// Why a `Path` fits no template with these names; None where it does.
pub(crate) type CheckNames = fn(&[&str]) -> Option<String>;

/// Decodes a message of a batch while the batch before it is still in the handler.
pub(crate) type Decode = fn(&Message) -> Result<Arc<dyn Any + Send + Sync>>;

/// JSON, in and out. An unreadable payload is a [`crate::Kind::BadRequest`] that says where; so is an
/// array in place of a struct (see [`crate::from_json`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
    from_json(payload).map_err(|error| {
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
        needs.path = Some(path::misfit::<T>);
    }
}

impl<T: DeserializeOwned, S> FromEvent<Delivery, S> for Path<T> {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        let subject = &delivery.single()?.subject;
        let template = delivery
            .templates
            .iter()
            .find(|template| super::template::overlap(template.subject(), subject))
            .ok_or_else(|| Error::internal(format!("{subject} fits no subject of the stream")))?;
        path::read(&template.values(subject)).map(Path)
    }

    fn needs(needs: &mut Needs) {
        needs.path = Some(path::misfit::<T>);
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

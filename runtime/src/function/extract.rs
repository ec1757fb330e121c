//! Extractors: the arguments of a function, each made from the event it is called with.

mod headers;
mod state;
mod subject;

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::event::{Delivery, Message, Request};
use super::json::from_json;
use super::path;
use crate::error::{Error, Result};

pub use headers::Headers;
pub use state::State;
pub use subject::Subject;

/// An argument of a function, made from an event of type `E`; `S` is the service's state.
///
/// `E` is [`Request`] for a function of an endpoint and [`Delivery`] for one of a consumer: an extractor
/// for both has two implementations. A delivery is a single message, unless the function takes a `Batch`.
///
/// | extractor | made from | is |
/// |---|---|---|
/// | [`Json<T>`](Json), [`Bytes`] | a request, a message | the payload |
/// | [`Subject`], [`Path<T>`](Path) | a request, a message | the subject, and its named tokens |
/// | [`Headers`] | a request, a message | the headers |
/// | [`Caller`](crate::Caller) | a request | who asks |
/// | `AuthRequest` (feature `auth-callout`) | a request | who wants to connect |
/// | [`Batch<T>`](crate::Batch) | a delivery | all of its messages |
/// | [`Extension<T>`](crate::Extension) | a request, a delivery | what a layer has put in |
/// | [`State<T>`](State) | any event | the service's state |
/// | [`Client`](crate::Client) | any event | the connection to NATS |
/// | [`Kv<T>`](crate::Kv) | any event | a key-value bucket |
/// | `Db`, `Tx` (feature `sea-orm`) | any event | the database, and a transaction of it |
///
/// It is synchronous: the payload is already in memory. An application implements it for its own types;
/// a test makes the argument by hand, since extractors have public fields.
///
/// ```
/// use natsfn::{Error, FromEvent, Request, Result};
///
/// /// The caller's tenant, from a header of our own.
/// struct Tenant(String);
///
/// impl<S> FromEvent<Request, S> for Tenant {
///     fn from_event(request: &mut Request, _: &S) -> Result<Self> {
///         let tenant = request.headers().get("Tenant");
///         let tenant = tenant.ok_or_else(|| Error::bad_request("the header Tenant is missing"))?;
///         Ok(Self(tenant.to_string()))
///     }
/// }
///
/// async fn orders(Tenant(tenant): Tenant) -> String {
///     format!("orders of {tenant}")
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("orders", orders);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an extractor for a `{E}` of a service with the state `{S}`",
    note = "State<T> needs T to be the service's state; Caller belongs to requests, Batch<T> to streams",
    note = "the docs of `natsfn::FromEvent` list the extractors; your own type becomes one by `impl FromEvent<{E}, S>`"
)]
pub trait FromEvent<E, S>: Sized {
    /// Makes the argument.
    ///
    /// # Errors
    /// What the caller did wrong, mostly as [`crate::Kind::BadRequest`].
    fn from_event(event: &mut E, state: &S) -> Result<Self>;

    /// Declares what this argument needs. An application's own extractor leaves this out, except a wrapper:
    /// it passes on the needs of the wrapped extractor.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }
}

/// What a function's arguments need from the runtime, collected at registration.
#[derive(Clone, Default)]
pub struct Needs {
    /// Checks whether the `Path` fits the names of a subject template.
    pub(crate) path: Option<CheckNames>,
    /// The caller, as the server stamps it.
    pub(crate) caller: bool,
    pub(crate) database: bool,
    pub(crate) transaction: bool,
    /// The argument is of a single message: a service whose function also takes a `Batch` is not built.
    pub(crate) single: bool,
    /// Set by a `Batch`; a function without one is called with one message at a time.
    pub(crate) decode: Option<Decode>,
    /// The connection to NATS.
    #[cfg_attr(
        not(feature = "testing"),
        allow(dead_code, reason = "who runs on NATS has one")
    )]
    pub(crate) client: bool,
    /// The buckets that a `Kv` reads and writes.
    pub(crate) buckets: Vec<&'static str>,
}

/// Why a `Path` does not fit these names; `None` if it does.
pub(crate) type CheckNames = fn(&[&str]) -> Option<String>;

/// Decodes a message of a batch while the handler still runs the batch before.
pub(crate) type Decode = fn(&Message) -> Result<Arc<dyn Any + Send + Sync>>;

/// JSON, in and out. An unreadable payload is a [`crate::Kind::BadRequest`] that says where; so is an
/// array in place of a struct (see [`crate::from_json`]).
///
/// ```
/// use natsfn::Json;
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     cents: u32,
///     amount: u32,
/// }
///
/// async fn total(Json(order): Json<Order>) -> Json<u32> {
///     Json(order.cents * order.amount)
/// }
///
/// // A test calls the function.
/// # tokio_test(async {
/// let Json(total) = total(Json(Order { cents: 350, amount: 2 })).await;
/// assert_eq!(total, 700);
/// # });
/// # fn tokio_test(test: impl Future<Output = ()>) {
/// #     tokio::runtime::Runtime::new().unwrap().block_on(test);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
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

/// The named tokens of a subject template: `Path(sku): Path<Sku>` for `shop.price.{sku}`; a tuple or a
/// struct if there are several.
///
/// ```
/// use natsfn::{Endpoint, Path, Service};
///
/// #[derive(serde::Deserialize)]
/// struct Article {
///     shop: String,
///     sku: String,
/// }
///
/// async fn price(Path(sku): Path<String>) -> String {
///     format!("the price of {sku}")
/// }
///
/// async fn stock(Path(Article { shop, sku }): Path<Article>) -> String {
///     format!("{sku} in {shop}")
/// }
///
/// let shops = Service::new("shops", "1.0.0")
///     .endpoint(Endpoint::new("price", "price.{sku}"), price)
///     .endpoint(Endpoint::new("stock", "stock.{shop}.{sku}"), stock);
/// # shops.build()?;
/// # Ok::<_, natsfn::RunError>(())
/// ```
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
            .ok_or_else(|| {
                Error::internal(format!("{subject} matches no subject of the stream"))
            })?;
        path::read(&template.values(subject)).map(Path)
    }

    fn needs(needs: &mut Needs) {
        needs.path = Some(path::misfit::<T>);
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

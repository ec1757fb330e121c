//! A message that a test delivers.

use std::time::SystemTime;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Serialize;

/// A message for [`Local::deliver`](super::Local::deliver) with a subject, headers, bytes or a time of its own.
/// Every value that serde can write becomes one, as JSON.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use natsfn::testing::{Outcome, TestMessage, local};
/// use natsfn::{Batch, Consumer, Outcomes, Error, Service, Stream};
///
/// /// An order that is older than a day is refused.
/// async fn ship(orders: Batch<u32>) -> Outcomes {
///     let mut outcomes = Outcomes::new();
///     for order in &orders {
///         let age = order.time().elapsed().unwrap_or_default();
///         if age > Duration::from_secs(86_400) {
///             outcomes.fail(order.message(), Error::bad_request("too old"));
///         }
///     }
///     outcomes
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let orders = Consumer::new("ship", Stream::new("ORDERS", ["orders.{country}"]));
/// let shop = local(Service::new("shop", "1.0.0").consumer(orders, ship));
///
/// let of_today = TestMessage::json(&7).subject("orders.it").header("Carrier", "DHL");
/// let old = of_today.clone().time(SystemTime::UNIX_EPOCH);
/// let outcomes = shop.deliver("ship", [of_today, old]).await;
/// assert_eq!(outcomes, [Outcome::Acked, Outcome::DeadLetter]);
/// # });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a message does nothing until it is delivered"]
pub struct TestMessage {
    pub(super) subject: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
    pub(super) time: Option<SystemTime>,
}

impl TestMessage {
    /// A message of these bytes.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            ..Self::default()
        }
    }

    /// A message of JSON.
    ///
    /// # Panics
    /// The value cannot be written as JSON.
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => Self::new(json),
            Err(error) => panic!("the message cannot be written as JSON: {error}"),
        }
    }

    /// The subject; by default the function's first one, with an `x` for each `{...}` and wildcard.
    pub fn subject(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// One header more.
    ///
    /// # Panics
    /// The name or the value cannot stand in a message.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(name, value);
        self
    }

    /// When the stream has stored it; by default when it is delivered.
    pub fn time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }
}

impl<T: Serialize> From<T> for TestMessage {
    /// As [`TestMessage::json`].
    fn from(value: T) -> Self {
        Self::json(&value)
    }
}

//! The messages of a delivery, decoded.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use async_nats::HeaderMap;
use serde::de::DeserializeOwned;

use super::event::{Delivery, Entry, Message};
use super::extract::{FromEvent, Needs, decode};
use crate::error::{Error, Result};

/// The decoded messages of a delivery. It derefs to a slice of [`Item`]. A message that cannot be
/// decoded becomes a dead letter and is not in the batch.
///
/// ```
/// use natsfn::Batch;
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     sku: String,
///     amount: u32,
/// }
///
/// async fn print(orders: Batch<Order>) {
///     for order in &orders {
///         // From the message: seq and subject. From the payload: amount and sku.
///         println!("{} {}: {} {}", order.seq(), order.subject(), order.amount, order.sku);
///     }
/// }
/// # let orders = natsfn::Stream::new("ORDERS", ["orders.*"]);
/// # let _ = natsfn::Service::new("shop", "1.0.0").consumer(natsfn::Consumer::new("print", orders), print);
/// ```
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

/// A message of a batch. It derefs to the decoded payload.
pub struct Item<T> {
    value: Arc<T>,
    entry: Arc<Entry>,
}

impl<T> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
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

    /// When the stream was created.
    pub fn stream_created(&self) -> std::time::SystemTime {
        self.entry.stream_created()
    }
}

/// Makes an item of a batch from a message. Every type that deserializes is made from the JSON payload;
/// a type that also needs the subject, the headers or the times implements this trait instead.
///
/// ```
/// use natsfn::{Batch, FromMessage, Message, Result};
///
/// /// A text payload and its subject.
/// struct Line {
///     subject: String,
///     text: String,
/// }
///
/// impl FromMessage for Line {
///     fn from_message(message: &Message) -> Result<Self> {
///         let text = String::from_utf8(message.payload().to_vec())?;
///         let subject = message.subject().to_owned();
///         Ok(Self { subject, text })
///     }
/// }
///
/// async fn print(lines: Batch<Line>) {
///     for line in &lines {
///         println!("{}: {}", line.subject, line.text);
///     }
/// }
/// # let lines = natsfn::Stream::new("LINES", ["lines.*"]);
/// # let _ = natsfn::Service::new("shop", "1.0.0").consumer(natsfn::Consumer::new("print", lines), print);
/// ```
pub trait FromMessage: Sized + Send + Sync + 'static {
    /// Makes the item.
    ///
    /// # Errors
    /// Why the message cannot be decoded: the reason in the dead letter.
    fn from_message(message: &Message) -> Result<Self>;
}

impl<T: DeserializeOwned + Send + Sync + 'static> FromMessage for T {
    fn from_message(message: &Message) -> Result<Self> {
        decode(&message.payload)
    }
}

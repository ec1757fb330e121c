//! A key-value bucket that a service needs, as its definition says.

use std::time::Duration;

use async_nats::jetstream::stream::Config;

use super::{DUPLICATE_WINDOW, Stream};
use crate::nats::client::access::store::Store;
use crate::nats::client::kv::KvValue;
use crate::service::Service;

/// The most revisions of a key that NATS's clients know of.
const MAX_HISTORY: i64 = 64;

/// A key-value bucket that the service's functions read and write: file storage, as `nats kv add` makes it. `setup`
/// makes it, and shows how one that is there differs. What its values are a type says, once ([`KvValue`]); a function
/// that takes a [`Kv`](crate::Kv) of that type has declared that it uses the bucket, so `SERVICE permissions` knows
/// it, and a service without the bucket is not built.
///
/// ```
/// use std::time::Duration;
///
/// use natsfn::{Bucket, Endpoint, Json, Kind, Kv, KvValue, Path, Result, Service};
/// use serde::{Deserialize, Serialize};
///
/// /// The price of a thing in the bucket `prices`.
/// #[derive(Serialize, Deserialize)]
/// struct Price {
///     cents: u32,
/// }
///
/// impl KvValue for Price {
///     const BUCKET: &'static str = "prices";
/// }
///
/// async fn price(prices: Kv<Price>, Path(sku): Path<String>) -> Result<Json<Price>> {
///     let price = prices.get(&sku).await?;
///     let price = price.ok_or_else(|| natsfn::Error::new(Kind::NotFound, "no such thing"))?;
///     Ok(Json(price))
/// }
///
/// /// Nobody changes it in between: else the caller gets a 409.
/// async fn raise(prices: Kv<Price>, Path(sku): Path<String>) -> Result<()> {
///     match prices.entry(&sku).await? {
///         Some(mut entry) => {
///             entry.value.cents += 1;
///             prices.update(&sku, &entry.value, entry.revision).await?
///         }
///         None => prices.create(&sku, &Price { cents: 1 }).await?,
///     };
///     Ok(())
/// }
///
/// let shop = Service::new("shop", "1.0.0")
///     .bucket(Bucket::of::<Price>().history(5).ttl(Duration::from_secs(3600)))
///     .endpoint(Endpoint::new("price", "shop.price.{sku}"), price)
///     .endpoint(Endpoint::new("raise", "shop.raise.{sku}"), raise);
/// shop.build()?;
/// # Ok::<_, natsfn::RunError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bucket(Stream);

impl Bucket {
    /// A bucket of the service's own, by the name that its users know: its stream is `KV_<name>`.
    pub fn new(name: impl Into<String>) -> Self {
        let mut stream = Stream::of(Store::Bucket(name.into()));
        stream.config.max_messages_per_subject = 1;
        stream.config.deny_delete = true;
        Self(stream)
    }

    /// The bucket that holds values of this type.
    pub fn of<T: KvValue>() -> Self {
        Self::new(T::BUCKET)
    }

    /// One that somebody else makes and changes: `setup` only checks that it is there.
    pub fn existing(name: impl Into<String>) -> Self {
        let mut bucket = Self::new(name);
        bucket.0.existing = true;
        bucket
    }

    /// How long a value is kept after it was written; for ever where nothing is said.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self(self.0.ttl(ttl))
    }

    /// How many revisions of each key are kept: 1 to 64 (1 by default).
    #[must_use]
    pub fn history(mut self, n: u8) -> Self {
        self.0.config.max_messages_per_subject = i64::from(n);
        self
    }

    /// At most so many bytes; then a write fails with [`Kind::Unavailable`](crate::Kind::Unavailable).
    #[must_use]
    pub fn max_bytes(self, bytes: i64) -> Self {
        Self(self.0.max_bytes(bytes))
    }

    /// No value larger than this; the server's `max_payload` where nothing is said.
    #[must_use]
    pub fn max_value_size(self, bytes: i32) -> Self {
        Self(self.0.max_message_size(bytes))
    }

    /// How many servers of a cluster hold it (1 by default).
    #[must_use]
    pub fn replicas(self, n: usize) -> Self {
        Self(self.0.replicas(n))
    }

    /// Everything else that its stream can be.
    #[must_use]
    pub fn configure(self, change: impl FnOnce(&mut Config)) -> Self {
        Self(self.0.configure(change))
    }
}

impl Stream {
    /// How long what a bucket or an object store holds is kept. The server wants the duplicate window to be no longer.
    pub(super) fn ttl(mut self, ttl: Duration) -> Self {
        self.config.max_age = ttl;
        self.config.duplicate_window = DUPLICATE_WINDOW.min(ttl);
        self
    }

    /// A history that other clients of the bucket could not read.
    pub(super) fn history_problem(&self) -> Option<String> {
        let is_bucket = matches!(self.store, Some(Store::Bucket(_)));
        let kept = self.config.max_messages_per_subject;
        (is_bucket && !(1..=MAX_HISTORY).contains(&kept)).then(|| {
            format!(
                "{}: its history is {kept}, and must be 1 to {MAX_HISTORY}",
                self.title()
            )
        })
    }
}

impl<S> Service<S> {
    /// A key-value bucket that functions of the service read and write; `setup` makes it.
    pub fn bucket(mut self, bucket: Bucket) -> Self {
        self.definition.streams.push(bucket.0);
        self
    }
}

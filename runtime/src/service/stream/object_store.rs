//! An object store that a service needs, as its definition says.

use std::time::Duration;

use async_nats::jetstream::stream::Config;

use super::Stream;
use crate::nats::client::access::store::Store;
use crate::service::Service;

/// An object store that the service's functions read and write: file storage, as `nats object add` makes it.
/// `setup` makes it. A function declares [`Access::object_store`](crate::Access::object_store), and opens it with
/// [`Client::object_store`](crate::Client::object_store).
///
/// ```
/// use natsfn::{Access, Bytes, Client, Endpoint, ObjectStore, Path, Result, Service};
///
/// async fn keep(client: Client, Path(number): Path<String>, pdf: Bytes) -> Result<()> {
///     let invoices = client.object_store("invoices").await?;
///     invoices.put(number.as_str(), &mut &*pdf).await?;
///     Ok(())
/// }
///
/// let endpoint = Endpoint::new("keep", "invoices.keep.{number}");
/// let shop = Service::new("shop", "1.0.0")
///     .object_store(ObjectStore::new("invoices").max_bytes(1 << 30))
///     .endpoint(endpoint.uses(Access::object_store("invoices")), keep);
/// # shop.build()?;
/// # Ok::<_, natsfn::RunError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ObjectStore(Stream);

impl ObjectStore {
    /// An object store of the service's own, by the name that its users know: its stream is `OBJ_<name>`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Stream::of(Store::Objects(name.into())))
    }

    /// One that somebody else makes and changes: `setup` only checks that it is there.
    pub fn existing(name: impl Into<String>) -> Self {
        let mut store = Self::new(name);
        store.0.existing = true;
        store
    }

    /// How long an object is kept; for ever where nothing is said.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self(self.0.ttl(ttl))
    }

    /// At most so many bytes; then a put fails.
    #[must_use]
    pub fn max_bytes(self, bytes: i64) -> Self {
        Self(self.0.max_bytes(bytes))
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

impl<S> Service<S> {
    /// An object store that functions of the service read and write; `setup` makes it.
    pub fn object_store(mut self, store: ObjectStore) -> Self {
        self.definition.streams.push(store.0);
        self
    }
}

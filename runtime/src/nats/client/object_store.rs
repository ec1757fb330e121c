//! An object store as a function opens it.

use async_nats::jetstream::object_store::ObjectStore;

use super::Client;
use super::access::Access;
use super::access::store::Store;
use crate::error::{Error, Kind, Result};
use crate::nats::jetstream;

impl Client {
    /// Opens an object store: async-nats's own handle, whose errors `?` turns into [`Kind::Internal`]. The function
    /// declares [`Access::object_store`](crate::Access::object_store), and the service
    /// [`ObjectStore`](crate::ObjectStore), which has an example.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where there is none, or JetStream does not answer.
    pub async fn object_store(&self, name: &str) -> Result<ObjectStore> {
        self.check(|| Access::object_store(name))?;
        let stream = Store::Objects(name.to_owned()).stream();
        let found = jetstream::stream_info(self.nats(), &stream).await;
        found.map_err(|error| match error.kind() {
            Kind::NotFound => {
                Error::unavailable(format!("there is no object store {name}; run `setup`"))
                    .with_source(error.message())
            }
            _ => error,
        })?;
        let store = self.jetstream().get_object_store(name).await;
        store.map_err(|error| {
            Error::unavailable(format!("the object store {name} cannot be opened"))
                .with_source(error)
        })
    }
}

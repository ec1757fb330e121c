//! How many messages of one key may be in a function at once, so that no key takes every place.

use std::fmt;
use std::sync::Arc;

use super::Consumer;
use crate::error::Result;
use crate::function::event::Message;
use crate::function::invoke::guard;
use crate::service::rate_limit::{Admitted, InFlight};

/// The places of each key, and what the key of a message is.
#[derive(Clone)]
pub(crate) struct ByKey {
    pub(crate) most: usize,
    key: Arc<Key>,
}

type Key = dyn Fn(&Message) -> Result<String> + Send + Sync;

impl Consumer {
    /// How many messages of the same key may be in the function at once in one instance, for a function of single
    /// messages. So one customer's receiver that hangs takes no more than its own of the places that
    /// [`max_in_flight`](Self::max_in_flight) gives to all.
    ///
    /// A message whose key has all its places goes back to the server, comes again within six seconds, and no attempt
    /// is counted. So a key that has few places and many messages is slower than it could be, and messages of one key
    /// come in no order. An error or a panic of `key` is settled as one of the function.
    ///
    /// ```
    /// use natsfn::{Consumer, Error, Stream};
    ///
    /// // Each customer's receiver gets four events at once, all of them together 64.
    /// let consumer = Consumer::new("post", Stream::new("EVENTS", ["events.{customer}"]))
    ///     .max_in_flight(64)
    ///     .max_in_flight_by(4, |message| {
    ///         let customer = message.subject().split('.').nth(1);
    ///         Ok(customer.ok_or_else(|| Error::bad_request("no customer"))?.to_owned())
    ///     });
    /// ```
    #[must_use]
    pub fn max_in_flight_by(
        mut self,
        n: usize,
        key: impl Fn(&Message) -> Result<String> + Send + Sync + 'static,
    ) -> Self {
        let key = Arc::new(key);
        self.by_key = Some(ByKey { most: n, key });
        self
    }
}

impl ByKey {
    /// A place for this message among those `taken`; `None` if its key has no more.
    ///
    /// # Errors
    /// Its key cannot be told.
    pub(crate) fn enter(
        &self,
        taken: &Arc<InFlight>,
        message: &Message,
    ) -> Result<Option<Admitted>> {
        let key = guard(|| (self.key)(message))?;
        Ok(taken.enter(key, self.most).ok())
    }
}

impl fmt::Debug for ByKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").field("most", &self.most).finish()
    }
}

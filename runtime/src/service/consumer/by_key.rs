//! How many messages of one key may be in a function at once, so that no key takes every place.

use std::fmt;
use std::sync::Arc;

use super::Consumer;
use crate::error::{Error, Kind, Result};
use crate::function::event::Message;
use crate::function::invoke::guard;

/// How many places each key has, and what the key of a message is.
#[derive(Clone)]
pub(crate) struct ByKey {
    pub(crate) most: usize,
    key: Arc<Key>,
}

type Key = dyn Fn(&Message) -> Result<String> + Send + Sync;

impl Consumer {
    /// How many messages of the same key may be in the function at once in one instance, for a function of single
    /// messages. So one customer's receiver that hangs takes no more than its own of the places that
    /// [`max_in_flight`](Self::max_in_flight) gives to all. (What runs apart, because it was slow before or may have
    /// ended the process, does so beside these.)
    ///
    /// A message whose key has all its places waits in the instance, 1,000 and 2 MiB of a key and 16 MiB of all keys at
    /// most. What is more goes back to the server and comes again about when there is a place for it. None of that is
    /// an attempt, and what waits is never given up: a key that has more than its places can do fills the consumer
    /// (`max_ack_pending`) in the end. Only to another process what went back often looks as if it had failed there: it
    /// may wait longer, run apart, and be given up sooner once it fails.
    ///
    /// A message for which `key` returns an error, or panics, is a dead letter.
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
    /// The key of a message.
    ///
    /// # Errors
    /// It has none, and never will: a [`Kind::BadRequest`].
    pub(crate) fn of(&self, message: &Message) -> Result<String> {
        let key = guard(|| (self.key)(message));
        key.map_err(|error| Error::new(Kind::BadRequest, error.to_string()))
    }
}

impl fmt::Debug for ByKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").field("most", &self.most).finish()
    }
}

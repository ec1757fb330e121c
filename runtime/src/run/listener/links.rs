//! The connections that a listener has at the moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::connection::State;
use parking_lot::Mutex;

use crate::nats::jetstream::Nats;

/// The connections of a listener, by number. One that is being replaced is not among them.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<Mutex<BTreeMap<usize, Nats>>>);

impl Links {
    pub(super) fn put(&self, number: usize, nats: Nats) {
        self.0.lock().insert(number, nats);
    }

    pub(super) fn remove(&self, number: usize) {
        self.0.lock().remove(&number);
    }

    /// Whether requests can come in: in a queue group on any connection, else on the first.
    pub(crate) fn are_connected(&self, in_a_group: bool) -> bool {
        let links = self.0.lock();
        let mut usable = links.iter().filter(|(at, _)| in_a_group || **at == 0);
        usable.any(|(_, nats)| nats.connection_state() == State::Connected)
    }
}

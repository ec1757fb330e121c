//! What extractors can take besides the message.

use std::any::Any;
use std::sync::Arc;

/// Values that the runtime hands to extractors, each known by its type: the connection, the
/// database, the transaction. Cloning is cheap.
#[derive(Clone, Default)]
pub(crate) struct Context(Vec<Arc<dyn Any + Send + Sync>>);

impl Context {
    /// The same values and one more.
    #[must_use]
    pub(crate) fn with(mut self, value: Arc<dyn Any + Send + Sync>) -> Self {
        self.0.push(value);
        self
    }

    /// Adds a value; of two of one type the later counts.
    pub(crate) fn insert(&mut self, value: Arc<dyn Any + Send + Sync>) {
        self.0.push(value);
    }

    /// Adds the values of another one.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// The value of this type.
    pub(crate) fn get<T: Any>(&self) -> Option<&T> {
        self.0.iter().rev().find_map(|value| value.downcast_ref())
    }
}

//! Whether the spans of a thread are traced.

use tracing::Subscriber;
use tracing_subscriber::layer::Layer;

/// Marks a subscriber that exports traces.
pub(crate) struct Here;

impl<S: Subscriber> Layer<S> for Here {}

/// Whether spans of this thread become parts of traces.
pub(crate) fn is_here() -> bool {
    tracing::dispatcher::get_default(|subscriber| subscriber.downcast_ref::<Here>().is_some())
}

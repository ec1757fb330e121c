//! Up to where a service's own store is complete.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::error::Result;
use crate::function::event::StreamId;
use crate::function::invoke;
use crate::service::background::Background;

/// Asks the service up to where its own store is complete.
#[derive(Clone)]
pub(crate) struct Floor(
    Arc<dyn Fn(Background, StreamId) -> BoxFuture<'static, Result<u64>> + Send + Sync>,
);

impl Floor {
    pub(super) fn new<F, Fut>(ask: F) -> Self
    where
        F: Fn(Background, StreamId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<u64>> + Send + 'static,
    {
        Self(Arc::new(move |context, stream| {
            ask(context, stream).boxed()
        }))
    }

    pub(super) async fn ask(&self, context: Background, stream: StreamId) -> Result<u64> {
        invoke::background(async { (self.0)(context, stream).await }).await
    }
}

impl fmt::Debug for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Floor")
    }
}

//! The only place where user code runs: behind a span, a deadline and a panic guard.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::Instrument;

use super::event::{Event, Message};
use super::extract::Decode;
use super::handler::Call;
use crate::error::{Error, Kind, Result};

/// Extracts, calls, waits at most `deadline`. A panic in an extractor, in the call or in a poll is
/// an [`Kind::Internal`] error; the process lives.
pub(crate) async fn invoke<E: Event>(
    call: &Call<E>,
    event: &mut E,
    deadline: Duration,
    span: tracing::Span,
) -> Result<E::Answer> {
    let started = span.in_scope(|| guard(|| call.start(event)))?;
    // Within the guard too: at the deadline what the function holds is dropped.
    let finished = async move {
        let finished = tokio::time::timeout(deadline, started).await;
        finished.unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Timeout,
                format!("not finished after {deadline:?}"),
            ))
        })
    };
    guarded(finished).instrument(span).await
}

/// Runs the runtime's own work on messages. It drops values of the user's types, and a panic there
/// would leave messages with nobody, and the task that works on them dead.
pub(crate) async fn contained(work: BoxFuture<'_, ()>) -> Result<()> {
    guarded(async {
        work.await;
        Ok(())
    })
    .await
}

/// Runs the background work of a service, or what it is asked with about its own store.
pub(crate) async fn background<T>(task: impl Future<Output = Result<T>> + Send) -> Result<T> {
    guarded(task).await
}

/// Decodes one item of a batch: this runs the `Deserialize` of a user's type.
pub(crate) fn decode(decode: Decode, message: &Message) -> Result<Arc<dyn Any + Send + Sync>> {
    guard(|| decode(message))
}

/// Runs a callback of the user's that is no future.
pub(crate) fn guard<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

async fn guarded<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::internal(format!("panicked: {message}"))
}

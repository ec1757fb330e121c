//! The only place where user code runs: behind a span, a deadline and a panic guard.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::event::{Event, Message};
use super::extract::Decode;
use super::handler::Call;
use crate::error::{Error, Kind, Result};

/// For longer than any function runs, where a deadline is beyond what an [`Instant`] can say.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// When a time that begins now is over, however long it is.
pub(crate) fn end(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or_else(|| now + NEVER)
}

/// Extracts, calls, waits at most `deadline`, counted from `now`. A panic in an extractor, in the call or in a
/// poll becomes a [`Kind::Internal`] error.
pub(crate) async fn invoke<E: Event>(
    call: &Call<E>,
    event: E,
    now: Instant,
    deadline: Duration,
    span: tracing::Span,
) -> Result<E::Answer> {
    let started = span.in_scope(|| guard(|| call.start(event)))?;
    let end = end(now, deadline);
    // Inside the guard: at the deadline the function's values are dropped, and a drop can panic.
    let finished = async move {
        let finished = timeout_at(end, started).await;
        finished.unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Timeout,
                format!("not finished after {deadline:?}"),
            ))
        })
    };
    guarded(finished).instrument(span).await
}

/// Runs the runtime's own work on messages. That work drops values of the user's types; without the
/// guard, a panic there would end the task and leave its messages unsettled.
pub(crate) async fn contained(work: BoxFuture<'_, ()>) -> Result<()> {
    guarded(async {
        work.await;
        Ok(())
    })
    .await
}

/// Runs a service's background work, or its callback about its own store.
pub(crate) async fn background<T>(task: impl Future<Output = Result<T>> + Send) -> Result<T> {
    guarded(task).await
}

/// Decodes one item of a batch: this runs the `Deserialize` of a user's type.
pub(crate) fn decode(decode: Decode, message: &Message) -> Result<Arc<dyn Any + Send + Sync>> {
    guard(|| decode(message))
}

/// Runs a synchronous callback of the user.
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

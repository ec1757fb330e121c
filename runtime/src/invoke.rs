//! The only place where user code runs: behind a span, a deadline and a panic guard.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument;

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Message};
use crate::extract::Decode;
use crate::handler::Call;

/// Extracts, calls, waits at most `deadline`. A panic in an extractor, in the call or in a poll is
/// an [`Kind::Internal`] error; the process lives.
pub(crate) async fn invoke<E: Event>(
    call: &Call<E>,
    event: &mut E,
    deadline: Duration,
    span: tracing::Span,
) -> Result<E::Answer> {
    let started = span.in_scope(|| guard(|| call.start(event)))?;
    let finished = guarded(started).instrument(span);
    match tokio::time::timeout(deadline, finished).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(
            Kind::Timeout,
            format!("not finished after {deadline:?}"),
        )),
    }
}

/// Runs the background work of a service until it returns.
pub(crate) async fn background(task: impl Future<Output = Result<()>> + Send) -> Result<()> {
    guarded(task).await
}

/// Decodes one item of a batch: this runs the `Deserialize` of a user's type.
pub(crate) fn decode(decode: Decode, message: &Message) -> Result<Arc<dyn Any + Send + Sync>> {
    guard(|| decode(message))
}

fn guard<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
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

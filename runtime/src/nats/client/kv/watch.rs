//! The changes of a bucket, as they happen.

use std::error::Error as StdError;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::push::{OrderedError, OrderedErrorKind};
use async_nats::jetstream::kv::{Operation, Watch, WatcherError};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::KvValue;
use super::entry::{KvEntry, read};
use crate::error::{Error, Result};

/// How long the server may take for the next part of an answer: where what was to come has gone by its age, async-nats
/// learns that from a heartbeat, of which the server sends one in 5 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The values of keys, and their changes: [`Kv::watch`](crate::Kv::watch).
pub struct KvWatch<T> {
    watch: Watch,
    of: PhantomData<fn() -> T>,
}

impl<T: KvValue> KvWatch<T> {
    pub(super) fn new(watch: Watch) -> Self {
        Self {
            watch,
            of: PhantomData,
        }
    }

    /// Waits for the next revision; it is without a value where the key was deleted. Nothing is lost where somebody
    /// stops waiting.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) for a value that is not a `T`: the next call has the next revision.
    /// [`Kind::Unavailable`](crate::Kind::Unavailable) where the bucket cannot be watched any more.
    pub async fn next(&mut self) -> Result<KvEntry<Option<T>>> {
        let entry = loop {
            match self.watch.next().await {
                Some(Err(error)) if goes_on(&error) => {}
                Some(entry) => break entry.map_err(away::<T>)?,
                None => return Err(away::<T>("the connection is closed")),
            }
        };
        let value = match entry.operation {
            Operation::Put => Some(read(&entry.key, &entry.value)?),
            Operation::Delete | Operation::Purge => None,
        };
        Ok(KvEntry {
            key: entry.key,
            value,
            revision: entry.revision,
            time: SystemTime::from(entry.created),
        })
    }
}

/// Whether async-nats goes on from where it was when it is asked again: it makes a consumer anew of which it has heard
/// nothing.
fn goes_on(error: &WatcherError) -> bool {
    let cause = error.source().and_then(<dyn StdError>::downcast_ref);
    cause.is_some_and(|cause: &OrderedError| cause.kind() == OrderedErrorKind::MissingHeartbeat)
}

/// Waits for async-nats, which would wait for as long as the connection is away.
pub(super) async fn answered<T: KvValue, R, E>(
    asked: impl Future<Output = Result<R, E>>,
) -> Result<R>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    match timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(away::<T>),
        Err(_) => Err(away::<T>("nobody answers")),
    }
}

fn away<T: KvValue>(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::unavailable(format!("the bucket {} cannot be read", T::BUCKET)).with_source(why)
}

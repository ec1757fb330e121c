//! The changes of a bucket, as they happen.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::push::{OrderedError, OrderedErrorKind};
use async_nats::jetstream::kv::{Operation, Watch, WatcherError};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::entry::{KvEntry, read};
use super::{Kv, KvValue};
use crate::error::{Error, Result};

/// How long the server may take for an answer, as for an acknowledgement: a function's deadline must not end first, or
/// an outage counts against its message.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long it may take for the next part of an answer: where what was to come has gone by its age, async-nats
/// learns that from a heartbeat, of which the server sends one in 5 s.
pub(super) const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nothing may come until the bucket is looked at.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// The values of keys, and their changes: [`Kv::watch`](crate::Kv::watch).
pub struct KvWatch<T> {
    bucket: Kv<T>,
    keys: String,
    watch: Watch,
    /// When the bucket was made whose revisions were seen.
    created: SystemTime,
    /// The last of them.
    revision: u64,
    look_at: Instant,
}

impl<T: KvValue> KvWatch<T> {
    pub(super) async fn of(bucket: Kv<T>, keys: &str) -> Result<Self> {
        let created = bucket.info().await?.created;
        Ok(Self {
            watch: bucket.begin_watch(keys).await?,
            bucket,
            keys: keys.to_owned(),
            created,
            revision: 0,
            look_at: Instant::now() + LOOK_AFTER,
        })
    }

    /// Waits for the next revision; it is without a value where the key was deleted. Nothing is lost where somebody
    /// stops waiting.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) for a value that is not a `T`: the next call has the next revision.
    /// [`Kind::Unavailable`](crate::Kind::Unavailable) where the bucket cannot be watched any more.
    pub async fn next(&mut self) -> Result<KvEntry<Option<T>>> {
        let entry = loop {
            match timeout_at(self.look_at, self.watch.next()).await {
                Ok(Some(Ok(entry))) => break entry,
                Ok(Some(Err(error))) if !goes_on(&error) => Box::pin(self.look(true)).await?,
                Ok(None) => return Err(away::<T>("the connection is closed")),
                Ok(Some(Err(_))) | Err(_) => Box::pin(self.look(false)).await?,
            }
        };
        self.revision = entry.revision;
        self.look_at = Instant::now() + LOOK_AFTER;
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

    /// Begins again where the bucket is another one than before, or has lost revisions that were seen: async-nats would
    /// wait for the revision after the last.
    async fn look(&mut self, is_broken: bool) -> Result<()> {
        self.look_at = Instant::now() + LOOK_AFTER;
        let info = match self.bucket.found().await {
            Ok(Some(info)) => info,
            Ok(None) => return Err(away::<T>("it is not there any more")),
            Err(error) if is_broken => return Err(error),
            Err(_) => return Ok(()),
        };
        let is_as_before = info.created == self.created && info.state.last_seq >= self.revision;
        if is_broken || !is_as_before {
            self.watch = self.bucket.begin_watch(&self.keys).await?;
            (self.created, self.revision) = (info.created, 0);
        }
        Ok(())
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
    within: Duration,
    asked: impl Future<Output = Result<R, E>>,
) -> Result<R>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    match timeout(within, asked).await {
        Ok(answer) => answer.map_err(away::<T>),
        Err(_) => Err(away::<T>("nobody answers")),
    }
}

fn away<T: KvValue>(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::unavailable(format!("the bucket {} cannot be read", T::BUCKET)).with_source(why)
}

//! Which database a consumer feeds. Two databases behind one consumer would each get a part of the
//! messages, and nothing would mend that later; so both carry the id that `setup` wrote.

use super::start::{Begin, Start, after};
use super::{Consumer, REMOVED_WITHIN, Wanted};
use crate::error::{Error, Kind, Result};
use crate::function::event::{SettledUpTo, StreamId};
use crate::nats::jetstream::{ConsumerInfo, Nats, call, calls};
use crate::service::background::Background;

/// The key of the database's id, in the metadata of a consumer.
pub(super) const DATABASE: &str = "natsfn.database";

/// How often a consumer is recreated where a function of the former database is faster.
const TRIES: usize = 20;

impl ConsumerInfo {
    /// The id of the database that it feeds, where it feeds one and `setup` has noted that.
    pub fn database(&self) -> Option<&str> {
        self.metadata(DATABASE)
    }
}

impl Consumer {
    /// Whether the consumer feeds another database than this one.
    pub(crate) fn feeds_another(&self, found: &ConsumerInfo, database: Option<&str>) -> bool {
        matches!((found.database(), database), (Some(of), Some(ours)) if of != ours)
    }

    /// Refuses a consumer that feeds another database.
    pub(crate) fn check_database(
        &self,
        found: &ConsumerInfo,
        database: Option<&str>,
    ) -> Result<()> {
        if !self.feeds_another(found, database) {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "the consumer {} of {} feeds another database (id {}) than the one that database.url names (id {}): let database.url name the other one; or run `setup` with this one, which then gets everything that the stream still holds, and the other one nothing any more",
            self.durable_name(),
            self.stream.name(),
            found.database().unwrap_or_default(),
            database.unwrap_or_default(),
        )))
    }

    /// The first message that the service's own store lacks; None where it does not say.
    pub(crate) async fn first_missing(
        &self,
        context: &Background,
        stream: &StreamId,
    ) -> Result<Option<Begin>> {
        match &self.floor {
            Some(floor) => {
                let upto = floor.ask(context.clone(), stream.clone()).await?;
                Ok(Some(Begin::Sequence(upto.saturating_add(1))))
            }
            None => Ok(None),
        }
    }

    /// Where the consumer of another database begins when it is recreated for this one: with
    /// [`Start::New`] where it was, so that nothing is skipped and no history handled.
    pub(crate) async fn beside(
        &self,
        nats: &Nats,
        found: &ConsumerInfo,
        last_seq: u64,
    ) -> Result<Option<Begin>> {
        if self.starts() != Start::New {
            return Ok(None);
        }
        let settled = SettledUpTo {
            seq: found.ack_floor.stream_seq,
            time: found.time,
        };
        let begin = after(nats, self.stream.name(), settled, last_seq);
        begin.await.map(Some)
    }

    /// Recreates the durable consumer, for this database. A function of the former
    /// one that runs may miss it and make it first, a few times; then it notices.
    pub(crate) async fn recreate_for(
        &self,
        nats: &Nats,
        wanted: Wanted<'_>,
    ) -> Result<ConsumerInfo> {
        let delete = calls::delete_consumer(self.stream.name(), &self.durable_name());
        let mut tries = 0;
        loop {
            tries += 1;
            match call::<serde_json::Value>(nats, &delete, &()).await {
                Err(error) if error.kind() == Kind::NotFound => {
                    tokio::time::sleep(REMOVED_WITHIN).await;
                }
                deleted => drop(deleted?),
            }
            match self
                .create(nats, "create", self.new_settings(wanted)?)
                .await
            {
                Err(error) if error.kind() == Kind::Conflict && tries < TRIES => {}
                made => return made,
            }
        }
    }
}

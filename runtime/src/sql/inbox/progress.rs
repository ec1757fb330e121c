//! Progress of a function on one life of a stream: up to where it is settled and pruned.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;
use sea_orm::{ConnectionTrait, DbErr};

use super::stream_life::{StreamLife, THIS_LIFE};
use crate::error::Result;
use crate::function::event::{Known, SettledUpTo};
use crate::function::template::covers;
use crate::sql::tx::OpenTransaction;

/// What this process knows of a function's progress.
#[derive(Clone, Default)]
pub(in crate::sql) struct Progress {
    /// Up to where it has pruned; none before its first batch.
    pub(in crate::sql) floor: Option<u64>,
    /// The last row from before the inbox knew times; 0 where there is none.
    pub(super) untimed: i64,
    /// The consumer's filters while its ack floor moved to where everything is settled.
    pub(super) filters: Vec<String>,
}

impl Progress {
    /// None where the life is new.
    pub(in crate::sql) async fn read(
        transaction: &OpenTransaction,
        life: &StreamLife,
    ) -> Result<Option<Self>, DbErr> {
        let read = format!(
            "SELECT settled_filters, COALESCE((SELECT max(seq) FROM natsfn_inbox AS old \
             WHERE old.life = life.id AND old.time_ns = 0), 0) FROM natsfn_life AS life WHERE {THIS_LIFE}"
        );
        let read = life.statement(transaction, read, None);
        let Some(row) = transaction.query_one_raw(read).await? else {
            return Ok(None);
        };
        let filters: String = row.try_get_by_index(0)?;
        Ok(Some(Self {
            floor: None,
            untimed: row.try_get_by_index(1)?,
            filters: filters.lines().map(str::to_owned).collect(),
        }))
    }

    /// Whether every filter so far let this subject through. Of one that did not, the ack floor
    /// has passed over messages that were never delivered.
    pub(super) fn lets_through(&self, subject: &str) -> bool {
        self.filters
            .iter()
            .all(|filter| filter.split(' ').any(|one| covers(one, subject)))
    }
}

/// Up to where a life is settled, as the last batch that has noted it knew.
pub(in crate::sql) async fn settled(
    connection: &impl ConnectionTrait,
    life: &StreamLife,
) -> Result<Known, DbErr> {
    let read = "SELECT settled_seq, settled_ns, stream_created_ns FROM natsfn_life \
        WHERE service = $1 AND function = $2 AND stream = $3 AND stream_created_ns <= $4 AND settled_ns > 0 \
        ORDER BY stream_created_ns DESC LIMIT 1";
    let read = life.statement(connection, read, None);
    let Some(row) = connection.query_one_raw(read).await? else {
        return Ok(Known::Nothing);
    };
    if row.try_get_by_index::<i64>(2)? != life.created_ns {
        return Ok(Known::EarlierLife);
    }
    let (seq, time_ns): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    Ok(Known::Settled(SettledUpTo {
        seq: seq.cast_unsigned(),
        time: UNIX_EPOCH + Duration::from_nanos(time_ns.cast_unsigned()),
    }))
}

/// The progress on each life.
#[derive(Default)]
pub(in crate::sql) struct Pruned(Mutex<HashMap<StreamLife, Progress>>);

impl Pruned {
    /// None before the first batch of a process.
    pub(in crate::sql) fn progress_of(&self, life: &StreamLife) -> Option<Progress> {
        self.0.lock().get(life).cloned()
    }

    /// Notes that the inbox was pruned up to `floor` while the consumer had this filter.
    pub(in crate::sql) fn note(
        &self,
        life: &StreamLife,
        floor: u64,
        filter: &str,
        progress: &Progress,
    ) {
        let mut pruned = self.0.lock();
        let mut progress = pruned.remove(life).unwrap_or_else(|| progress.clone());
        progress.floor = Some(floor);
        // A consumer without a filter gets everything.
        if !filter.is_empty() && !progress.filters.iter().any(|other| other == filter) {
            progress.filters.push(filter.to_owned());
        }
        // Earlier lives of the stream are over; their entries would only pile up.
        pruned.retain(|other, _| {
            (&other.service, &other.function, &other.stream)
                != (&life.service, &life.function, &life.stream)
        });
        pruned.insert(life.clone(), progress);
    }
}

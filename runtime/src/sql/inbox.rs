//! The inbox: which messages a function has done. A row is written in the transaction of the
//! function's own effect, so both are there or neither is.
//!
//! A row is two numbers: the sequence, and a life, which stands for service, function, stream and
//! the time when the stream was made. With those in each row the inbox would cost twice as much.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, SqlErr, Statement, Value};

use crate::effect::Inbox;
use crate::error::{Error, Result};

/// How far the ack floor moves before the rows below it are deleted.
const PRUNE_EVERY: u64 = 1_000;

/// The rows of one batch.
pub(super) struct Claim {
    life: Life,
    seqs: Vec<i64>,
    /// Every message up to here is settled, and none of this batch is.
    floor: u64,
    /// None of it was ever delivered before.
    pub(super) first: bool,
}

/// One function on one life of a stream. A stream that is made again counts from 1 again, so its
/// name alone would hide new messages behind old rows.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Life {
    service: String,
    function: String,
    stream: String,
    created_ns: i64,
}

impl Claim {
    /// Whether the ack floor has moved far enough since.
    pub(super) fn is_due(&self, pruned: Option<u64>) -> bool {
        pruned.is_none_or(|at| self.floor >= at + PRUNE_EVERY)
    }

    /// None for an empty batch.
    pub(super) fn of(inbox: &Inbox<'_>) -> Result<Option<Self>> {
        let [first, ..] = inbox.entries else {
            return Ok(None);
        };
        let stream = first.stream();
        let same = |other: &crate::event::StreamId| {
            other.name == stream.name && other.created == stream.created
        };
        if !inbox.entries.iter().all(|entry| same(entry.stream())) {
            // Sequences would mean two things; alone, each message means one.
            return Err(Error::internal("a batch from two lives of a stream"));
        }
        let mut seqs: Vec<i64> = inbox
            .entries
            .iter()
            .map(|entry| entry.seq().cast_signed())
            .collect();
        // Two processes with the same messages wait for each other in the same order.
        seqs.sort_unstable();
        if seqs.windows(2).any(|pair| pair[0] == pair[1]) {
            // Delivered again before it was begun: alone, the second one is done already.
            return Err(Error::internal("a batch that has a message twice"));
        }
        let floors = inbox.entries.iter().map(|entry| entry.stream().ack_floor);
        let first_seq = seqs.first().map_or(0, |seq| seq.cast_unsigned());
        let floor = floors.max().unwrap_or(0).min(first_seq.saturating_sub(1));
        let created = stream
            .created
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let life = Life {
            service: inbox.service.to_owned(),
            function: inbox.function.to_owned(),
            stream: stream.name.clone(),
            created_ns: i64::try_from(created.as_nanos()).unwrap_or(i64::MAX),
        };
        let first = inbox.entries.iter().all(|entry| entry.delivered() <= 1);
        Ok(Some(Self {
            life,
            seqs,
            floor,
            first,
        }))
    }
}

/// Writes the rows of a batch that was never delivered before. False where some were there all the
/// same: then the transaction is spoilt, and the next one does it by [`enter`].
///
/// It exists for its speed: PostgreSQL takes half the time for rows that it need not be ready to
/// pass over.
pub(super) async fn enter_first(
    transaction: &DatabaseTransaction,
    claim: &Claim,
) -> Result<bool, DbErr> {
    let insert = async || {
        let (sql, list) = insert(transaction, claim);
        let statement = claim.life.statement(transaction, sql, Some(list));
        transaction.execute_raw(statement).await
    };
    let entered = async {
        if insert().await?.rows_affected() == 0 {
            begin_life(transaction, &claim.life).await?;
            insert().await?;
        }
        Ok(true)
    };
    match entered.await {
        Err(error) if is_unique_violation(&error) => Ok(false),
        entered => entered,
    }
}

/// Writes the batch's rows. The answer is the sequences that had one already: those are done.
/// Where another process is at the same messages, this waits until it has committed or not.
pub(super) async fn enter(
    transaction: &DatabaseTransaction,
    claim: &Claim,
) -> Result<HashSet<u64>, DbErr> {
    let insert = async || {
        let (sql, list) = insert(transaction, claim);
        let sql = format!("{sql} ON CONFLICT DO NOTHING RETURNING seq");
        let statement = claim.life.statement(transaction, sql, Some(list));
        transaction.query_all_raw(statement).await
    };
    let mut fresh = insert().await?;
    // Either all were done, or the statement did not see the life yet: only a second look tells.
    if fresh.is_empty() {
        begin_life(transaction, &claim.life).await?;
        fresh = insert().await?;
    }
    let mut done: HashSet<u64> = claim.seqs.iter().map(|seq| seq.cast_unsigned()).collect();
    for row in fresh {
        done.remove(&row.try_get_by_index::<i64>(0)?.cast_unsigned());
    }
    Ok(done)
}

fn insert(transaction: &DatabaseTransaction, claim: &Claim) -> (String, Value) {
    let (rows, list) = list(transaction, &claim.seqs);
    let sql = format!(
        "INSERT INTO natsfn_inbox (life, seq) SELECT life.id, seq FROM natsfn_life AS life, {rows} \
         WHERE {THIS_LIFE}"
    );
    (sql, list)
}

fn is_unique_violation(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// Makes sure of the life: after this the next statement sees it, whoever began it. Asking first
/// whether it is there would not do: another may have begun it since the statement before, and
/// that one wrote no rows.
async fn begin_life(transaction: &DatabaseTransaction, life: &Life) -> Result<(), DbErr> {
    let begin = "INSERT INTO natsfn_life (service, function, stream, stream_created_ns) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    transaction
        .execute_raw(life.statement(transaction, begin, None))
        .await
        .map(drop)
}

/// Deletes the rows of messages that failed after all.
pub(super) async fn leave(
    transaction: &DatabaseTransaction,
    claim: &Claim,
    failed: &[u64],
) -> Result<(), DbErr> {
    let failed: Vec<i64> = failed.iter().map(|seq| seq.cast_signed()).collect();
    let (rows, list) = list(transaction, &failed);
    let sql = format!(
        "DELETE FROM natsfn_inbox WHERE life = (SELECT id FROM natsfn_life AS life WHERE {THIS_LIFE}) \
         AND seq IN (SELECT seq FROM {rows})"
    );
    transaction
        .execute_raw(claim.life.statement(transaction, sql, Some(list)))
        .await?;
    Ok(())
}

/// Deletes the rows that no delivery will ask for again: those of settled messages, from where it
/// was done before, and the first time those of earlier lives of the stream.
pub(super) async fn prune(
    transaction: &DatabaseTransaction,
    claim: &Claim,
    from: Option<u64>,
) -> Result<(), DbErr> {
    // Without the lower bound the database walks over all that it deleted and has not yet vacuumed.
    let settled = format!(
        "DELETE FROM natsfn_inbox WHERE life = (SELECT id FROM natsfn_life AS life WHERE {THIS_LIFE}) \
         AND seq > $5 AND seq <= $6"
    );
    let range = [from.unwrap_or(0), claim.floor].map(|seq| Value::from(seq.cast_signed()));
    transaction
        .execute_raw(claim.life.statement(transaction, settled, range))
        .await?;
    if from.is_none() {
        // Only earlier ones: an instance that still works on an earlier life must not forget a later.
        let ended = "DELETE FROM natsfn_inbox WHERE life IN (SELECT id FROM natsfn_life WHERE service = $1 \
                     AND function = $2 AND stream = $3 AND stream_created_ns < $4)";
        transaction
            .execute_raw(claim.life.statement(transaction, ended, None))
            .await?;
    }
    Ok(())
}

const THIS_LIFE: &str =
    "life.service = $1 AND life.function = $2 AND life.stream = $3 AND life.stream_created_ns = $4";

impl Life {
    fn statement(
        &self,
        transaction: &DatabaseTransaction,
        sql: impl Into<String>,
        more: impl IntoIterator<Item = Value>,
    ) -> Statement {
        let Self {
            service,
            function,
            stream,
            created_ns,
        } = self;
        let key = [
            service.as_str().into(),
            function.as_str().into(),
            stream.as_str().into(),
            (*created_ns).into(),
        ];
        Statement::from_sql_and_values(
            transaction.get_database_backend(),
            sql,
            key.into_iter().chain(more),
        )
    }
}

/// Sequences as rows of one column `seq`, made of the parameter `$5`: one statement for every size
/// of a batch, which the database parses once, and within the number of parameters it takes.
fn list(transaction: &DatabaseTransaction, seqs: &[i64]) -> (&'static str, Value) {
    match transaction.get_database_backend() {
        DbBackend::Postgres => ("unnest($5) AS list (seq)", seqs.to_vec().into()),
        _ => {
            let seqs: Vec<String> = seqs.iter().map(i64::to_string).collect();
            (
                "(SELECT value AS seq FROM json_each($5)) AS list",
                format!("[{}]", seqs.join(",")).into(),
            )
        }
    }
}

/// Up to where this process has pruned.
#[derive(Default)]
pub(super) struct Pruned(Mutex<HashMap<Life, u64>>);

impl Pruned {
    /// Up to where it was done: None before the first batch of a process.
    pub(super) fn up_to(&self, claim: &Claim) -> Option<u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&claim.life)
            .copied()
    }

    pub(super) fn note(&self, claim: &Claim) {
        let mut pruned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Earlier lives of the stream are over; their entries would only pile up.
        let life = &claim.life;
        pruned.retain(|other, _| {
            (&other.service, &other.function, &other.stream)
                != (&life.service, &life.function, &life.stream)
        });
        pruned.insert(claim.life.clone(), claim.floor);
    }
}

#[cfg(test)]
mod tests;

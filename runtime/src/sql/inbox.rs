//! The inbox: the messages that a function has handled. A row is written in the transaction of the
//! function's own effect, so either both are stored or neither.
//!
//! A row is three numbers: the sequence, the time at which the stream stored the message (a log that
//! was rolled back reuses sequences), and the id of a life, which stands for service, function, stream
//! and the stream's creation time. Storing those in each row would double the inbox's size.
//!
//! Rows below the ack floor are deleted, and the life records up to which sequence. A message from
//! below that is redelivered counts as done. This happens if an instance hung while another one handled
//! the message, if the durable consumer was deleted, and if nats-server lost the consumer's state.
//!
//! That is true only of messages that the consumer's filter matched, so the life also records each
//! filter under which the ack floor has moved.
//!
//! A replayed dead letter also has a row for its original message. That row has the negated sequence
//! and is never deleted: the letter may be replayed again at any time.

mod claim;
mod progress;
mod stream_life;

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, SqlErr, Value};

use crate::error::Result;
use crate::sql::tx::OpenTransaction;
use claim::Row;
use stream_life::THIS_LIFE;

pub(super) use claim::Claim;
pub(super) use progress::{Progress, Pruned, settled};
pub(super) use stream_life::{StreamLife, begin_life};

/// Writes the rows of a batch that was never delivered before. False if some were done all the same:
/// then the transaction is unusable, and the next one uses [`enter`].
///
/// It exists for speed: PostgreSQL takes half the time for an insert that need not handle conflicts.
pub(super) async fn enter_first(
    transaction: &OpenTransaction,
    claim: &Claim,
    progress: &Progress,
) -> Result<bool, DbErr> {
    let insert = async || {
        let (sql, list) = insert(transaction, &claim.rows, &claim.not_settled(progress));
        let statement = claim.life.statement(transaction, sql, list);
        let done = transaction.execute_raw(statement).await?;
        Ok::<_, DbErr>(done.rows_affected())
    };
    let entered = async {
        let mut entered = insert().await?;
        if entered == 0 {
            begin_life(transaction, &claim.life).await?;
            entered = insert().await?;
        }
        Ok(entered == claim.rows.len() as u64)
    };
    match entered.await {
        Err(error) if is_unique_violation(&error) => Ok(false),
        entered => entered,
    }
}

/// Writes the batch's rows and returns the sequences that had one already: those are done. ON CONFLICT
/// names the key, so that without the key this fails instead of doing everything again. If another
/// process handles the same messages, this waits until it commits or rolls back.
pub(super) async fn enter(
    transaction: &OpenTransaction,
    claim: &Claim,
    progress: &Progress,
) -> Result<HashSet<u64>, DbErr> {
    let rows = claim.all_rows();
    let insert = async || {
        let (mut sql, mut list) = match claim.replayed {
            None => insert(transaction, &rows, &claim.not_settled(progress)),
            Some(_) => insert(transaction, &rows, "TRUE"),
        };
        // A row from before the inbox stored times matches any time. It stays a list of its own because
        // PostgreSQL, without statistics of a newly filled table, would scan all of it for each
        // message.
        sql += &format!(
            " AND list.seq NOT IN (SELECT seq FROM natsfn_inbox WHERE time_ns = 0 \
             AND life = (SELECT id FROM natsfn_life AS life WHERE {THIS_LIFE}))"
        );
        if let Some(first) = claim.replayed {
            list.extend([first.seq.into(), first.time_ns.into()]);
            let (seq, time_ns) = (list.len() + 3, list.len() + 4);
            sql += &format!(
                " AND NOT EXISTS (SELECT 1 FROM natsfn_inbox AS done WHERE done.life = life.id \
                 AND done.seq = ${seq} AND done.time_ns IN (0, ${time_ns}))"
            );
        }
        sql += " ON CONFLICT (life, seq, time_ns) DO NOTHING RETURNING seq";
        let statement = claim.life.statement(transaction, sql, list);
        transaction.query_all_raw(statement).await
    };
    let mut entered = insert().await?;
    // Either all were done, or the statement did not see the life yet: only a second try can tell.
    if entered.is_empty() {
        begin_life(transaction, &claim.life).await?;
        entered = insert().await?;
    }
    let fresh = entered
        .iter()
        .map(|row| row.try_get_by_index(0))
        .collect::<Result<HashSet<i64>, _>>()?;
    let known_by = |row: &Row| {
        claim
            .replayed
            .map_or(row.seq, |first| first.of_replay().seq)
    };
    let done = claim
        .rows
        .iter()
        .filter(|row| !fresh.contains(&known_by(row)));
    Ok(done.map(|row| row.seq.cast_unsigned()).collect())
}

fn insert(transaction: &OpenTransaction, rows: &[Row], condition: &str) -> (String, Vec<Value>) {
    let (rows, list) = list(transaction, rows);
    let sql = format!(
        "INSERT INTO natsfn_inbox (life, seq, time_ns) SELECT life.id, list.seq, list.time_ns \
         FROM natsfn_life AS life, {rows} WHERE {THIS_LIFE} AND {condition}"
    );
    (sql, list)
}

fn is_unique_violation(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// Finds the inbox again where the function has set another role or search path for its own statements; its deferred
/// constraints and triggers are checked before, as it left them.
pub(super) async fn own_tables(transaction: &OpenTransaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        let reset = "SET CONSTRAINTS ALL IMMEDIATE; RESET ROLE; RESET search_path";
        transaction.execute_unprepared(reset).await?;
    }
    Ok(())
}

/// Deletes the rows of messages that have failed.
pub(super) async fn leave(
    transaction: &OpenTransaction,
    claim: &Claim,
    failed: &[u64],
) -> Result<(), DbErr> {
    let failed: HashSet<u64> = failed.iter().copied().collect();
    let mut rows = claim.all_rows();
    if claim.replayed.is_none() {
        rows.retain(|row| failed.contains(&row.seq.cast_unsigned()));
    }
    let (rows, list) = list(transaction, &rows);
    let sql = format!(
        "DELETE FROM natsfn_inbox WHERE life = (SELECT id FROM natsfn_life AS life WHERE {THIS_LIFE}) \
         AND (seq, time_ns) IN (SELECT seq, time_ns FROM {rows})"
    );
    transaction
        .execute_raw(claim.life.statement(transaction, sql, list))
        .await?;
    Ok(())
}

/// Records up to where messages are settled, and deletes their rows from the previous record on; the
/// first time also those of the stream's earlier lives.
pub(super) async fn prune(
    transaction: &OpenTransaction,
    claim: &Claim,
    from: Option<u64>,
) -> Result<(), DbErr> {
    let floor = claim.floor.cast_signed();
    // Later than all settled messages, and earlier than what a log that is rolled back stores next.
    let time_ns = claim.rows.iter().map(|row| row.time_ns).max().unwrap_or(0);
    // If another instance was further, or the log was rolled back, only the rows can tell. Each filter
    // under which the floor has moved is a line of its own.
    let note = format!(
        "UPDATE natsfn_life AS life SET settled_seq = $5, \
         settled_ns = CASE WHEN settled_ns < $6 THEN $6 ELSE settled_ns END, \
         settled_filters = CASE WHEN settled_filters = '' THEN $7 \
         WHEN replace('\n' || settled_filters || '\n', '\n' || $7 || '\n', '') \
         = '\n' || settled_filters || '\n' THEN settled_filters || '\n' || $7 \
         ELSE settled_filters END \
         WHERE {THIS_LIFE} AND settled_seq <= $5"
    );
    let values = [floor.into(), time_ns.into(), claim.filter.as_str().into()];
    let noted = transaction
        .execute_raw(claim.life.statement(transaction, note, values))
        .await?;
    if noted.rows_affected() > 0 {
        // Without the lower bound the database would scan all deleted rows that are not yet vacuumed.
        let settled = format!(
            "DELETE FROM natsfn_inbox WHERE life = (SELECT id FROM natsfn_life AS life WHERE {THIS_LIFE}) \
             AND seq > $5 AND seq <= $6"
        );
        let range = [from.unwrap_or(0).cast_signed().into(), floor.into()];
        transaction
            .execute_raw(claim.life.statement(transaction, settled, range))
            .await?;
    }
    if from.is_none() {
        // Only earlier ones: an instance that still works on an earlier life must not delete a later
        // life's rows.
        let ended = "DELETE FROM natsfn_inbox WHERE life IN (SELECT id FROM natsfn_life WHERE service = $1 \
                     AND function = $2 AND stream = $3 AND stream_created_ns < $4)";
        transaction
            .execute_raw(claim.life.statement(transaction, ended, None))
            .await?;
    }
    Ok(())
}

/// The rows as a table `list (seq, time_ns)`, made from the parameters from `$5` on: one statement for
/// every batch size, which the database parses once and which stays within its number of parameters.
fn list(transaction: &OpenTransaction, rows: &[Row]) -> (&'static str, Vec<Value>) {
    match transaction.get_database_backend() {
        DbBackend::Postgres => {
            let (seqs, times): (Vec<i64>, Vec<i64>) =
                rows.iter().map(|row| (row.seq, row.time_ns)).unzip();
            (
                "unnest($5, $6) AS list (seq, time_ns)",
                vec![seqs.into(), times.into()],
            )
        }
        _ => {
            let rows: Vec<String> = rows
                .iter()
                .map(|row| format!("[{},{}]", row.seq, row.time_ns))
                .collect();
            (
                "(SELECT value->>0 AS seq, value->>1 AS time_ns FROM json_each($5)) AS list",
                vec![format!("[{}]", rows.join(",")).into()],
            )
        }
    }
}

#[cfg(test)]
mod tests;

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
mod tests {
    use std::any::Any;
    use std::sync::Arc;

    use sea_orm::ConnectionTrait;

    use crate::effect::{Database, Inbox};
    use crate::error::Kind;
    use crate::sql::scratch::{Scratch, begin, entries, entries_nth, number};
    use crate::sql::{SqlDatabase, Tx};

    /// A function's effect for each message.
    async fn effect(tx: Arc<dyn Any + Send + Sync>, seqs: &[u64]) {
        let tx = tx.downcast::<Tx>().unwrap();
        for seq in seqs {
            tx.execute_unprepared(&format!("INSERT INTO effects (id) VALUES ({seq})"))
                .await
                .unwrap();
        }
    }

    /// What a consumer does: the function sees what is not done.
    async fn deliver(database: &SqlDatabase, seqs: &[u64], failed: &[u64]) -> Vec<u64> {
        deliver_nth(database, 1, seqs, failed).await
    }

    /// The same; the stream says how often it has delivered these.
    async fn deliver_nth(
        database: &SqlDatabase,
        nth: u64,
        seqs: &[u64],
        failed: &[u64],
    ) -> Vec<u64> {
        let batch = entries_nth(nth, 1, 0, seqs.iter().copied());
        let transaction = begin(database, &batch).await.unwrap();
        let fresh: Vec<u64> = seqs
            .iter()
            .copied()
            .filter(|seq| !transaction.is_done(*seq))
            .collect();
        let good: Vec<u64> = fresh
            .iter()
            .copied()
            .filter(|seq| !failed.contains(seq))
            .collect();
        effect(transaction.handle(), &good).await;
        transaction.commit(failed).await.unwrap();
        fresh
    }

    #[tokio::test]
    async fn redelivered_message_is_done_already() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            assert_eq!(deliver(&database, &[1, 2, 3], &[]).await, [1, 2, 3]);
            // However the stream counts its deliveries: a consumer made again begins at 1.
            assert_eq!(deliver(&database, &[4, 3, 2, 5], &[]).await, [4, 5]);
            assert_eq!(deliver_nth(&database, 2, &[4, 6], &[]).await, [6]);
            let all = deliver_nth(&scratch.open(), 3, &[1, 2, 3, 4, 5, 6], &[]).await;
            assert_eq!(all, [0u64; 0]);
            let look = scratch.connect().await;
            assert_eq!(number(&look, "SELECT count(*) FROM effects").await, 6);
        }
    }

    #[tokio::test]
    async fn first_delivery_that_is_known_as_a_second_one_is_done_once() {
        for scratch in Scratch::each().await {
            assert_eq!(deliver_nth(&scratch.open(), 2, &[1], &[]).await, [1]);
            assert_eq!(deliver(&scratch.open(), &[1, 2], &[]).await, [2]);
        }
    }

    #[tokio::test]
    async fn batch_that_has_a_message_twice_is_an_attempt_that_failed() {
        for scratch in Scratch::each().await {
            let twice = entries(1, 0, [5, 6, 5]);
            let error = begin(&scratch.open(), &twice).await.err().unwrap();
            assert_eq!(
                error.kind(),
                Kind::Internal,
                "a batch that fails like this is halved"
            );
        }
    }

    #[tokio::test]
    async fn failed_message_is_not_done() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            deliver(&database, &[1, 2, 3], &[2]).await;
            assert_eq!(deliver(&database, &[1, 2, 3], &[]).await, [2]);
        }
    }

    #[tokio::test]
    async fn message_of_a_transaction_that_was_not_committed_is_not_done() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let rolled_back = begin(&database, &entries(1, 0, [1])).await.unwrap();
            effect(rolled_back.handle(), &[1]).await;
            rolled_back.rollback().await;
            let dropped = begin(&database, &entries(1, 0, [1])).await.unwrap();
            effect(dropped.handle(), &[1]).await;
            drop(dropped);
            assert_eq!(deliver(&database, &[1], &[]).await, [1]);
        }
    }

    #[tokio::test]
    async fn two_processes_with_the_same_message_have_one_effect() {
        for scratch in Scratch::each().await {
            for (seq, commits) in [(1, true), (2, false)] {
                let (first, second) = (scratch.open(), scratch.open());
                let holder = begin(&first, &entries(1, 0, [seq])).await.unwrap();
                effect(holder.handle(), &[seq]).await;
                let waiter = tokio::spawn(async move {
                    let transaction = begin(&second, &entries(1, 0, [seq])).await.unwrap();
                    let done = transaction.is_done(seq);
                    transaction.rollback().await;
                    done
                });
                // A round trip for the other to begin in; it is right whether it has or not.
                number(&scratch.connect().await, "SELECT count(*) FROM effects").await;
                if commits {
                    holder.commit(&[]).await.unwrap();
                } else {
                    holder.rollback().await;
                }
                assert_eq!(waiter.await.unwrap(), commits);
            }
        }
    }

    #[tokio::test]
    async fn many_processes_with_overlapping_batches_have_each_effect_once() {
        for scratch in Scratch::each().await {
            let databases: Vec<_> = (0..4).map(|_| Arc::new(scratch.open())).collect();
            let tasks: Vec<_> = (0..40u64)
                .map(|n| {
                    let database = databases[n as usize % 4].clone();
                    tokio::spawn(async move {
                        let seqs: Vec<u64> = (n * 5 + 1..n * 5 + 21).collect();
                        deliver(&database, &seqs, &[]).await
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(
                number(&scratch.connect().await, "SELECT count(*) FROM effects").await,
                39 * 5 + 20
            );
        }
    }

    #[tokio::test]
    async fn first_batches_of_many_processes_have_each_effect_once() {
        for scratch in Scratch::each().await {
            let databases: Vec<_> = (0..4).map(|_| Arc::new(scratch.open())).collect();
            for life in 1..40u64 {
                let tasks: Vec<_> = (0..8usize)
                    .map(|n| {
                        let database = databases[n % 4].clone();
                        // Half of them as a redelivery, which takes the other way.
                        let nth = 1 + n as u64 / 4;
                        tokio::spawn(async move {
                            let seqs = [life * 10 + n as u64 % 3, life * 10 + 3];
                            let batch = entries_nth(nth, life, 0, seqs);
                            let transaction = begin(&database, &batch).await.unwrap();
                            let fresh: Vec<u64> = seqs
                                .into_iter()
                                .filter(|seq| !transaction.is_done(*seq))
                                .collect();
                            effect(transaction.handle(), &fresh).await;
                            transaction.commit(&[]).await.unwrap();
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            }
            assert_eq!(
                number(&scratch.connect().await, "SELECT count(*) FROM effects").await,
                39 * 4
            );
        }
    }

    #[tokio::test]
    async fn stream_that_is_made_again_is_not_hidden_by_its_earlier_life() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            deliver(&database, &[1, 2], &[]).await;
            let again = begin(&database, &entries(2, 0, [1, 2])).await.unwrap();
            assert!(!again.is_done(1) && !again.is_done(2));
            again.commit(&[]).await.unwrap();
            // The earlier life's rows are gone with it.
            assert_eq!(
                number(
                    &scratch.connect().await,
                    "SELECT count(*) FROM natsfn_inbox"
                )
                .await,
                2
            );
        }
    }

    #[tokio::test]
    async fn functions_do_not_hide_messages_from_each_other() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            deliver(&database, &[1], &[]).await;
            for (service, function) in [("shop", "bill"), ("other", "store")] {
                let inbox = Inbox {
                    service,
                    function,
                    entries: &entries(1, 0, [1]),
                };
                let transaction = database.begin(Some(inbox)).await.unwrap();
                assert!(!transaction.is_done(1));
                transaction.commit(&[]).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn batch_from_two_lives_of_a_stream_is_an_attempt_that_failed() {
        for scratch in Scratch::each().await {
            let mut both = entries(1, 0, [5]);
            both.extend(entries(2, 0, [5]));
            let error = begin(&scratch.open(), &both).await.err().unwrap();
            assert_eq!(
                error.kind(),
                Kind::Internal,
                "a batch that fails like this is halved"
            );
        }
    }

    #[tokio::test]
    async fn rows_below_the_ack_floor_are_pruned_now_and_then() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let look = scratch.connect().await;
            for (floor, seqs, rows) in [
                (0, 1..501, 500),
                (500, 501..1_001, 1_000),
                (999, 1_001..1_501, 1_500),
                (1_000, 1_501..2_001, 1_000),
                (1_999, 2_001..2_002, 1_001),
                (2_000, 2_002..2_003, 2),
            ] {
                begin(&database, &entries(1, floor, seqs))
                    .await
                    .unwrap()
                    .commit(&[])
                    .await
                    .unwrap();
                assert_eq!(
                    number(&look, "SELECT count(*) FROM natsfn_inbox").await,
                    rows,
                    "floor {floor}"
                );
            }
        }
    }

    #[tokio::test]
    async fn batch_keeps_its_own_rows_whatever_the_floor_says() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            begin(&database, &entries(1, 5_000, [7, 4_000]))
                .await
                .unwrap()
                .commit(&[])
                .await
                .unwrap();
            assert_eq!(
                number(
                    &scratch.connect().await,
                    "SELECT count(*) FROM natsfn_inbox"
                )
                .await,
                2
            );
        }
    }

    #[tokio::test]
    async fn batch_of_fifty_thousand_is_within_the_databases_limits() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let batch = entries(1, 0, 1..50_001);
            let failed: Vec<u64> = (1..40_001).collect();
            begin(&database, &batch)
                .await
                .unwrap()
                .commit(&failed)
                .await
                .unwrap();
            let again = begin(&database, &batch).await.unwrap();
            assert!(!again.is_done(40_000) && again.is_done(40_001));
        }
    }

    #[tokio::test]
    async fn empty_batch_is_nothing() {
        for scratch in Scratch::each().await {
            begin(&scratch.open(), &[])
                .await
                .unwrap()
                .commit(&[])
                .await
                .unwrap();
        }
    }
}

//! Stores messages once.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, SqlErr, Statement, TransactionSession, TransactionTrait,
    Value,
};

use super::rows::{Position, Row, rows_at, rows_of};

/// What became of one row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is in the table now, at its own position.
    Here,
    /// It was there already, at its own position: it was delivered before.
    Again,
    /// A sender's retry, which adds no row: `(uid, id)` has the same content at another position.
    Repeat(Position),
    /// Its `(uid, id)` is stored with other content: this message becomes a dead letter.
    Taken(Position),
}

/// Why a batch was not stored; none of its rows is.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// The position of a new message belongs to another one: the log was rolled back and reuses
    /// sequences. It needs a new epoch.
    #[error("epoch {} seq {} is another message's place in the table: was the log rolled back or replaced?", .0.epoch, .0.seq)]
    Clash(Position),
    /// Another instance stores the same messages at the same moment, again and again.
    #[error("another instance keeps storing the same messages at the same moment: try again")]
    Contended,
    /// The database's own error.
    #[error(transparent)]
    Db(#[from] DbErr),
}

/// Stores each message once, and returns what became of each row, in order. New rows are inserted at
/// once. If some were there, they are read, to tell redeliveries from new rows, and the others are
/// inserted with a conflict clause.
///
/// Only `(uid, id)` is in the clause, so a clash of positions is an error. It may be a false one: if
/// two instances store the same delivery at once, PostgreSQL may notice the primary key first. So the
/// statement runs in a savepoint and is tried again.
pub async fn insert_once<C>(db: &C, rows: &[Row]) -> Result<Vec<Stored>, InsertError>
where
    C: ConnectionTrait + TransactionTrait,
{
    let mut before = None;
    for _ in 0..ATTEMPTS {
        let savepoint = db.begin().await?;
        let inserted = insert(&savepoint, rows, before.is_some()).await;
        match (inserted, before.take()) {
            (Ok(inserted), _) if inserted == rows.len() as u64 => {
                savepoint.commit().await?;
                return Ok(vec![Stored::Here; rows.len()]);
            }
            (Ok(_), Some(before)) => {
                savepoint.commit().await?;
                let now = rows_of(db, rows.iter().map(|row| &row.message)).await?;
                return classify(rows, &before, &now);
            }
            (Ok(_), None) => savepoint.rollback().await?,
            (Err(error), _)
                if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) =>
            {
                savepoint.rollback().await?;
                if let Some(position) = clash(db, rows).await? {
                    return Err(InsertError::Clash(position));
                }
            }
            (Err(error), _) => return Err(error.into()),
        }
        let found = rows_of(db, rows.iter().map(|row| &row.message)).await?;
        if rows.iter().all(|row| found.contains_key(&key(row))) {
            return classify(rows, &found, &found);
        }
        before = Some(found);
    }
    Err(InsertError::Contended)
}

/// How often a false clash is tried again; by then another instance has committed the row.
const ATTEMPTS: usize = 4;

/// Rows in one statement on SQLite, which takes 32,766 parameters; a row has ten.
const SQLITE_ROWS: usize = 1_000;

/// Returns how many rows were inserted. Those that are there are skipped, but on PostgreSQL only where
/// `some_are_there`: the conflict clause costs it a third more, so it is left out for rows that are
/// probably all new, and one that is there is a unique violation.
///
/// The statement is written here: sea-query would copy each value once more, and write the text of a
/// thousand rows anew for each batch.
async fn insert(
    db: &impl ConnectionTrait,
    rows: &[Row],
    some_are_there: bool,
) -> Result<u64, DbErr> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as i64);
    let backend = db.get_database_backend();
    if backend == DbBackend::Postgres {
        let sql = if some_are_there {
            format!("{INSERT} {ARRAYS} {ONCE}")
        } else {
            format!("{CHECKED} {INSERT} {ARRAYS}")
        };
        let statement = Statement::from_sql_and_values(backend, sql, arrays(rows, now));
        return Ok(db.execute_raw(statement).await?.rows_affected());
    }
    let mut inserted = 0;
    for rows in rows.chunks(SQLITE_ROWS) {
        let each = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows.len()];
        let sql = format!("{INSERT} VALUES {} {ONCE}", each.join(", "));
        let values = rows.iter().flat_map(|row| values(row, now));
        let statement = Statement::from_sql_and_values(backend, sql, values);
        inserted += db.execute_raw(statement).await?.rows_affected();
    }
    Ok(inserted)
}

const INSERT: &str = "INSERT INTO messages \
    (epoch, seq, realm, room, uid, username, msg_id, text, timestamp, created_at)";

/// One array per column instead of one parameter per value: the statement is the same for every
/// batch size, so PostgreSQL parses it once.
const ARRAYS: &str = "SELECT UNNEST($1), UNNEST($2), UNNEST($3), UNNEST($4), UNNEST($5), \
    UNNEST($6), UNNEST($7), UNNEST($8), UNNEST($9), $10";

const ONCE: &str = "ON CONFLICT (uid, msg_id) DO NOTHING";

/// Inserts nothing, and is refused where the unique index is gone, which an INSERT without the conflict
/// clause would not notice.
const CHECKED: &str = "WITH checked AS (INSERT INTO messages SELECT * FROM messages WHERE false \
    ON CONFLICT (uid, msg_id) DO NOTHING)";

fn arrays(rows: &[Row], now: i64) -> [Value; 10] {
    fn column<T>(rows: &[Row], value: impl Fn(&Row) -> T) -> Value
    where
        Vec<T>: Into<Value>,
    {
        rows.iter().map(value).collect::<Vec<T>>().into()
    }
    [
        column(rows, |row| row.at.epoch),
        column(rows, |row| row.at.seq),
        column(rows, |row| row.message.realm.as_str().to_owned()),
        column(rows, |row| row.message.room.as_str().to_owned()),
        column(rows, |row| row.message.uid.clone()),
        column(rows, |row| row.message.user.clone()),
        column(rows, |row| row.message.id.clone()),
        column(rows, |row| row.message.text.clone()),
        column(rows, |row| row.message.timestamp),
        now.into(),
    ]
}

fn values(row: &Row, now: i64) -> [Value; 10] {
    let Row { message, at } = row;
    [
        at.epoch.into(),
        at.seq.into(),
        message.realm.as_str().into(),
        message.room.as_str().into(),
        message.uid.as_str().into(),
        message.user.as_str().into(),
        message.id.as_str().into(),
        message.text.as_str().into(),
        message.timestamp.into(),
        now.into(),
    ]
}

/// Rows by `(uid, id)`.
type RowsByKey = HashMap<(String, String), Row>;

fn classify(rows: &[Row], before: &RowsByKey, now: &RowsByKey) -> Result<Vec<Stored>, InsertError> {
    rows.iter()
        .map(|row| {
            let key = key(row);
            let there = now.get(&key).ok_or(InsertError::Contended)?;
            Ok(if !there.message.same_content(&row.message) {
                Stored::Taken(there.at)
            } else if there.at != row.at {
                Stored::Repeat(there.at)
            } else if before.contains_key(&key) {
                Stored::Again
            } else {
                Stored::Here
            })
        })
        .collect()
}

fn key(row: &Row) -> (String, String) {
    (row.message.uid.clone(), row.message.id.clone())
}

/// A position of the batch that belongs to another message, in the table or in the batch.
async fn clash(db: &impl ConnectionTrait, rows: &[Row]) -> Result<Option<Position>, DbErr> {
    let mut owners = HashMap::new();
    for row in rows_at(db, rows.iter().map(|row| row.at)).await? {
        owners.insert(row.at, (row.message.uid, row.message.id));
    }
    Ok(rows.iter().find_map(|row| {
        let own = key(row);
        let owner = owners.entry(row.at).or_insert_with(|| own.clone());
        (*owner != own).then_some(row.at)
    }))
}

#[cfg(test)]
mod tests {
    use sea_orm::{EntityTrait, PaginatorTrait};

    use super::*;
    use crate::database::Database;
    use crate::message::Message;
    use crate::message::room::Realm;
    use crate::store::entity::messages::Entity;
    use crate::store::rows::{Cursor, page};

    fn row(seq: i64, uid: &str, id: &str, text: &str) -> Row {
        Row {
            at: Position { epoch: 1, seq },
            message: Message {
                id: id.to_owned(),
                user: format!("{uid} ß"),
                uid: uid.to_owned(),
                text: text.to_owned(),
                timestamp: 1_700_000_000_000 + seq,
                room: "general".parse().unwrap(),
                realm: Realm::Chat,
            },
        }
    }

    /// Rows `from..to` of alice, each with an id of its own.
    fn rows(from: i64, to: i64) -> Vec<Row> {
        (from..to)
            .map(|seq| row(seq, "alice", &format!("id-{seq}"), "hello '\"\\ 😀"))
            .collect()
    }

    async fn count(database: &Database) -> u64 {
        Entity::find().count(&database.pool).await.unwrap()
    }

    #[tokio::test]
    async fn new_messages_are_stored_as_they_are() {
        for database in Database::each().await {
            let rows = rows(1, 4);
            assert_eq!(
                insert_once(&database.pool, &rows).await.unwrap(),
                [Stored::Here; 3]
            );
            let room = &rows[0].message.room;
            let stored = page(
                &database.pool,
                Realm::Chat,
                room,
                Cursor::Last,
                rows[2].at,
                10,
            )
            .await
            .unwrap();
            assert_eq!(stored, rows);
        }
    }

    #[tokio::test]
    async fn empty_batch_is_stored() {
        for database in Database::each().await {
            assert_eq!(insert_once(&database.pool, &[]).await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn redelivered_message_is_stored_once() {
        for database in Database::each().await {
            insert_once(&database.pool, &rows(1, 4)).await.unwrap();
            assert_eq!(
                insert_once(&database.pool, &rows(2, 6)).await.unwrap(),
                [Stored::Again, Stored::Again, Stored::Here, Stored::Here]
            );
            assert_eq!(
                insert_once(&database.pool, &rows(2, 6)).await.unwrap(),
                [Stored::Again; 4]
            );
            assert_eq!(count(&database).await, 5);
        }
    }

    #[tokio::test]
    async fn retry_under_a_new_sequence_adds_no_row() {
        for database in Database::each().await {
            insert_once(&database.pool, &[row(1, "alice", "a", "hello")])
                .await
                .unwrap();
            let retries = [
                row(2, "alice", "a", "hello"),
                row(3, "bob", "a", "another's message under the same id"),
                row(4, "alice", "b", "twice in one batch"),
                row(5, "alice", "b", "twice in one batch"),
            ];
            let first = Position { epoch: 1, seq: 1 };
            assert_eq!(
                insert_once(&database.pool, &retries).await.unwrap(),
                [
                    Stored::Repeat(first),
                    Stored::Here,
                    Stored::Here,
                    Stored::Repeat(retries[2].at)
                ]
            );
            assert_eq!(count(&database).await, 3);
        }
    }

    #[tokio::test]
    async fn taken_id_is_reported_and_the_first_message_kept() {
        for database in Database::each().await {
            let first = row(1, "alice", "a", "hello");
            insert_once(&database.pool, std::slice::from_ref(&first))
                .await
                .unwrap();
            let mut others = [
                row(2, "alice", "a", "another text"),
                row(3, "alice", "a", "hello"),
                row(4, "alice", "a", "hello"),
                row(5, "alice", "b", "one batch"),
                row(6, "alice", "b", "one batch, another text"),
                row(1, "alice", "a", "another text at the very same place"),
            ];
            others[1].message.room = "other".parse().unwrap();
            others[2].message.realm = Realm::Admin;
            let taken = Stored::Taken(first.at);
            assert_eq!(
                insert_once(&database.pool, &others).await.unwrap(),
                [
                    taken,
                    taken,
                    taken,
                    Stored::Here,
                    Stored::Taken(others[3].at),
                    taken
                ]
            );
            let kept = rows_of(&database.pool, [&first.message]).await.unwrap();
            assert_eq!(kept.values().collect::<Vec<_>>(), [&first]);
        }
    }

    #[tokio::test]
    async fn clash_of_positions_is_an_error_and_stores_nothing() {
        for database in Database::each().await {
            insert_once(&database.pool, &rows(1, 4)).await.unwrap();
            let transaction = database.pool.begin().await.unwrap();
            let mut batch = rows(3, 8);
            batch[2] = row(2, "bob", "new", "what the log says at 2 now");
            let error = insert_once(&transaction, &batch).await.unwrap_err();
            assert!(
                matches!(error, InsertError::Clash(Position { epoch: 1, seq: 2 })),
                "{error}"
            );
            insert_once(&transaction, &rows(9, 10))
                .await
                .expect("the transaction goes on");
            transaction.commit().await.unwrap();
            assert_eq!(count(&database).await, 4);
        }
    }

    #[tokio::test]
    async fn clash_within_one_batch_is_an_error() {
        for database in Database::each().await {
            let batch = [row(1, "alice", "a", "hello"), row(1, "alice", "b", "hello")];
            let error = insert_once(&database.pool, &batch).await.unwrap_err();
            assert!(
                matches!(error, InsertError::Clash(Position { epoch: 1, seq: 1 })),
                "{error}"
            );
            assert_eq!(count(&database).await, 0);
        }
    }

    #[tokio::test]
    async fn same_sequence_of_another_epoch_is_no_clash() {
        for database in Database::each().await {
            insert_once(&database.pool, &rows(1, 2)).await.unwrap();
            let mut next = row(1, "alice", "new", "hello");
            next.at.epoch = 2;
            assert_eq!(
                insert_once(&database.pool, &[next]).await.unwrap(),
                [Stored::Here]
            );
        }
    }

    #[tokio::test]
    async fn batch_of_ten_thousand_is_within_the_databases_limits() {
        for database in Database::each().await {
            insert_once(&database.pool, &rows(1, 5_002)).await.unwrap();
            let all = rows(1, 10_001);
            let stored = insert_once(&database.pool, &all).await.unwrap();
            assert_eq!(stored[..5_001], vec![Stored::Again; 5_001]);
            assert_eq!(stored[5_001..], vec![Stored::Here; 4_999]);
            assert_eq!(count(&database).await, 10_000);
        }
    }

    #[tokio::test]
    async fn two_instances_that_store_the_same_delivery_at_once_do_not_clash() {
        for database in Database::each().await {
            for round in 0..50 {
                let both = [0, 1].map(|_| {
                    let db = database.pool.clone();
                    tokio::spawn(async move {
                        insert_once(&db, &rows(round * 100, round * 100 + 100)).await
                    })
                });
                let mut stored = Vec::new();
                for instance in both {
                    stored.extend(instance.await.unwrap().unwrap());
                }
                let here = stored.iter().filter(|one| **one == Stored::Here).count();
                let again = stored.iter().filter(|one| **one == Stored::Again).count();
                assert_eq!((here, again), (100, 100));
            }
            assert_eq!(count(&database).await, 5_000);
        }
    }
}

//! sqlx's way into a transaction.

use std::ops::{Deref, DerefMut};

use sea_orm::DbErr;
use sea_orm::sqlx::{PgConnection, SqliteConnection};
use tokio::sync::{OwnedMappedMutexGuard, OwnedMutexGuard, RwLockReadGuard};

use super::Tx;
use super::condition::DOUBTFUL;
use super::connection::Connection;
use super::open::OpenTransaction;
use super::session::Session;
use crate::error::Result;
use crate::sql::timeout::bounded;

/// A [`Tx`]'s connection, for the statements of sqlx. Until it is dropped, no other statement of the transaction runs.
pub struct SqlxConnection<'a, C> {
    connection: OwnedMappedMutexGuard<Session, C>,
    transaction: RwLockReadGuard<'a, OpenTransaction>,
}

impl<C> Drop for SqlxConnection<'_, C> {
    fn drop(&mut self) {
        self.transaction.returned();
    }
}

impl<C> Deref for SqlxConnection<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C> DerefMut for SqlxConnection<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl Tx {
    /// The transaction's connection to PostgreSQL, for statements of sqlx 0.9 (`sea_orm::sqlx`; its macros need `sqlx`
    /// among your own dependencies). They belong to the transaction as sea-orm's do; they have no span of their own.
    ///
    /// Drop it before `tx`, or a savepoint of it, is used again: that fails after 9 s, and the transaction with it. Return
    /// the error of a failed statement, unless it ran in a savepoint (`connection.begin()`) that you rolled back. Never
    /// COMMIT: what the runtime knows of the messages would be committed too, and those that the function then
    /// fails would not come again. PostgreSQL ends a statement after 8 s; the runtime has no other limit for these.
    ///
    /// ```
    /// use natsfn::{Json, Result, Tx};
    /// use sea_orm::sqlx;
    ///
    /// async fn store(tx: Tx, Json(sku): Json<String>) -> Result<()> {
    ///     let mut connection = tx.postgres().await?;
    ///     let insert = sqlx::query("INSERT INTO orders (sku) VALUES ($1)").bind(sku);
    ///     insert.execute(&mut *connection).await?;
    ///     Ok(())
    /// }
    /// # let orders = natsfn::Stream::new("ORDERS", ["orders.*"]);
    /// # let _ = natsfn::Service::new("shop", "1.0.0").consumer(natsfn::Consumer::new("store", orders), store);
    /// ```
    ///
    /// # Errors
    /// The database is SQLite, or the transaction cannot go on.
    pub async fn postgres(&self) -> Result<SqlxConnection<'_, PgConnection>> {
        let lent = self.lent(|connection| match connection {
            Connection::Postgres(connection) => Some(&mut **connection),
            Connection::Sqlite(_) => None,
        });
        Ok(lent.await?)
    }

    /// As [`Tx::postgres`], where the database is SQLite.
    ///
    /// # Errors
    /// The database is PostgreSQL, or the transaction cannot go on.
    pub async fn sqlite(&self) -> Result<SqlxConnection<'_, SqliteConnection>> {
        let lent = self.lent(|connection| match connection {
            Connection::Sqlite(connection) => Some(&mut **connection),
            Connection::Postgres(_) => None,
        });
        Ok(lent.await?)
    }

    async fn lent<C>(
        &self,
        of: impl FnOnce(&mut Connection) -> Option<&mut C>,
    ) -> Result<SqlxConnection<'_, C>, DbErr> {
        let transaction = self.held().await?;
        // What becomes of its statements is not seen.
        self.now(DOUBTFUL);
        let session = bounded(transaction.lend()).await?;
        match OwnedMutexGuard::try_map(session, |session| of(&mut session.connection)) {
            Ok(connection) => Ok(SqlxConnection {
                connection,
                transaction,
            }),
            Err(_) => {
                transaction.returned();
                let text = format!("the database of this transaction is {:?}", self.backend());
                Err(DbErr::Custom(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use sea_orm::sqlx::{self, Connection as _};
    use sea_orm::{ConnectionTrait, TransactionSession, TransactionTrait};

    use super::*;
    use crate::error::{Error, Kind};
    use crate::sql::database::SqlDatabase;
    use crate::sql::scratch::{Scratch, begin, entries, number};
    use crate::sql::tx::tests::{of, stored};

    /// Runs an INSERT by sqlx on whichever database it is.
    macro_rules! by_sqlx {
        ($tx:expr, $insert:expr) => {
            match $tx.backend() {
                sea_orm::DbBackend::Postgres => {
                    let insert = sqlx::query($insert);
                    let done = insert.execute(&mut *$tx.postgres().await.unwrap()).await;
                    done.map(drop)
                }
                _ => {
                    let insert = sqlx::query($insert);
                    let done = insert.execute(&mut *$tx.sqlite().await.unwrap()).await;
                    done.map(drop)
                }
            }
        };
    }

    const INSERT: &str = "INSERT INTO effects (id) VALUES (1)";
    const ANOTHER: &str = "INSERT INTO effects (id) VALUES (2)";

    #[tokio::test]
    async fn effects_of_sqlx_and_of_sea_orm_are_committed_together_or_not_at_all() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            for commits in [false, true] {
                let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
                let tx = of(&*transaction);
                by_sqlx!(tx, INSERT).unwrap();
                tx.execute_unprepared(ANOTHER).await.unwrap();
                assert_eq!(number(&tx, "SELECT count(*) FROM effects").await, 2);
                let savepoint = tx.begin().await.unwrap();
                by_sqlx!(tx, "INSERT INTO effects (id) VALUES (3)").unwrap();
                savepoint.rollback().await.unwrap();
                drop(tx);
                match commits {
                    true => transaction.commit(&[]).await.unwrap(),
                    false => transaction.rollback().await,
                }
                assert_eq!(stored(&scratch).await, if commits { 2 } else { 0 });
            }
            // The connection serves the next one, which has no statement of sqlx.
            let transaction = begin(&database, &entries(1, 1, [2])).await.unwrap();
            let insert = "INSERT INTO effects (id) VALUES (4)";
            of(&*transaction).execute_unprepared(insert).await.unwrap();
            transaction.commit(&[]).await.unwrap();
            assert_eq!(stored(&scratch).await, 3);
        }
    }

    #[tokio::test]
    async fn failed_statement_that_the_function_passes_over_is_no_commit_without_effect() {
        let [_, postgres] = Scratch::each().await;
        let transaction = begin(&postgres.open(), &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        by_sqlx!(tx, INSERT).unwrap();
        by_sqlx!(tx, INSERT).unwrap_err();
        drop(tx);
        let error = transaction.commit(&[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{error}");
        assert!(error.message().contains("went on"), "{error}");
        assert_eq!(stored(&postgres).await, 0);
    }

    #[tokio::test]
    async fn savepoint_of_sqlx_takes_back_a_failed_statement_alone() {
        let [_, postgres] = Scratch::each().await;
        let transaction = begin(&postgres.open(), &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        by_sqlx!(tx, INSERT).unwrap();
        let mut connection = tx.postgres().await.unwrap();
        let mut part = connection.begin().await.unwrap();
        let again = sqlx::query(INSERT).execute(&mut *part).await;
        let error = Error::from(again.unwrap_err());
        assert_eq!(error.kind(), Kind::BadRequest);
        part.rollback().await.unwrap();
        drop(connection);
        drop(tx);
        transaction.commit(&[]).await.unwrap();
        assert_eq!(stored(&postgres).await, 1);
    }

    #[tokio::test]
    async fn savepoint_that_is_dropped_beside_a_lent_connection_is_rolled_back_alone() {
        for scratch in Scratch::each().await {
            let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            tx.execute_unprepared(ANOTHER).await.unwrap();
            let savepoint = tx.begin().await.unwrap();
            savepoint.execute_unprepared(INSERT).await.unwrap();
            let connection = tx.lent(|connection| Some(connection)).await.unwrap();
            drop(savepoint);
            drop(connection);
            drop(tx);
            transaction.commit(&[]).await.unwrap();
            let ids = "SELECT CAST(sum(id) AS bigint) FROM effects";
            assert_eq!(number(&scratch.connect().await, ids).await, 2);
        }
    }

    /// A transaction, and what it comes to after this use of a lent connection.
    async fn outcome_of(
        database: &SqlDatabase,
        work: impl AsyncFnOnce(&mut PgConnection),
    ) -> Result<()> {
        let transaction = begin(database, &entries(1, 0, [1])).await?;
        let tx = of(&*transaction);
        tx.execute_unprepared(INSERT).await?;
        work(&mut *tx.postgres().await?).await;
        drop(tx);
        transaction.commit(&[]).await
    }

    async fn run(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(connection).await.map(drop)
    }

    #[tokio::test]
    async fn transaction_that_the_function_ended_is_no_success() {
        let [_, postgres] = Scratch::each().await;
        let database = postgres.open();
        for end in ["ROLLBACK", "ROLLBACK; BEGIN", "ROLLBACK AND CHAIN"] {
            let ended = outcome_of(&database, async |it| run(it, end).await.unwrap());
            ended.await.unwrap_err();
        }
        let again = outcome_of(&database, async |it| {
            run(it, INSERT).await.unwrap_err();
            // sqlx rolls all of it back.
            it.begin().await.unwrap_err();
        });
        again.await.unwrap_err();
        assert_eq!(stored(&postgres).await, 0);
        let dropped = outcome_of(&database, async |it| {
            let begin = std::pin::pin!(it.begin());
            // It may be there at once, and is then taken back alone.
            let _ = futures_util::poll!(begin);
        });
        let rows = i64::from(dropped.await.is_ok());
        assert_eq!(stored(&postgres).await, rows);
    }

    #[tokio::test]
    async fn copy_that_is_not_read_to_its_end_is_no_success_and_its_connection_is_closed() {
        let [_, postgres] = Scratch::each().await;
        let database = postgres.open();
        let copied = outcome_of(&database, async |it| {
            let rows = "COPY (SELECT * FROM generate_series(1, 100000)) TO STDOUT";
            let mut rows = it.copy_out_raw(rows).await.unwrap();
            rows.next().await.unwrap().unwrap();
        });
        copied.await.unwrap_err();
        let copied = outcome_of(&database, async |it| {
            let rows = it
                .copy_in_raw("COPY effects (id) FROM STDIN")
                .await
                .unwrap();
            drop(rows);
        });
        copied.await.unwrap_err();
        assert_eq!(stored(&postgres).await, 0);
        for seq in 1..=20 {
            let transaction = begin(&database, &entries(1, 0, [seq])).await.unwrap();
            let tx = of(&*transaction);
            let number_of = format!("SELECT CAST({seq} AS bigint)");
            assert_eq!(number(&tx, &number_of).await, i64::try_from(seq).unwrap());
            drop(tx);
            transaction.commit(&[]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn savepoint_after_sqlite_rolled_back_revives_no_transaction() {
        let [sqlite, _] = Scratch::each().await;
        for is_kept in [false, true] {
            let transaction = begin(&sqlite.open(), &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            let mut connection = tx.sqlite().await.unwrap();
            sqlx::query(INSERT).execute(&mut *connection).await.unwrap();
            let rolls_back = "INSERT OR ROLLBACK INTO effects (id) VALUES (1)";
            let failed = sqlx::query(rolls_back).execute(&mut *connection).await;
            failed.unwrap_err();
            let part = connection.begin().await.unwrap();
            if is_kept {
                drop(part.commit().await);
            } else {
                drop(part);
            }
            drop(sqlx::query(ANOTHER).execute(&mut *connection).await);
            drop(connection);
            drop(tx);
            let error = transaction.commit(&[]).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
            assert_eq!(stored(&sqlite).await, 0);
        }
    }

    #[tokio::test]
    async fn connection_that_is_lent_already_is_an_error_that_says_so() {
        for scratch in Scratch::each().await {
            let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            let lent = tx.lent(|connection| Some(connection)).await.unwrap();
            tokio::time::pause();
            let again = tx.lent(|connection| Some(connection)).await.err().unwrap();
            assert!(again.to_string().contains("lent to sqlx"), "{again}");
            let statement = tx.execute_unprepared(INSERT).await.unwrap_err();
            assert!(
                statement.to_string().contains("lent to sqlx"),
                "{statement}"
            );
            tokio::time::resume();
            drop(lent);
            drop(tx);
            let error = transaction.commit(&[]).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
            assert_eq!(stored(&scratch).await, 0);
        }
    }

    #[tokio::test]
    async fn after_a_statement_with_which_sqlite_rolls_back_nothing_is_stored() {
        let [sqlite, _] = Scratch::each().await;
        let database = sqlite.open();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        let mut connection = tx.sqlite().await.unwrap();
        sqlx::query(INSERT).execute(&mut *connection).await.unwrap();
        let rolls_back = "INSERT OR ROLLBACK INTO effects (id) VALUES (1)";
        let failed = sqlx::query(rolls_back).execute(&mut *connection).await;
        failed.unwrap_err();
        // It would be committed alone, and stored again when the message is redelivered.
        let alone = sqlx::query(ANOTHER).execute(&mut *connection).await;
        let error = Error::from(alone.unwrap_err());
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        // Nor does a COMMIT of the function's own.
        let end = sqlx::raw_sql("BEGIN; INSERT INTO effects (id) VALUES (3); COMMIT");
        end.execute(&mut *connection).await.unwrap_err();
        drop(connection);
        assert!(tx.sqlite().await.is_err());
        drop(tx);
        let error = transaction.commit(&[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert_eq!(stored(&sqlite).await, 0);

        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        of(&*transaction).execute_unprepared(INSERT).await.unwrap();
        transaction.commit(&[]).await.unwrap();
        assert_eq!(stored(&sqlite).await, 1);
    }

    #[tokio::test]
    async fn connection_of_another_kind_or_of_a_transaction_that_is_over_is_refused() {
        let [sqlite, postgres] = Scratch::each().await;
        for scratch in [sqlite, postgres] {
            let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            let refused = [tx.postgres().await.err(), tx.sqlite().await.err()];
            let [error] = refused
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .try_into()
                .unwrap();
            assert!(
                error.message().contains("database of this transaction is"),
                "{error}"
            );
            transaction.rollback().await;
            for error in [tx.postgres().await.err(), tx.sqlite().await.err()] {
                assert!(error.unwrap().message().contains("is over"));
            }
        }
    }

    #[tokio::test]
    async fn connection_that_a_task_keeps_holds_nobody_up_for_ever() {
        for scratch in Scratch::each().await {
            let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            let (lent, mut has_lent) = tokio::sync::mpsc::channel(1);
            let task = tokio::spawn(async move {
                by_sqlx!(tx, INSERT).unwrap();
                let held = tx.lent(|connection| Some(connection)).await.unwrap();
                lent.send(()).await.unwrap();
                std::future::pending::<()>().await;
                drop(held);
            });
            has_lent.recv().await.unwrap();
            tokio::time::pause();
            let error = transaction.commit(&[]).await.unwrap_err();
            tokio::time::resume();
            assert!(error.message().contains("still holds its Tx"), "{error}");
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(stored(&scratch).await, 0);
        }
    }
}

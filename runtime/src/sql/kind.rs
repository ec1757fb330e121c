//! What kind of failure a database's error is.

use std::borrow::Cow;
use std::error::Error as StdError;

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::sqlx::sqlite::SqliteError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};

use crate::error::Kind;

/// The kind of the first database error in a chain of sources; None where there is none, or where
/// it is nothing that waiting (`Unavailable`) or other data (`BadRequest`) would cure.
pub(crate) fn kind_of(error: &(dyn StdError + 'static)) -> Option<Kind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<DbErr>() {
            return of_sea_orm(error);
        }
        if let Some(error) = error.downcast_ref::<RuntimeErr>() {
            return of_runtime(error);
        }
        if error.is::<ConnAcquireErr>() {
            return Some(Kind::Unavailable);
        }
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return of_sqlx(error);
        }
        if let Some(error) = error.downcast_ref::<PgDatabaseError>() {
            return of_postgres(error.code());
        }
        if let Some(error) = error.downcast_ref::<SqliteError>() {
            return of_sqlite(error);
        }
        next = error.source();
    }
    None
}

/// The error is that of a table that does not exist.
pub(super) fn is_missing_table(error: &DbErr) -> bool {
    database_error(error).is_some_and(|error| {
        let postgres = error.try_downcast_ref::<PgDatabaseError>();
        postgres.is_some_and(|error| error.code() == "42P01")
            || error.message().starts_with("no such table")
    })
}

/// The error is that of a SQLite file that is locked or cannot be opened, by SQLite's code for it.
pub(super) fn is_sqlite(error: &DbErr, code: u32) -> bool {
    database_error(error)
        .and_then(|error| error.try_downcast_ref::<SqliteError>())
        .is_some_and(|error| primary_code(error) == code)
}

/// The database's own code for an error: SQLSTATE, or SQLite's number.
pub(super) fn state_of(error: &DbErr) -> Option<String> {
    database_error(error)?.code().map(Cow::into_owned)
}

/// SQLite's code for a database that another connection has locked.
pub(super) const BUSY: u32 = 5;
/// SQLite's code for a file that cannot be opened.
pub(super) const CANNOT_OPEN: u32 = 14;

fn database_error(error: &DbErr) -> Option<&dyn DatabaseError> {
    let (DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error)) = error else {
        return None;
    };
    let RuntimeErr::SqlxError(error) = error else {
        return None;
    };
    error.as_database_error()
}

fn of_sea_orm(error: &DbErr) -> Option<Kind> {
    match error {
        DbErr::ConnectionAcquire(_) => Some(Kind::Unavailable),
        DbErr::Conn(RuntimeErr::Internal(_)) => Some(Kind::Unavailable),
        DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error) => of_runtime(error),
        DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } => Some(Kind::BadRequest),
        _ => None,
    }
}

fn of_runtime(error: &RuntimeErr) -> Option<Kind> {
    match error {
        RuntimeErr::SqlxError(error) => of_sqlx(error),
        RuntimeErr::Internal(_) => None,
    }
}

fn of_sqlx(error: &sqlx::Error) -> Option<Kind> {
    use sqlx::Error;
    match error {
        Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                of_postgres(error.code())
            } else {
                error.try_downcast_ref::<SqliteError>().and_then(of_sqlite)
            }
        }
        // `Protocol` is what a connection that was cut within a message ends with.
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => Some(Kind::Unavailable),
        Error::Encode(_) | Error::Decode(_) | Error::ColumnDecode { .. } => Some(Kind::BadRequest),
        _ => None,
    }
}

/// By SQLSTATE, whose first two characters are the class.
fn of_postgres(code: &str) -> Option<Kind> {
    match (code.get(..2)?, code) {
        // The schema is not there, or not yet; or rights are missing: the operator's to cure.
        (_, "42P01" | "42703" | "3D000" | "3F000" | "42501") => Some(Kind::Unavailable),
        // A lock that was not to be had, a database that only reads (a standby), a transaction
        // that was ended because its client slept.
        (_, "55P03" | "25006" | "25P03") => Some(Kind::Unavailable),
        // Connection; log-in; rolled back by others; no space, memory or connection left; an
        // operator's doing, timeouts included; the disk.
        ("08" | "28" | "40" | "53" | "57" | "58", _) => Some(Kind::Unavailable),
        // Data; a constraint; too long for an index.
        ("22" | "23", _) | (_, "54000") => Some(Kind::BadRequest),
        _ => None,
    }
}

fn of_sqlite(error: &SqliteError) -> Option<Kind> {
    match primary_code(error) {
        // SQLITE_ERROR is nearly everything; what a missing schema says can be told apart.
        1 => {
            let text = error.message();
            let missing = ["no such table", "no such column"]
                .iter()
                .any(|what| text.starts_with(what))
                || (text.starts_with("table ") && text.contains("has no column named"));
            missing.then_some(Kind::Unavailable)
        }
        // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL (of
        // locking), SCHEMA, NOTADB.
        BUSY | 6 | 7 | 8 | 9 | 10 | 11 | 13 | CANNOT_OPEN | 15 | 17 | 26 => Some(Kind::Unavailable),
        // TOOBIG, CONSTRAINT, MISMATCH.
        18..=20 => Some(Kind::BadRequest),
        _ => None,
    }
}

/// SQLite's extended codes keep the plain one in their lowest byte.
fn primary_code(error: &SqliteError) -> u32 {
    error
        .code()
        .and_then(|code| code.parse::<u32>().ok())
        .unwrap_or(0)
        & 0xff
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
    use sea_orm::{
        ConnectionTrait, DatabaseConnection, DbBackend, IsolationLevel, SqlxSqliteConnector,
        Statement, TransactionTrait,
    };

    use super::*;
    use crate::sql::scratch::Scratch;

    const BAD: Option<Kind> = Some(Kind::BadRequest);
    const DOWN: Option<Kind> = Some(Kind::Unavailable);

    async fn failure(db: &impl ConnectionTrait, sql: &str) -> DbErr {
        db.execute_unprepared(sql).await.expect_err(sql)
    }

    /// One connection to a SQLite file that does not wait for locks.
    async fn impatient(scratch: &Scratch) -> DatabaseConnection {
        let options: SqliteConnectOptions = scratch.url.parse().unwrap();
        let options = options.busy_timeout(Duration::ZERO);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .unwrap();
        SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)
    }

    #[tokio::test]
    async fn data_that_a_database_refuses_are_a_bad_request() {
        for scratch in Scratch::each().await {
            let db = scratch.connect().await;
            db.execute_unprepared("INSERT INTO effects (id) VALUES (1)")
                .await
                .unwrap();
            for sql in [
                "INSERT INTO effects (id) VALUES (1)",
                "INSERT INTO effects (id) VALUES (NULL)",
            ] {
                assert_eq!(kind_of(&failure(&db, sql).await), BAD, "{sql}");
            }
        }
    }

    #[tokio::test]
    async fn text_with_a_nul_is_a_bad_request_where_postgres_refuses_it() {
        let [_, postgres] = Scratch::each().await;
        let db = postgres.connect().await;
        let insert = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "INSERT INTO effects (id, note) VALUES (1, $1)",
            ["a\0b".into()],
        );
        let error = db.execute_raw(insert).await.unwrap_err();
        assert!(error.to_string().contains("0x00"), "{error}");
        assert_eq!(kind_of(&error), BAD);
        assert_eq!(kind_of(&failure(&db, "SELECT 1/0").await), BAD);
        assert_eq!(
            kind_of(&failure(&db, "SELECT 99999999999::int4").await),
            BAD
        );
    }

    #[tokio::test]
    async fn schema_that_is_not_there_yet_is_waited_for() {
        for scratch in Scratch::each().await {
            let db = scratch.connect().await;
            for sql in [
                "INSERT INTO missing (id) VALUES (1)",
                "INSERT INTO effects (missing) VALUES (1)",
                "SELECT missing FROM effects",
            ] {
                let error = failure(&db, sql).await;
                assert_eq!(kind_of(&error), DOWN, "{sql}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn wrong_sql_is_the_functions_own_fault() {
        for scratch in Scratch::each().await {
            let db = scratch.connect().await;
            assert_eq!(kind_of(&failure(&db, "SELEKT 1").await), None);
        }
    }

    #[tokio::test]
    async fn timeouts_locks_and_read_only_transactions_of_postgres_are_waited_for() {
        let [_, postgres] = Scratch::each().await;
        let db = postgres.connect().await;
        db.execute_unprepared("INSERT INTO effects (id) VALUES (1)")
            .await
            .unwrap();
        for (set, sql, code) in [
            (
                "SET LOCAL statement_timeout = 20",
                "SELECT pg_sleep(5)",
                "statement timeout",
            ),
            (
                "SET TRANSACTION READ ONLY",
                "DELETE FROM effects",
                "read-only",
            ),
        ] {
            let transaction = db.begin().await.unwrap();
            transaction.execute_unprepared(set).await.unwrap();
            let error = failure(&transaction, sql).await;
            assert!(error.to_string().contains(code), "{error}");
            assert_eq!(kind_of(&error), DOWN);
        }

        let holder = db.begin().await.unwrap();
        holder
            .execute_unprepared("UPDATE effects SET note = 'mine'")
            .await
            .unwrap();
        let other = db.begin().await.unwrap();
        other
            .execute_unprepared("SET LOCAL lock_timeout = 20")
            .await
            .unwrap();
        let error = failure(&other, "UPDATE effects SET note = 'also mine'").await;
        assert!(error.to_string().contains("lock timeout"), "{error}");
        assert_eq!(kind_of(&error), DOWN);
        other.rollback().await.unwrap();

        let late = db
            .begin_with_config(Some(IsolationLevel::RepeatableRead), None)
            .await
            .unwrap();
        late.query_one_raw(Statement::from_string(
            DbBackend::Postgres,
            "SELECT 1 FROM effects",
        ))
        .await
        .unwrap();
        holder.commit().await.unwrap();
        let error = failure(&late, "UPDATE effects SET note = 'too late'").await;
        assert!(error.to_string().contains("serialize"), "{error}");
        assert_eq!(kind_of(&error), DOWN);
    }

    #[tokio::test]
    async fn connection_that_postgres_ends_is_waited_for() {
        let [_, postgres] = Scratch::each().await;
        let db = postgres.connect().await;
        let error = failure(&db, "SELECT pg_terminate_backend(pg_backend_pid())").await;
        assert_eq!(kind_of(&error), DOWN, "{error}");
    }

    #[tokio::test]
    async fn lock_full_disk_and_read_only_file_of_sqlite_are_waited_for() {
        let [sqlite, _] = Scratch::each().await;
        let holder = sqlite.connect().await;
        let db = impatient(&sqlite).await;

        let writing = holder.begin().await.unwrap();
        writing
            .execute_unprepared("INSERT INTO effects (id) VALUES (1)")
            .await
            .unwrap();
        let error = failure(&db, "INSERT INTO effects (id) VALUES (2)").await;
        assert!(error.to_string().contains("locked"), "{error}");
        assert_eq!(kind_of(&error), DOWN);
        writing.commit().await.unwrap();

        db.execute_unprepared("PRAGMA max_page_count = 1")
            .await
            .unwrap();
        let error = failure(
            &db,
            "INSERT INTO effects (id, note) VALUES (3, hex(zeroblob(100000)))",
        )
        .await;
        assert!(error.to_string().contains("full"), "{error}");
        assert_eq!(kind_of(&error), DOWN);

        db.execute_unprepared("PRAGMA query_only = 1")
            .await
            .unwrap();
        let error = failure(&db, "INSERT INTO effects (id) VALUES (4)").await;
        assert!(error.to_string().contains("readonly"), "{error}");
        assert_eq!(kind_of(&error), DOWN);
    }

    #[tokio::test]
    async fn database_error_is_known_inside_other_errors() {
        #[derive(Debug, thiserror::Error)]
        enum Outer {
            #[error("while storing")]
            Storing(#[source] DbErr),
            #[error(transparent)]
            Hidden(DbErr),
        }

        for scratch in Scratch::each().await {
            let db = scratch.connect().await;
            let error = failure(&db, "INSERT INTO effects (id) VALUES (NULL)").await;
            assert_eq!(kind_of(&Outer::Storing(error.clone())), BAD);
            assert_eq!(kind_of(&Outer::Hidden(error.clone())), BAD);
            assert_eq!(
                crate::Error::from(Outer::Hidden(error)).kind(),
                Kind::BadRequest
            );
        }
        let late = crate::sql::patience::io_error(std::io::ErrorKind::TimedOut, "late");
        assert_eq!(kind_of(&Outer::Hidden(late)), DOWN);
        assert_eq!(
            kind_of(&Outer::Hidden(DbErr::ConnectionAcquire(
                ConnAcquireErr::Timeout
            ))),
            DOWN
        );
        assert_eq!(kind_of(&std::fmt::Error), None);
    }
}

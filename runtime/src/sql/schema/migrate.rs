//! Brings a database's schema up to date. Two at once are safe, and a crash leaves no half.

use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sea_orm::sqlx::{self, Connection};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    SqlxPostgresConnector, SqlxSqliteConnector, Statement, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use tokio::time::Instant;

use super::{ExpectedMigrations, RuntimeMigrations, fitness};
use crate::error::database::{BUSY, is_sqlite};
use crate::error::run_error::RunError;
use crate::sql::address;
use crate::sql::pool::Address;
use crate::sql::table::{self, Table};
use crate::sql::timeout::connection_error;

/// How long a set-up waits for another one that holds a SQLite file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The key of the lock that a set-up holds on a PostgreSQL database: "natsfn" in ASCII.
const LOCK: i64 = 0x6e61_7473_666e;

/// Applies what is missing, the runtime's own and the service's.
pub(crate) async fn migrate<M: MigratorTrait>(url: &str, tables: &[Table]) -> Result<(), RunError> {
    let address = address(url)?;
    let file = address.file();
    let applied = match address {
        Address::Postgres(options) => postgres::<M>(options, tables).await,
        Address::Sqlite(options) => sqlite::<M>(options, tables).await,
    };
    applied.map_err(|error| {
        let place = file.map_or_else(
            || "the database".to_owned(),
            |file| file.display().to_string(),
        );
        RunError::while_doing(
            format!("the schema of {place} (database.url) could not be brought up to date"),
            error,
        )
    })
}

/// A lock of the session's holds for the whole. It is asked for and not waited for in the database,
/// because a statement that waits keeps `CREATE INDEX CONCURRENTLY` waiting too.
async fn postgres<M: MigratorTrait>(
    options: PgConnectOptions,
    tables: &[Table],
) -> Result<(), DbErr> {
    // A migration may take its time, but not while all others queue behind the lock it waits for.
    let options = options.options([("lock_timeout", "30s"), ("statement_timeout", "0")]);
    refuse_unfit(&options).await?;
    let mut lock = PgConnection::connect_with(&options)
        .await
        .map_err(connection_error)?;
    let mut waiting = false;
    while !sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut lock)
        .await
        .map_err(connection_error)?
    {
        if !waiting {
            tracing::info!("waiting for another set-up of the same database");
            waiting = true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(connection_error)?;
    let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    let done = async {
        refuse_newer::<M>(&connection).await?;
        // Each migration is a transaction of its own, unless it says otherwise.
        RuntimeMigrations::up(&connection, None).await?;
        M::up(&connection, None).await?;
        refuse_lack(&connection, tables).await
    }
    .await;
    let _ = connection.close().await;
    // The lock's connection ends in any case; what it says to that changes nothing.
    let _ = lock.close().await;
    done
}

/// A lock of the session's would be nobody's behind a pooler that works by transactions.
async fn refuse_unfit(options: &PgConnectOptions) -> Result<(), DbErr> {
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options.clone())
        .await
        .map_err(connection_error)?;
    let unfit = fitness::unfit(&pool).await.map_err(connection_error)?;
    pool.close().await;
    unfit.map_or(Ok(()), |why| Err(DbErr::Custom(why)))
}

/// One transaction for all of it, which is also the lock between processes.
async fn sqlite<M: MigratorTrait>(
    options: SqliteConnectOptions,
    tables: &[Table],
) -> Result<(), DbErr> {
    // SQLite changes a table by making another; with foreign keys on, dropping the first one would
    // delete what refers to it. They are checked at the end instead.
    let options = options
        .create_if_missing(true)
        .busy_timeout(LOCK_TIMEOUT)
        .foreign_keys(false);
    let connection = open_wal(options).await?;
    let done = async {
        let mode = Some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions {
            sqlite_transaction_mode: mode,
            ..TransactionOptions::default()
        };
        let transaction = connection.begin_with_options(options).await?;
        refuse_newer::<M>(&transaction).await?;
        RuntimeMigrations::up(&transaction, None).await?;
        M::up(&transaction, None).await?;
        refuse_lack(&transaction, tables).await?;
        refuse_dangling(&transaction).await?;
        transaction.commit().await
    }
    .await;
    let _ = connection.close().await;
    done
}

/// Write-ahead logging is a property of the file. SQLite does not wait for the lock that changing
/// it needs, so this does.
async fn open_wal(options: SqliteConnectOptions) -> Result<DatabaseConnection, DbErr> {
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await;
        match pool.map_err(connection_error) {
            Err(error) if is_sqlite(&error, BUSY) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            pool => return Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool?)),
        }
    }
}

async fn refuse_newer<M: MigratorTrait>(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    let difference = ExpectedMigrations::of::<M>().difference(connection).await?;
    difference
        .newer()
        .map_or(Ok(()), |newer| Err(DbErr::Custom(newer)))
}

async fn refuse_lack(connection: &impl ConnectionTrait, tables: &[Table]) -> Result<(), DbErr> {
    let lack = table::lack(connection, tables).await?;
    lack.map_or(Ok(()), |why| Err(DbErr::Custom(why)))
}

async fn refuse_dangling(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    let check = Statement::from_string(
        transaction.get_database_backend(),
        "PRAGMA foreign_key_check",
    );
    match transaction.query_one_raw(check).await? {
        None => Ok(()),
        Some(row) => {
            let table: String = row.try_get_by_index(0)?;
            Err(DbErr::Custom(format!(
                "rows of the table {table} would refer to rows that do not exist"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, DbErr, Statement};
    use sea_orm_migration::{MigrationTrait, MigratorTrait};

    use super::migrate;
    use crate::function::database::Database;
    use crate::sql::scratch::{Effects, Scratch, Sql, number};

    /// Its second migration ends in the middle, as in a crash.
    struct Broken;

    impl MigratorTrait for Broken {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            let mut all = Effects::migrations();
            all.push(Box::new(Sql(
                "m0002_half",
                &["CREATE TABLE half (id bigint)", "SELEKT"],
            )));
            all
        }
    }

    /// The same when it is mended.
    struct Mended;

    impl MigratorTrait for Mended {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            let mut all = Effects::migrations();
            all.push(Box::new(Sql(
                "m0002_half",
                &["CREATE TABLE half (id bigint)"],
            )));
            all
        }
    }

    #[tokio::test]
    async fn many_setups_at_once_make_one_schema() {
        for scratch in Scratch::each_empty().await {
            let setups: Vec<_> = (0..8)
                .map(|_| {
                    let url = scratch.url.clone();
                    tokio::spawn(async move { migrate::<Effects>(&url, &[]).await })
                })
                .collect();
            for setup in setups {
                setup.await.unwrap().unwrap();
            }
            scratch.open().check().await.unwrap();
            assert_eq!(
                number(
                    &scratch.connect().await,
                    "SELECT count(*) FROM seaql_migrations"
                )
                .await,
                1
            );
        }
    }

    #[tokio::test]
    async fn migration_that_ends_in_the_middle_leaves_no_half() {
        for scratch in Scratch::each_empty().await {
            let error = migrate::<Broken>(&scratch.url, &[])
                .await
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("SELEKT") && error.contains("database.url"),
                "{error}"
            );
            let half = scratch
                .connect()
                .await
                .execute_unprepared("SELECT * FROM half")
                .await;
            assert!(matches!(half, Err(DbErr::Exec(_))), "{half:?}");
            migrate::<Mended>(&scratch.url, &[]).await.unwrap();
            assert_eq!(
                number(&scratch.connect().await, "SELECT count(*) FROM half").await,
                0
            );
        }
    }

    #[tokio::test]
    async fn sqlite_file_has_a_write_ahead_log() {
        let [sqlite, _] = Scratch::each().await;
        let db = sqlite.connect().await;
        let mode = Statement::from_string(db.get_database_backend(), "PRAGMA journal_mode");
        let row = db.query_one_raw(mode).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "wal");
    }

    #[tokio::test]
    async fn directory_that_is_not_there_is_named() {
        let error = migrate::<Effects>("sqlite:///no/such/directory/shop.db", &[])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/no/such/directory/shop.db") && error.contains("database.url"),
            "{error}"
        );
    }
}

//! A pool of connections to the database that `database.url` names.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sea_orm::sqlx::{self, ConnectOptions, Connection};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};

const FORMS: &str = "postgres://user:password@host:5432/database or sqlite:///path/to/file.db";

/// How long a request or a batch waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(3);

/// How long SQLite waits for a lock.
const BUSY: Duration = Duration::from_secs(5);

/// A connection that is used all the time shows by itself that it lives; one that rested longer is
/// asked before it is lent, so that a dead one costs no statement.
const RESTED: Duration = Duration::from_secs(5);

/// How long a connection may take to show that it lives.
const PING: Duration = Duration::from_secs(1);

/// What `database.url` names. Statement logging is off: statements carry people's data.
#[derive(Clone)]
pub(super) enum Address {
    Postgres(PgConnectOptions),
    Sqlite(SqliteConnectOptions),
}

impl Address {
    /// Reads `database.url`, or says what is wrong with it, never repeating it: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}; it must be {FORMS}");
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options =
                PgConnectOptions::from_str(url).map_err(|error| wrong(&error.to_string()))?;
            Ok(Self::Postgres(options.disable_statement_logging()))
        } else if url.starts_with("sqlite:") {
            let options =
                SqliteConnectOptions::from_str(url).map_err(|error| wrong(&error.to_string()))?;
            if url.contains(":memory:") || url.contains("mode=memory") {
                return Err(wrong(
                    "a database in memory is gone with its connection, and setup and serve are two processes",
                ));
            }
            if options.get_filename().as_os_str().is_empty() {
                return Err(wrong("it names no file"));
            }
            Ok(Self::Sqlite(options.disable_statement_logging()))
        } else {
            Err(wrong("this kind of database is not known"))
        }
    }

    /// The file of a SQLite database.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Postgres(_) => None,
            Self::Sqlite(options) => Some(options.get_filename().to_owned()),
        }
    }

    /// A pool that connects when it is first used. It needs a tokio runtime around it.
    pub(super) fn open(self, service: &str) -> DatabaseConnection {
        match self {
            Self::Postgres(options) => {
                let pool = PgPoolOptions::new()
                    .max_connections(10)
                    .acquire_timeout(ACQUIRE)
                    .test_before_acquire(false)
                    .before_acquire(|connection, rested| {
                        Box::pin(async move {
                            Ok(rested.idle_for < RESTED || lives(connection, PING).await.is_ok())
                        })
                    })
                    // sqlx asks too, but without a limit: where the database's machine vanished, the
                    // pool would be empty until the kernel gives up, a quarter of an hour later.
                    .after_release(|connection, _| {
                        Box::pin(async move { lives(connection, 5 * PING).await.map(|()| true) })
                    })
                    .connect_lazy_with(postgres_limits(options, service));
                SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
            }
            Self::Sqlite(options) => {
                let options = options
                    .create_if_missing(false) // `setup` makes the file; a wrong path must not.
                    .foreign_keys(true)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(BUSY);
                let pool = SqlitePoolOptions::new()
                    .max_connections(5)
                    .acquire_timeout(ACQUIRE)
                    .test_before_acquire(false)
                    .connect_lazy_with(options);
                SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)
            }
        }
    }
}

/// The server's side of the limits. They stand before what the URL says in `options=-c ...`, which
/// therefore wins; the runtime's own patience ends at 10 s all the same.
fn postgres_limits(options: PgConnectOptions, service: &str) -> PgConnectOptions {
    let options = if options.get_application_name().is_none() {
        options.application_name(service)
    } else {
        options
    };
    let said = options.get_options().unwrap_or_default().to_owned();
    let limits = [
        ("statement_timeout", "8s"),
        ("lock_timeout", "5s"),
        // A process that was stopped in a transaction lets go of its locks.
        ("idle_in_transaction_session_timeout", "60s"),
        // A process whose machine vanished does too.
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "4"),
    ];
    options.options(limits.into_iter().filter(|(name, _)| !said.contains(name)))
}

async fn lives<C: Connection>(connection: &mut C, limit: Duration) -> Result<(), sqlx::Error> {
    tokio::time::timeout(limit, connection.ping())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait;

    use super::Address;
    use crate::sql::scratch::{Scratch, number};

    #[test]
    fn wrong_url_is_told_with_what_is_allowed_and_without_its_password() {
        for url in [
            "",
            "hunter2",
            "mysql://shop:hunter2@localhost/shop",
            "postgres://shop:hunter2@localhost:port/shop",
            "postgres://shop:hunter2@localhost/shop?sslmode=perhaps",
            "shop:hunter2@localhost/shop",
            "sqlite::memory:",
            "sqlite://shop.db?mode=memory",
            "sqlite://shop.db?password=hunter2",
            "sqlite://",
        ] {
            let text = Address::parse(url).err().expect(url);
            assert!(text.contains("postgres://user:password@"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[tokio::test]
    async fn connections_of_sqlite_are_durable_and_check_foreign_keys() {
        let [sqlite, _] = Scratch::each().await;
        let database = sqlite.open();
        assert_eq!(number(&database.db, "PRAGMA synchronous").await, 2);
        assert_eq!(number(&database.db, "PRAGMA foreign_keys").await, 1);
        assert_eq!(number(&database.db, "PRAGMA busy_timeout").await, 5_000);
    }

    #[tokio::test]
    async fn limits_of_postgres_hold_unless_the_url_says_otherwise() {
        let [_, postgres] = Scratch::each().await;
        let database = postgres.open();
        assert_eq!(setting(&database.db, "statement_timeout").await, "8s");
        assert_eq!(setting(&database.db, "lock_timeout").await, "5s");
        assert_eq!(setting(&database.db, "application_name").await, "shop");
        let url = format!(
            "{}&options[lock_timeout]=2s&application_name=other",
            postgres.url
        );
        let database = crate::sql::scratch::open(&url);
        assert_eq!(setting(&database.db, "lock_timeout").await, "2s");
        assert_eq!(setting(&database.db, "application_name").await, "other");
    }

    async fn setting(db: &impl ConnectionTrait, name: &str) -> String {
        let show =
            sea_orm::Statement::from_string(db.get_database_backend(), format!("SHOW {name}"));
        db.query_one_raw(show)
            .await
            .unwrap()
            .unwrap()
            .try_get_by_index(0)
            .unwrap()
    }
}

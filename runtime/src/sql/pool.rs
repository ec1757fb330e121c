//! A pool of connections to the database that `database.url` names.

pub(crate) mod crowd;
mod file;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sea_orm::sqlx::{self, ConnectOptions, Connection};
use sea_orm::{SqlxPostgresConnector, SqlxSqliteConnector};

use super::db::Db;
use super::reuse::{FORGET, PROBE, Reuse, is_outside};
use crate::config::PoolSizes;
use file::File;

const FORMS: &str = "postgres://user:password@host:5432/database or sqlite:///path/to/file.db";

/// How long a batch waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(3);

/// How long a request waits for one, each time that it needs one: a few such waits end within its
/// deadline, so that it is told what it waited for.
const REQUEST_ACQUIRE: Duration = Duration::from_millis(1_500);

/// How long SQLite waits for a lock.
const BUSY: Duration = Duration::from_secs(5);

/// After so long a connection that no request needs is closed: others may want it.
const IDLE: Duration = Duration::from_secs(10);

/// A connection that is used all the time shows by itself that it lives; one that rested longer is
/// asked before it is lent, so that a dead one costs no statement. They are lent in turn, so this costs
/// a busy pool nothing, and no pool more than a round trip a second for each connection.
pub(super) const RESTED: Duration = Duration::from_secs(1);

/// How long a connection may take to show that it lives.
const PING: Duration = Duration::from_secs(1);

/// Who a pool is for.
#[derive(Clone, Copy)]
pub(super) enum User {
    /// Functions that answer requests.
    Requests,
    /// Functions that streams feed, and background work. What they have connected they keep: where
    /// the server has few connections, requests would take it meanwhile.
    Consumers,
}

impl User {
    fn waits(self) -> Duration {
        match self {
            Self::Requests => REQUEST_ACQUIRE,
            Self::Consumers => ACQUIRE,
        }
    }

    /// What is said where every connection is lent.
    fn shortage(self, most: u32) -> String {
        let (who, key) = match self {
            Self::Requests => ("requests", "database.request_connections"),
            Self::Consumers => ("functions of streams", "database.stream_connections"),
        };
        format!("the database answers, but {who} keep every connection to it busy ({key}: {most})")
    }

    fn keeps<D: sqlx::Database>(self, options: PoolOptions<D>) -> PoolOptions<D> {
        match self {
            Self::Requests => options.idle_timeout(IDLE),
            Self::Consumers => options.idle_timeout(None).max_lifetime(None),
        }
    }
}

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

    /// The most connections of each [`User`].
    pub(super) fn sizes(&self, sizes: PoolSizes) -> [u32; 2] {
        let usual = match self {
            Self::Postgres(_) => 10,
            Self::Sqlite(_) => 5,
        };
        [sizes.requests, sizes.streams].map(|size| size.unwrap_or(usual))
    }

    /// A pool that connects when it is first used. It needs a tokio runtime around it.
    pub(super) fn open(self, service: &str, user: User, sizes: PoolSizes) -> Db {
        let most = self.sizes(sizes)[user as usize];
        let reuse = Reuse::default();
        let (lent, returned) = (reuse.clone(), reuse.clone());
        let connection = match self {
            Self::Postgres(options) => {
                let pool = user
                    .keeps(PgPoolOptions::new())
                    .max_connections(most)
                    .acquire_timeout(user.waits())
                    .test_before_acquire(false)
                    .before_acquire(move |connection, its| {
                        let allowed = lent.allows(its.age);
                        Box::pin(async move {
                            let rested = its.idle_for >= RESTED;
                            Ok(allowed && (!rested || lives(connection, PING).await.is_ok()))
                        })
                    })
                    // sqlx asks whether it lives too, but without a limit: where the database's
                    // machine vanished, the pool would be empty until the kernel gives up, a
                    // quarter of an hour later.
                    .after_release(move |connection, its| {
                        let allowed = returned.allows(its.age);
                        Box::pin(
                            async move { Ok(allowed && is_outside(connection, FORGET).await?) },
                        )
                    })
                    .connect_lazy_with(postgres_limits(options, service));
                SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
            }
            Self::Sqlite(options) => {
                let file = Arc::new(File::at(options.get_filename()));
                let (opened, known) = (file.clone(), reuse.clone());
                let options = options
                    .create_if_missing(false) // `setup` makes the file; a wrong path must not.
                    .foreign_keys(true)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(BUSY);
                let pool = user
                    .keeps(SqlitePoolOptions::new())
                    .max_connections(most)
                    .acquire_timeout(user.waits())
                    .test_before_acquire(false)
                    .after_connect(move |_, _| {
                        if opened.is_gone() {
                            known.end_open_ones();
                        }
                        Box::pin(async { Ok(()) })
                    })
                    .before_acquire(move |_, its| {
                        if file.is_gone() {
                            lent.end_open_ones();
                        }
                        let allowed = lent.allows(its.age);
                        Box::pin(async move { Ok(allowed) })
                    })
                    .after_release(move |connection, its| {
                        let allowed = returned.allows(its.age);
                        Box::pin(async move { Ok(allowed && is_outside(connection, PROBE).await?) })
                    })
                    .connect_lazy_with(options);
                SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)
            }
        };
        Db::pooled(connection, reuse)
    }
}

/// The server's side of the limits. They stand before what the URL says in `options=-c ...`, which
/// therefore wins; the runtime's own timeout ends the wait at 10 s all the same.
fn postgres_limits(options: PgConnectOptions, service: &str) -> PgConnectOptions {
    let options = if options.get_application_name().is_none() {
        options.application_name(service)
    } else {
        options
    };
    let said = options.get_options().unwrap_or_default().to_owned();
    let limits = [
        // What is acknowledged must outlive a crash of the database; `off` may be its default.
        ("synchronous_commit", "on"),
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
    use futures_util::FutureExt;
    use sea_orm::{AccessMode, ConnectionTrait, TransactionTrait};

    use super::Address;
    use crate::function::database::{Database, Inbox};
    use crate::sql::scratch::{Scratch, entries, number};

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
    async fn connections_of_postgres_are_durable_whatever_the_database_begins_with() {
        let [_, postgres] = Scratch::each().await;
        let look = postgres.connect().await;
        let relaxed = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', \
                       current_database()); END $$";
        look.execute_unprepared(relaxed).await.unwrap();
        let durable = "SELECT count(*) WHERE current_setting('synchronous_commit') = 'on'";
        assert_eq!(number(&postgres.connect().await, durable).await, 0);
        assert_eq!(number(&postgres.open().db, durable).await, 1);
    }

    #[tokio::test]
    async fn requests_that_hold_every_connection_leave_the_consumers_theirs() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let pool = if scratch.is_postgres() { 10 } else { 5 };
            let mut held = Vec::new();
            for _ in 0..pool {
                let reading = Some(AccessMode::ReadOnly);
                held.push(database.db.begin_with_config(None, reading).await.unwrap());
            }
            let started = tokio::time::Instant::now();
            let consumers = database.for_consumers();
            consumers.check().await.unwrap();
            for seq in 1..=20 {
                let entries = entries(1, 0, [seq]);
                let inbox = Inbox {
                    service: "shop",
                    function: "store",
                    entries: &entries,
                    filter: &[],
                };
                let transaction = consumers.begin(Some(inbox)).await.unwrap();
                transaction.commit(&[]).await.unwrap();
            }
            assert!(
                started.elapsed() < super::ACQUIRE,
                "they waited for requests"
            );
            drop(held);
        }
    }

    #[tokio::test]
    async fn calls_of_stream_functions_leave_one_connection_and_wait_for_each_other() {
        let [_, postgres] = Scratch::each().await;
        let database = postgres.open();
        let consumers = database.for_consumers();
        let mut calls = Vec::new();
        for _ in 0..9 {
            let place = consumers.place().await;
            let transaction = consumers.begin(None).await.unwrap();
            calls.push((transaction, place));
        }
        let mut tenth = consumers.place();
        assert!(
            (&mut tenth).now_or_never().is_none(),
            "all but one are taken"
        );
        // As background work would.
        consumers.check().await.unwrap();

        drop(calls.pop());
        assert!(tenth.await.is_some());
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

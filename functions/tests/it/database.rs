//! A database for one test, of either kind, with chat's schema; it goes away with the test.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use migrations::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, sqlx::sqlite::SqliteJournalMode,
};
use tempfile::TempDir;

/// One database. Dropping it deletes it, also when the test panics.
pub(crate) struct Database {
    /// Where it is, for a process or a pool of the test's own.
    #[allow(dead_code, reason = "the unit tests need the pool only")]
    pub(crate) url: String,
    /// A pool to it.
    pub(crate) pool: DatabaseConnection,
    home: Home,
}

/// What must be deleted.
enum Home {
    #[allow(dead_code, reason = "the unit tests have no server of their own")]
    Elsewhere,
    Directory(#[expect(dead_code, reason = "held for its Drop")] TempDir),
    Server {
        url: String,
        name: String,
    },
}

impl Database {
    /// One of each kind, with the schema: `for database in Database::each().await { ... }`.
    #[allow(
        dead_code,
        reason = "the integration tests let chat's own set-up migrate"
    )]
    pub(crate) async fn each() -> [Self; 2] {
        let each = [Self::empty_sqlite().await, Self::empty_postgres().await];
        for database in &each {
            Migrator::up(&database.pool, None)
                .await
                .expect("the migrations apply to an empty database");
        }
        each
    }

    /// A SQLite file without tables, set up as the runtime does: WAL, and waiting for a lock.
    pub(crate) async fn empty_sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!(
            "sqlite://{}?mode=rwc",
            directory.path().join("chat.db").display()
        );
        let mut options = ConnectOptions::new(&url);
        options.map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                .busy_timeout(Duration::from_secs(30))
        });
        Self {
            pool: connect(options).await,
            url,
            home: Home::Directory(directory),
        }
    }

    /// A database that goes away with its server.
    #[allow(dead_code, reason = "the unit tests have no server of their own")]
    pub(crate) async fn of_url(url: &str) -> Self {
        Self {
            // Where the server has few connections, a second one would be waited for in vain.
            pool: connect_up_to(1, ConnectOptions::new(url)).await,
            url: url.to_owned(),
            home: Home::Elsewhere,
        }
    }

    /// A PostgreSQL database without tables, beside the one that `TEST_DATABASE_URL` names.
    pub(crate) async fn empty_postgres() -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("TEST_DATABASE_URL must name a running PostgreSQL: `cargo xtask test` starts one and sets it");
        let name = format!(
            "chat_test_{:016x}",
            RandomState::new().build_hasher().finish()
        );
        let url = beside(&server, &name);
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        Self {
            pool: connect(ConnectOptions::new(&url)).await,
            url,
            home: Home::Server { url: server, name },
        }
    }

    /// Runs statements on a connection of its own: SQLite's others may not know yet what was changed.
    #[allow(dead_code, reason = "the unit tests change no schema")]
    pub(crate) async fn execute(&self, sql: &str) {
        execute(&self.url, sql).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Home::Server { url, name } = &self.home else {
            return;
        };
        let (url, drop) = (
            url.clone(),
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        );
        // A runtime of its own: the test's may be busy with its panic, or wait for this very thread.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(execute(&url, &drop));
        });
        if thread.join().is_err() && !std::thread::panicking() {
            panic!("the test's database could not be dropped");
        }
    }
}

async fn connect(options: ConnectOptions) -> DatabaseConnection {
    connect_up_to(8, options).await
}

async fn connect_up_to(most: u32, mut options: ConnectOptions) -> DatabaseConnection {
    options.max_connections(most).sqlx_logging(false);
    // Boxed, because its future is of 17 KB and every test would carry that.
    let connect = Box::pin(sea_orm::Database::connect(options));
    connect
        .await
        .expect("the test's database takes connections")
}

async fn execute(url: &str, sql: &str) {
    let server = connect(ConnectOptions::new(url)).await;
    server.execute_unprepared(sql).await.expect(sql);
    server.close().await.expect("the connection closes");
}

/// The same URL with another database's name.
fn beside(url: &str, name: &str) -> String {
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    let (server, _) = path
        .rsplit_once('/')
        .expect("TEST_DATABASE_URL ends with /<database>");
    match query {
        Some(query) => format!("{server}/{name}?{query}"),
        None => format!("{server}/{name}"),
    }
}

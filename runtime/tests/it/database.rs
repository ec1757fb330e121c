//! A database for one test, of either kind; it goes away with the test.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, Statement,
    TransactionTrait,
};
use tempfile::TempDir;

/// One empty database. Dropping it deletes it, also when the test panics.
pub(crate) struct Database {
    pub(crate) url: String,
    home: Home,
}

enum Home {
    Directory(#[expect(dead_code, reason = "held for its Drop")] TempDir),
    Server { url: String, name: String },
}

impl Database {
    /// One of each kind.
    pub(crate) async fn each() -> [Self; 2] {
        [Self::sqlite(), Self::postgres().await]
    }

    fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("test.db").display());
        Self {
            url,
            home: Home::Directory(directory),
        }
    }

    pub(crate) async fn postgres() -> Self {
        let server = std::env::var("TEST_DATABASE_URL").expect(
            "TEST_DATABASE_URL must name a running PostgreSQL: `cargo xtask test` starts one and sets it",
        );
        let random = RandomState::new().build_hasher().finish();
        let name = format!("natsfn_test_{random:016x}");
        let (path, query) = server.split_once('?').unwrap_or((&server, ""));
        let (host, _) = path
            .rsplit_once('/')
            .expect("TEST_DATABASE_URL ends with /<database>");
        let url = format!("{host}/{name}?{query}");
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        let home = Home::Server { url: server, name };
        Self { url, home }
    }

    /// Runs statements on a connection of its own.
    pub(crate) async fn execute(&self, sql: &str) {
        execute(&self.url, sql).await;
    }

    /// Lets nobody connect, and ends the connections that there are; or lets everybody again.
    pub(crate) async fn allow_connections(&self, allowed: bool) {
        let Home::Server { url, name } = &self.home else {
            panic!("a file cannot refuse connections");
        };
        let allow = format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {allowed}");
        execute(url, &allow).await;
        if !allowed {
            let ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname";
            execute(url, &format!("{ends} = '{name}'")).await;
        }
    }

    /// Keeps everybody from a table until it is rolled back.
    pub(crate) async fn lock(&self, table: &str) -> DatabaseTransaction {
        let lock = connect(&self.url).await.begin().await.unwrap();
        let all = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        lock.execute_unprepared(&all).await.unwrap();
        lock
    }

    /// The number that a query answers.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let db = connect(&self.url).await;
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Home::Server { url, name } = &self.home else {
            return;
        };
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let url = url.clone();
        // A runtime of its own: the test's may be busy with its panic, or wait for this very thread.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(execute(&url, &drop));
        });
        if thread.join().is_err() && !std::thread::panicking() {
            panic!("the test's database could not be dropped");
        }
    }
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await.unwrap()
}

async fn execute(url: &str, sql: &str) {
    let db = connect(url).await;
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}

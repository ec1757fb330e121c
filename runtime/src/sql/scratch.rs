//! A database for one test, of either kind, and messages for its inbox.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::SqlDatabase;
use super::schema::ExpectedMigrations;
use crate::config::PoolSizes;
use crate::error::Result;
use crate::function::database::{Database, Inbox, Transaction};
use crate::function::event::{Entry, Message, StreamId};
use crate::function::template::Template;

/// One database. Dropping it deletes it, also when the test panics.
pub(super) struct Scratch {
    pub(super) url: String,
    home: Home,
}

enum Home {
    Directory(TempDir),
    Server { url: String, name: String },
}

impl Scratch {
    /// One of each kind, with the tables of [`Effects`].
    pub(super) async fn each() -> [Self; 2] {
        let each = Self::each_empty().await;
        for scratch in &each {
            crate::sql::schema::migrate::migrate::<Effects>(&scratch.url, &[])
                .await
                .expect("the migrations apply");
        }
        each
    }

    /// One of each kind, without tables; the SQLite one is not even a file.
    pub(super) async fn each_empty() -> [Self; 2] {
        [Self::sqlite(), Self::postgres().await]
    }

    fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!(
            "sqlite://{}?mode=rwc",
            directory.path().join("test.db").display()
        );
        Self {
            url,
            home: Home::Directory(directory),
        }
    }

    async fn postgres() -> Self {
        Self::postgres_made("").await
    }

    /// A PostgreSQL database that CREATE DATABASE makes with these options.
    pub(super) async fn postgres_made(options: &str) -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("TEST_DATABASE_URL must name a running PostgreSQL: `cargo xtask test` starts one and sets it");
        let name = format!(
            "natsfn_test_{:016x}",
            RandomState::new().build_hasher().finish()
        );
        let (path, query) = server.split_once('?').unwrap_or((&server, ""));
        let (host, _) = path
            .rsplit_once('/')
            .expect("TEST_DATABASE_URL ends with /<database>");
        let url = format!("{host}/{name}?{query}");
        on(&server, &format!("CREATE DATABASE {name} {options}")).await;
        Self {
            url,
            home: Home::Server { url: server, name },
        }
    }

    /// The database as the runtime has it, in one more process so to speak.
    pub(super) fn open(&self) -> SqlDatabase {
        open(&self.url)
    }

    /// A plain connection for looking.
    pub(super) async fn connect(&self) -> DatabaseConnection {
        connect(&self.url).await
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.home, Home::Server { .. })
    }

    pub(super) fn directory(&self) -> Option<&std::path::Path> {
        match &self.home {
            Home::Directory(directory) => Some(directory.path()),
            Home::Server { .. } => None,
        }
    }
}

impl Drop for Scratch {
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
            runtime.expect("a runtime").block_on(on(&url, &drop));
        });
        if thread.join().is_err() && !std::thread::panicking() {
            panic!("the test's database could not be dropped");
        }
    }
}

pub(super) fn open(url: &str) -> SqlDatabase {
    SqlDatabase::open(
        "shop",
        url,
        ExpectedMigrations::of::<Effects>(),
        &[],
        PoolSizes::default(),
    )
    .expect("a good URL")
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(2).sqlx_logging(false);
    sea_orm::Database::connect(options)
        .await
        .expect("the test's database takes connections")
}

async fn on(url: &str, sql: &str) {
    let server = connect(url).await;
    server.execute_unprepared(sql).await.expect(sql);
    server.close().await.expect("the connection closes");
}

/// The number that a query answers.
pub(super) async fn number(db: &impl ConnectionTrait, sql: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db
        .query_one_raw(statement)
        .await
        .expect(sql)
        .expect("a row");
    row.try_get_by_index(0).expect("a number")
}

/// A service's migrations: one table.
pub(super) struct Effects;

impl MigratorTrait for Effects {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Sql(
            "m0001_effects",
            &["CREATE TABLE effects (id bigint NOT NULL UNIQUE, note text)"],
        ))]
    }
}

/// A migration that is some statements.
pub(super) struct Sql(pub(super) &'static str, pub(super) &'static [&'static str]);

impl MigrationName for Sql {
    fn name(&self) -> &str {
        self.0
    }
}

#[sea_orm::prelude::async_trait::async_trait]
#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait elides them, and async_trait takes only what is written alike"
)]
impl MigrationTrait for Sql {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in self.1 {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }
}

/// Messages of the stream ORDERS that was made `life` seconds after 1970.
pub(super) fn entries(
    life: u64,
    floor: u64,
    seqs: impl IntoIterator<Item = u64>,
) -> Vec<Arc<Entry>> {
    entries_nth(1, life, floor, seqs)
}

/// The same at their nth delivery.
pub(super) fn entries_nth(
    nth: u64,
    life: u64,
    floor: u64,
    seqs: impl IntoIterator<Item = u64>,
) -> Vec<Arc<Entry>> {
    let created = UNIX_EPOCH + Duration::from_secs(life);
    let stream = Arc::new(StreamId {
        name: "ORDERS".to_owned(),
        created,
        ack_floor: floor,
    });
    let message = |seq| Message {
        subject: "orders.new".into(),
        headers: Default::default(),
        payload: Default::default(),
        seq,
        time_ns: 0,
        unreadable: None,
    };
    let entry = |seq| Entry {
        message: message(seq),
        stream: stream.clone(),
        delivered: nth,
        decoded: None,
    };
    seqs.into_iter().map(|seq| Arc::new(entry(seq))).collect()
}

/// Begins as the consumer of the function `store` does.
pub(super) async fn begin(
    database: &SqlDatabase,
    entries: &[Arc<Entry>],
) -> Result<Box<dyn Transaction>> {
    begin_of("orders.>", database, entries).await
}

/// The same, of a consumer with this filter.
pub(super) async fn begin_of(
    filter: &str,
    database: &SqlDatabase,
    entries: &[Arc<Entry>],
) -> Result<Box<dyn Transaction>> {
    let filter: Vec<Template> = filter
        .split_whitespace()
        .map(|one| Template::parse(one).unwrap())
        .collect();
    database
        .begin(Some(Inbox {
            service: "shop",
            function: "store",
            entries,
            filter: &filter,
        }))
        .await
}

/// A place in front of a PostgreSQL server from which the network to it can be disturbed.
pub(super) struct Network {
    pub(super) url: String,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Flows,
    StandsStill,
    Cut,
}

impl Network {
    pub(super) async fn before(scratch: &Scratch) -> Self {
        let mut url = url_of(&scratch.url);
        let server = (url.host, url.port);
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        url.port = listener.local_addr().expect("an address").port();
        url.host = "127.0.0.1".to_owned();
        let (state, watched) = watch::channel(State::Flows);
        tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    return;
                };
                if *watched.borrow() == State::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect((server.0.as_str(), server.1)).await else {
                    continue;
                };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::spawn(carry(near_in, far_out, watched.clone()));
                tokio::spawn(carry(far_in, near_out, watched.clone()));
            }
        });
        Self {
            url: format!("{}{}:{}{}", url.before, url.host, url.port, url.after),
            state,
        }
    }

    pub(super) fn flow(&self) {
        self.state.send_replace(State::Flows);
    }

    pub(super) fn stand_still(&self) {
        self.state.send_replace(State::StandsStill);
    }

    pub(super) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = state.wait_for(|state| *state == State::Cut) => return,
        };
        let Ok(now) = state
            .wait_for(|state| *state != State::StandsStill)
            .await
            .map(|now| *now)
        else {
            return;
        };
        if now == State::Cut || read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

pub(super) struct Parts {
    pub(super) before: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) after: String,
}

pub(super) fn url_of(url: &str) -> Parts {
    let start = url
        .find('@')
        .map_or_else(|| url.find("//").expect("a URL") + 2, |at| at + 1);
    let end = url[start..].find('/').expect("a database") + start;
    let (host, port) = url[start..end]
        .rsplit_once(':')
        .unwrap_or((&url[start..end], "5432"));
    Parts {
        before: url[..start].to_owned(),
        host: host.to_owned(),
        port: port.parse().expect("a port"),
        after: url[end..].to_owned(),
    }
}

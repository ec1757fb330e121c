//! The world of one test: a nats-server with chat's configuration, a database, chat in this
//! process, and what a test asks of them as somebody who may.

use std::panic::AssertUnwindSafe;

use async_nats::HeaderMap;
use bytes::Bytes;
use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use futures_util::FutureExt;
use natsfn::testing::TestServer;
use natsfn::{Nats, Running, Service};

use crate::database::Database;
use crate::door::Doorman;
use crate::person::Person;
use crate::server::{NATS_CONF, connect, server};

/// A server and a database, set up.
pub(crate) struct World {
    pub(crate) server: TestServer,
    pub(crate) database: Database,
    pub(crate) config: Config,
    /// A connection for `setup`.
    pub(crate) setup: Nats,
    /// Looks at everything.
    pub(crate) operator: Nats,
    /// Lets people in.
    pub(crate) doorman: Doorman,
}

/// A configuration whose limits on sending and reading no test meets by accident.
pub(crate) fn unlimited() -> Config {
    let mut config = Config::default();
    config.send.rate = 1e6;
    config.send.burst = 1_000_000;
    config.history.rate = 1e6;
    config.history.burst = 1_000_000;
    config.history.in_flight = 1_000_000;
    config.page.listen.set_port(0);
    config
}

/// Shows with a failed test what the service warned of: the caller of a function that failed is only
/// told to try again.
fn log_warnings() {
    // The other tests of this process have done so already.
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_test_writer()
        .try_init();
}

/// Runs a test on PostgreSQL and on SQLite, side by side.
pub(crate) async fn on_each(test: impl AsyncFn(World)) {
    on_each_with(unlimited(), test).await;
}

/// As [`on_each`] with a configuration.
pub(crate) async fn on_each_with(config: Config, test: impl AsyncFn(World)) {
    let run = async |name: &str, database: Database| {
        let world = World::of(database, config.clone()).await;
        let done = AssertUnwindSafe(test(world)).catch_unwind().await;
        assert!(done.is_ok(), "this failed on {name}, see above");
    };
    let (sqlite, postgres) = (
        Database::empty_sqlite().await,
        Database::empty_postgres().await,
    );
    futures_util::join!(
        Box::pin(run("SQLite", sqlite)),
        Box::pin(run("PostgreSQL", postgres))
    );
}

impl World {
    /// One with SQLite, for what does not depend on the database.
    pub(crate) async fn new() -> Self {
        Self::with(unlimited()).await
    }

    /// As [`World::new`] with a configuration.
    pub(crate) async fn with(config: Config) -> Self {
        Self::of(Database::empty_sqlite().await, config).await
    }

    /// On a server whose configuration differs from chat's own.
    pub(crate) async fn on(server: TestServer) -> Self {
        Self::assemble(server, Database::empty_sqlite().await, unlimited()).await
    }

    /// On both.
    pub(crate) async fn on_both(server: TestServer, database: Database) -> Self {
        Self::assemble(server, database, unlimited()).await
    }

    /// On this database.
    pub(crate) async fn of(database: Database, config: Config) -> Self {
        Self::assemble(server(NATS_CONF).await, database, config).await
    }

    async fn assemble(server: TestServer, database: Database, config: Config) -> Self {
        log_warnings();
        let setup = connect(&server, "setup", "_INBOX.s.setup").await;
        let operator = connect(&server, "operator", "_INBOX.o.operator").await;
        let doorman = Doorman::at(server.url()).await;
        let world = Self {
            server,
            database,
            config,
            setup,
            operator,
            doorman,
        };
        world.set_up().await.unwrap();
        world
    }

    /// What `chat setup` does.
    pub(crate) async fn set_up(&self) -> Result<(), natsfn::RunError> {
        let definition = self.service().build().unwrap();
        natsfn::setup::setup(&definition, &self.setup, Some(&self.database.url)).await
    }

    /// chat as it is configured here.
    pub(crate) fn service(&self) -> Service<App> {
        chat_service(App::new(self.config.clone()))
    }

    /// Every function, as `chat serve` serves them.
    pub(crate) async fn serve(&self) -> Running {
        self.serve_only(&[]).await
    }

    /// `chat serve FUNCTION...`, as the user chat.
    pub(crate) async fn serve_only(&self, functions: &[&str]) -> Running {
        self.start("chat", self.service(), functions).await.unwrap()
    }

    /// A service that differs from chat's own, or runs as another user.
    pub(crate) async fn start(
        &self,
        user: &str,
        service: Service<App>,
        functions: &[&str],
    ) -> Result<Running, natsfn::RunError> {
        let functions: Vec<String> = functions.iter().map(ToString::to_string).collect();
        let definition = service.build()?.only(&functions)?;
        let nats = connect(&self.server, user, &format!("_INBOX.s.{user}")).await;
        natsfn::start(definition, nats, Some(&self.database.url)).await
    }

    /// Somebody in the account PEOPLE.
    pub(crate) async fn person(&self, name: &str) -> Person {
        Person::connect(self.server.url(), name, &format!("_INBOX.u.{name}")).await
    }

    /// A trusted back end.
    pub(crate) async fn backend(&self) -> natsfn::Client {
        natsfn::Client::new(connect(&self.server, "backend", "_INBOX.o.backend").await)
    }
}

/// Appends to the log as a trusted back end and returns the sequence.
pub(crate) async fn append(
    backend: &natsfn::Client,
    subject: &str,
    id: Option<&str>,
    payload: impl Into<Bytes>,
) -> u64 {
    let appended = backend
        .append(subject, id, HeaderMap::new(), payload.into())
        .await
        .unwrap();
    appended.seq
}

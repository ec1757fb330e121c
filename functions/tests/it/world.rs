//! The world of one test: a nats-server with chat's configuration, a database, chat in this
//! process, and what a test asks of them as somebody who may.

use std::panic::AssertUnwindSafe;

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use chat::entity::messages;
use futures_util::FutureExt;
use natsfn::config::{Login, NatsConfig};
use natsfn::dead_letter::{self, DeadLetter};
use natsfn::testing::{self, TestServer};
use natsfn::{Running, Service};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::Value;

use crate::database::Database;
use crate::person::Person;
use crate::wait::until;

/// chat's one server configuration, as it stands in the repository.
pub(crate) const NATS_CONF: &str = include_str!("../../../nats.conf");

/// Who has a password in it.
const USERS: [&str; 12] = [
    "alice", "bob", "charlie", "send", "history", "persist", "chat", "setup", "dead", "operator",
    "backend", "sys",
];

/// A server and a database, set up.
pub(crate) struct World {
    pub(crate) server: TestServer,
    pub(crate) database: Database,
    pub(crate) config: Config,
    /// A connection that may call the JetStream API.
    pub(crate) setup: Client,
}

/// A configuration whose limit on sending no test meets by accident.
pub(crate) fn unlimited() -> Config {
    let mut config = Config::default();
    config.send.rate = 1e6;
    config.send.burst = 1_000_000;
    config
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

    async fn of(database: Database, config: Config) -> Self {
        Self::assemble(server(NATS_CONF).await, database, config).await
    }

    async fn assemble(server: TestServer, database: Database, config: Config) -> Self {
        let setup = connect(&server, "setup", "_INBOX.s.setup").await;
        let world = Self {
            server,
            database,
            config,
            setup,
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

    /// Calls the JetStream API.
    pub(crate) async fn api(&self, call: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self
            .setup
            .request(format!("$JS.API.{call}"), body.into())
            .await
            .unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }

    /// The log's state.
    pub(crate) async fn log(&self) -> Value {
        self.api("STREAM.INFO.CHAT_MESSAGES", &Value::Null).await["state"].clone()
    }

    /// One message of the log, as direct get answers it.
    pub(crate) async fn logged(&self, seq: u64) -> async_nats::Message {
        let question = serde_json::json!({ "seq": seq }).to_string();
        let subject = "$JS.API.DIRECT.GET.CHAT_MESSAGES";
        self.setup.request(subject, question.into()).await.unwrap()
    }

    /// What the server says of persist's consumer.
    pub(crate) async fn consumer(&self) -> Value {
        self.api("CONSUMER.INFO.CHAT_MESSAGES.persist", &Value::Null)
            .await
    }

    /// Lets the server notice a dead instance after a second instead of half a minute.
    pub(crate) async fn notice_crashes_soon(&self) {
        let mut config = self.consumer().await["config"].clone();
        config["ack_wait"] = 1_000_000_000.into();
        let body = serde_json::json!({ "stream_name": "CHAT_MESSAGES", "config": config });
        let updated = self
            .api("CONSUMER.CREATE.CHAT_MESSAGES.persist", &body)
            .await;
        assert_eq!(updated["config"]["ack_wait"], 1_000_000_000, "{updated}");
    }

    /// What persist's own endpoint says of its state.
    pub(crate) async fn state_of_persist(&self) -> Value {
        let operator = connect(&self.server, "operator", "_INBOX.o.operator").await;
        let answer = operator
            .request("fn.chat.persist", "".into())
            .await
            .unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }

    /// Waits until everything in the log is settled: stored or a dead letter.
    pub(crate) async fn settled(&self) {
        until("everything in the log is settled", async || {
            let (log, consumer) = (self.log().await, self.consumer().await);
            let floor = &consumer["ack_floor"]["stream_seq"];
            (*floor == log["last_seq"] && consumer["num_ack_pending"] == 0).then_some(())
        })
        .await;
    }

    /// Every row, in the order of positions.
    pub(crate) async fn rows(&self) -> Vec<messages::Model> {
        let find = messages::Entity::find()
            .order_by_asc(messages::Column::Epoch)
            .order_by_asc(messages::Column::Seq);
        find.all(&self.database.pool).await.unwrap()
    }

    /// The texts of every row, in the order of positions.
    pub(crate) async fn texts(&self) -> Vec<String> {
        self.rows().await.into_iter().map(|row| row.text).collect()
    }

    /// A connection for [`dead_letter`]'s functions.
    pub(crate) async fn dead(&self) -> Client {
        connect(&self.server, "dead", "_INBOX.s.dead").await
    }

    /// Every dead letter of chat, in the order in which the log had them.
    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let mut letters = dead_letter::list(&self.dead().await, "chat", 0, 10_000)
            .await
            .unwrap();
        letters.sort_by_key(|letter| letter.sequence);
        letters
    }
}

/// A nats-server with a configuration as chat's; every password is the user's name.
pub(crate) async fn server(text: &str) -> TestServer {
    testing::nats_with(|config| {
        let config = config
            .text(text)
            .list("NATS_CONF_WEBSOCKET_ORIGINS", ["http://localhost:3000"]);
        USERS.iter().fold(config, |config, user| {
            config.variable(format!("NATS_CONF_PASSWORD_{}", user.to_uppercase()), user)
        })
    })
    .await
}

/// Connects as one of the users.
pub(crate) async fn connect(server: &TestServer, user: &str, inbox: &str) -> Client {
    login(server.url(), user, inbox).await
}

/// As [`connect`] in another process, which knows the address only.
pub(crate) async fn login(url: &str, user: &str, inbox: &str) -> Client {
    let config = NatsConfig {
        url: url.to_owned(),
        ..NatsConfig::default()
    };
    let config = config.login(&Login::new(user, user, inbox));
    natsfn::connect_once(&config, user).await.unwrap()
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

//! chat: people write in rooms, and find every message again.
//!
//! JetStream is the write-ahead log: [`send()`] appends a message, [`persist()`] stores it in the
//! database, [`history()`] reads both. [`page()`] serves the web page. [`auth()`] says who
//! may connect. Each is a plain function in its own file; [`chat_service`] and [`auth_service`] list
//! them.

pub mod app;
pub mod auth;
pub mod config;
pub mod history;
pub mod message;
pub mod page;
pub mod persist;
pub mod place;
pub mod send;
pub mod store;
pub mod subjects;
pub mod tail;
pub mod trim;

#[cfg(test)]
#[path = "../tests/it/database.rs"]
mod database;

use std::time::Duration;

use migrations::Migrator;
use natsfn::{Access, Consumer, Endpoint, RateLimit, Retry, RunError, Service, Work};

use app::App;
use auth::{Door, auth, keep_keys, session};
use config::Config;
use history::history;
use message::identity::Identity;
use page::page;
use persist::persist;
use send::send;
use store::entity::{epochs, messages};
use store::stored::{Passed, stored_up_to};
use subjects::{CONSUMER, LIVE, LOG};
use trim::trim;

/// chat, made from its configuration, and `auth` beside it where that is configured: other functions'
/// processes need no keys.
///
/// # Errors
/// What is wrong with the keys or the file of users.
pub async fn chat(config: Config) -> Result<Service<App>, RunError> {
    let door = match &config.auth {
        auth if auth.issuer.is_none() && auth.xkey.is_none() => None,
        auth => Some(Door::open(auth)?),
    };
    let chat = chat_service(App::new(config));
    Ok(match door {
        Some(door) => chat.beside(auth_service(door)),
        None => chat,
    })
}

/// chat's functions.
pub fn chat_service(app: App) -> Service<App> {
    let config = &app.config;
    // One limit for both endpoints: a person has one allowance for all rooms.
    let limit = RateLimit::new(config.send.rate, config.send.burst).by(Identity::key);
    let send_to = |name, subject| {
        let endpoint = Endpoint::new(name, subject).rate_limit(limit.clone());
        // A message that is repeated is read again.
        endpoint.uses(Access::messages(LOG))
    };
    let reads = &config.history;
    let limit = RateLimit::new(reads.rate, reads.burst)
        .in_flight(reads.in_flight)
        .by(Identity::key);
    let history_of = |name, subject, log: &str| {
        let endpoint = Endpoint::new(name, subject).rate_limit(limit.clone());
        // The messages that are not in the database yet, and how far it is.
        endpoint
            .uses(Access::ranges(LOG))
            .uses(Access::messages(LOG))
            .uses(Access::stream_info(LOG))
            .uses(Access::consumer_info(LOG, CONSUMER))
            .uses(Access::hears(format!("{LIVE}{log}")))
    };
    let log = subjects::log(&config.stream);

    let passed = Passed::default();
    Service::new("chat", env!("CARGO_PKG_VERSION"))
        .description("Rooms whose messages are stored once and found again")
        .min_server(2, 14, 0)
        .state(app)
        .database::<Migrator>()
        .entity::<messages::Entity>()
        .entity::<epochs::Entity>()
        .endpoint(
            send_to("send", "chat.send.{room}").publishes("chat.{room}"),
            send,
        )
        .endpoint(
            send_to("admin-send", "admin.send.{room}").publishes("admin.{room}"),
            send,
        )
        .endpoint(
            history_of("history", "chat.history.{room}", "chat.{room}"),
            history,
        )
        .endpoint(
            history_of("admin-history", "admin.history.{room}", "admin.{room}"),
            history,
        )
        .consumer(
            Consumer::new("persist", log)
                .durable(CONSUMER)
                .max_batch(1_000)
                // One batch commits while the next is written; the natural key permits any order.
                .max_in_flight(2)
                // How long a crashed process's messages wait for another process.
                .ack_wait(Duration::from_secs(5))
                // The log is trimmed up to the first message that is not settled: a bad one may not wait long.
                .retry(
                    Retry::exponential(Duration::from_millis(500)..=Duration::from_secs(30))
                        .attempts(5)
                        .within(Duration::from_secs(3600)),
                )
                .natural_key()
                // The floor compares the log with the database, in `setup` too.
                .uses(Access::messages(LOG))
                .uses(Access::stream_info(LOG))
                .floor(move |context, stream| stored_up_to(context, stream, passed.clone())),
            persist,
        )
        .task(Work::of("persist").uses(Access::purge(LOG)), trim)
        .task("page", page)
}

/// The service `auth`, in an account of its own: who may connect, and as whom.
pub fn auth_service(door: Door) -> Service<Door> {
    let login = Endpoint::auth_callout("auth", door.keys());
    // A person asks once for each login.
    let limit = RateLimit::new(1.0, 10).by(Identity::key);
    let begin = Endpoint::new("session", subjects::SESSION).rate_limit(limit);
    Service::new("auth", env!("CARGO_PKG_VERSION"))
        .description("Says who may connect to chat, and what for")
        .min_server(2, 14, 0)
        .state(door)
        // Those that wait for the issuer of tokens are not in the way of those that need not.
        .endpoint(login.max_in_flight(4_096), auth)
        .endpoint(begin, session)
        .task("auth", keep_keys)
}

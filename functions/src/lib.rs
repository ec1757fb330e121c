//! chat: people write in rooms, and find every message again.
//!
//! JetStream is the write-ahead log. [`send()`] appends to it, [`persist()`] moves it into the
//! database, [`history()`] serves both as one; [`page()`] is what people open. Each is a plain function in a file of its own; what
//! makes a service of them stands here, and reads as chat's table of contents.

pub mod app;
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
use natsfn::{Consumer, Endpoint, RateLimit, RunError, Service};

use app::App;
use config::Config;
use history::history;
use message::identity::Identity;
use page::page;
use persist::persist;
use send::send;
use store::entity::{epochs, messages};
use store::stored::{Passed, stored_up_to};
use trim::trim;

/// chat, made from its configuration.
///
/// # Errors
/// None so far: a configuration that could be read is right.
pub async fn chat(config: Config) -> Result<Service<App>, RunError> {
    Ok(chat_service(App::new(config)))
}

/// chat's functions.
pub fn chat_service(app: App) -> Service<App> {
    let config = &app.config;
    // One limit for both: a person has one allowance, whatever the room.
    let limit = RateLimit::new(config.send.rate, config.send.burst).by(Identity::key);
    let send_to = |name, subject| Endpoint::new(name, subject).rate_limit(limit.clone());
    let reads = &config.history;
    let limit = RateLimit::new(reads.rate, reads.burst)
        .in_flight(reads.in_flight)
        .by(Identity::key);
    let history_of = |name, subject| Endpoint::new(name, subject).rate_limit(limit.clone());
    let log = subjects::log(&config.stream);

    let passed = Passed::default();
    Service::new("chat", env!("CARGO_PKG_VERSION"))
        .description("Rooms whose messages are stored once and found again")
        .min_server(2, 14, 0)
        .state(app)
        .database::<Migrator>()
        .entity::<messages::Entity>()
        .entity::<epochs::Entity>()
        .endpoint(send_to("send", "chat.send.{room}"), send)
        .endpoint(send_to("admin-send", "admin.send.{room}"), send)
        .endpoint(history_of("history", "chat.history.{room}"), history)
        .endpoint(history_of("admin-history", "admin.history.{room}"), history)
        .consumer(
            Consumer::new("persist", log)
                .durable(subjects::CONSUMER)
                .max_batch(1_000)
                // One waits for the disk while the other is written; the key makes order harmless.
                .max_in_flight(2)
                // How long the messages of a crashed process wait for another.
                .ack_wait(Duration::from_secs(5))
                .natural_key()
                .floor(move |context, stream| stored_up_to(context, stream, passed.clone())),
            persist,
        )
        .task("persist", trim)
        .task("page", page)
}

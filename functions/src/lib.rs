//! chat: people write in rooms, and find every message again.
//!
//! JetStream is the write-ahead log. [`send()`] appends to it, [`persist()`] moves it into the
//! database, [`history()`] serves both as one; [`page()`] is what people open. Each is a plain function in a file of its own; what
//! makes a service of them stands here, and reads as chat's table of contents.

pub mod app;
pub mod config;
pub mod entity;
pub mod epoch;
pub mod history;
pub mod identity;
pub mod insert;
pub mod logged;
pub mod merge;
pub mod message;
pub mod page;
pub mod persist;
pub mod place;
pub mod question;
pub mod room;
pub mod rows;
pub mod send;
pub mod subjects;
pub mod tail;
pub mod trim;
pub mod visible;

#[cfg(test)]
#[path = "../tests/it/database.rs"]
mod database;

use std::time::Duration;

use migrations::Migrator;
use natsfn::{Consumer, Endpoint, RateLimit, RunError, Service};

use app::App;
use config::Config;
use history::history;
use identity::Identity;
use page::page;
use persist::{persist, stored_up_to};
use send::send;
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
    let log = subjects::log(&config.stream);
    let behind = app.clone();

    Service::new("chat", env!("CARGO_PKG_VERSION"))
        .description("Rooms whose messages are stored once and found again")
        .min_server(2, 14, 0)
        .state(app)
        .database::<Migrator>()
        .endpoint(send_to("send", "chat.send.{room}"), send)
        .endpoint(send_to("admin-send", "admin.send.{room}"), send)
        .endpoint(Endpoint::new("history", "chat.history.{room}"), history)
        .endpoint(
            Endpoint::new("admin-history", "admin.history.{room}"),
            history,
        )
        .consumer(
            Consumer::new("persist", log)
                .max_batch(1_000)
                // One waits for the disk while the other is written; the key makes order harmless.
                .max_in_flight(2)
                // How long the messages of a crashed process wait for another.
                .ack_wait(Duration::from_secs(5))
                .natural_key()
                .floor(move |reach, stream| stored_up_to(behind.clone(), reach, stream)),
            persist,
        )
        .task("persist", trim)
        .task("page", page)
}

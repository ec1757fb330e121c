//! Turns a plain `async fn` into a function on NATS.
//!
//! You write and test the function, and never its connection, its subscription loop, its acks,
//! retries, dead letters, drain or server set-up. A function answers requests, or is fed by a
//! JetStream stream, and its effect on a SQL database happens exactly once. `nats micro ls`
//! discovers it.
//!
//! ```no_run
//! use natsfn::{Json, Service};
//!
//! async fn hello(Json(name): Json<String>) -> Json<String> {
//!     Json(format!("Hello, {name}!"))
//! }
//!
//! # #[cfg(feature = "cli")]
//! fn main() -> natsfn::Exit {
//!     natsfn::main(|| Service::new("hello", "0.1.0").endpoint("hello", hello))
//! }
//! # #[cfg(not(feature = "cli"))]
//! # fn main() {}
//! ```
//!
//! # The parts
//! A [`Service`] has a name, a version and functions. A function is an `async fn` (a [`Handler`])
//! whose arguments are extractors ([`FromEvent`]): [`Json`], [`Path`], [`State`], [`Batch`],
//! [`Caller`], [`Headers`], [`Subject`], [`Bytes`], [`Client`], and with the feature `sea-orm` `Db`
//! and `Tx`. An [`Endpoint`] answers requests; a [`Consumer`] is fed by a [`Stream`]. What a
//! function returns is an answer or an [`Error`], whose [`Kind`] decides what the caller sees and
//! what becomes of a message.
//!
//! # Exactly once
//! A stream delivers a message at least once. A function that takes `Tx` writes into a transaction
//! that the runtime begins, and commits before it acknowledges; in the same transaction the runtime
//! notes the messages in an inbox, and hides those that are there already.
//!
//! # Features
//! `cli` (default): `natsfn::main`, the configuration and the log. `otel` (default): traces and metrics
//! by OpenTelemetry, once an `OTEL_*` variable names a collector. `sea-orm`: SQL. `testing`: a
//! service called without a broker, a nats-server for each test. `server`: a nats-server child.

mod attempt;
#[cfg_attr(
    not(feature = "sea-orm"),
    expect(
        dead_code,
        reason = "the database is handed out by `db()`, which SQL brings"
    )
)]
mod background;
mod caller;
#[cfg(feature = "cli")]
pub mod cli;
mod client;
pub mod config;
mod connect;
mod consumer;
pub mod dead_letter;
mod dev_page;
mod discovery;
#[cfg_attr(
    not(feature = "sea-orm"),
    expect(dead_code, reason = "without SQL nobody implements or uses all of it")
)]
mod effect;
mod endpoint;
mod error;
mod error_reply;
mod event;
mod extract;
#[cfg(feature = "testing")]
pub mod failpoint;
mod feed;
mod handler;
mod in_progress;
mod invoke;
pub mod jetstream;
mod listener;
#[cfg(feature = "cli")]
mod monitor;
mod path;
mod position;
mod pull;
mod rate_limit;
mod read;
mod ready;
mod reply;
mod run_error;
mod running;
#[cfg(feature = "server")]
pub mod server;
mod service;
mod settle;
pub mod setup;
#[cfg(feature = "sea-orm")]
mod sql;
mod start;
mod stats;
mod stream;
mod suspect;
pub mod telemetry;
mod template;
#[cfg(feature = "testing")]
pub mod testing;
mod trace_context;
mod unreadable;
mod validate;
mod watch;

pub use async_nats;
pub use async_nats::HeaderMap;
pub use bytes::Bytes;

pub use background::Background;
pub use caller::Caller;
#[cfg(feature = "cli")]
pub use cli::{Exit, main};
pub use client::{Appended, Client};
pub use connect::{connect, connect_once};
pub use consumer::Consumer;
pub use dev_page::DevPage;
pub use endpoint::Endpoint;
pub use error::{Error, IntoError, Kind, Result};
pub use error_reply::check as check_reply;
pub use event::{Delivery, Entry, Event, Message, Request, StreamId};
pub use extract::{
    Batch, FromEvent, FromMessage, Headers, Item, Json, Needs, Path, State, Subject,
};
pub use handler::Handler;
pub use rate_limit::RateLimit;
pub use read::Range;
pub use reply::{IntoReply, Outcomes, Response};
pub use run_error::RunError;
pub use running::Running;
pub use service::{Definition, Service};
#[cfg(feature = "sea-orm")]
pub use sql::{Db, Savepoint, Tx};
pub use start::start;
pub use stream::Stream;

//! Turns a plain `async fn` into a function on NATS.
//!
//! You write and test the function. Its connection, subscription loop, acks, retries, dead letters,
//! drain and server set-up are natsfn's. A function answers requests, or is fed by a JetStream stream,
//! and its effect on a SQL database happens exactly once. `nats micro ls` discovers it.
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
//! whose arguments are extractors, such as [`Json`] and [`State`]; [`FromEvent`] lists them. An
//! [`Endpoint`] answers requests; a [`Consumer`] is fed by a [`Stream`]. What a function returns is an
//! answer or an [`Error`], whose [`Kind`] decides what the caller sees and what becomes of a message.
//!
//! # Exactly once
//! A stream delivers a message at least once. For a function that takes `Tx`, the runtime begins a
//! transaction and commits it before it acknowledges. In the same transaction it records the messages
//! in an inbox; the function does not see those that are already recorded.
//!
//! # Features
//! `cli` (default): `natsfn::main`, the configuration and the log. `otel` (default): traces and metrics
//! by OpenTelemetry, once an `OTEL_*` variable names a collector. `otel-tls`: the same to one at an `https://` address;
//! `otel-grpc`: over gRPC too, beside HTTP.
//! `sea-orm`: SQL. `testing`: a service called without a broker, a nats-server or three for each test. `server`: a
//! nats-server child. `auth-callout`: a function that decides who may connect to NATS.

#[cfg(feature = "auth-callout")]
pub mod auth_callout;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
mod error;
mod function;
mod nats;
mod run;
#[cfg(feature = "server")]
pub mod server;
mod service;
#[cfg(feature = "sea-orm")]
mod sql;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use async_nats;
pub use async_nats::HeaderMap;
pub use bytes::Bytes;

#[cfg(feature = "cli")]
pub use cli::{Exit, main};
pub use error::reply::check as check_reply;
pub use error::run_error::RunError;
pub use error::{Error, IntoError, Kind, Result};
pub use function::batch::{Batch, FromMessage, Item};
pub use function::caller::Caller;
pub use function::event::{Delivery, Entry, Event, Message, Request, StreamId};
pub use function::extract::*;
pub use function::handler::Handler;
pub use function::handler::layer::{Extension, Next};
pub use function::json::from_json;
pub use function::reply::{IntoReply, Outcomes, Response};
pub use nats::client::Client;
pub use nats::client::access::Access;
pub use nats::client::kv::{Kv, KvEntry, KvValue, KvWatch};
pub use nats::connect::{connect, connect_once};
pub use nats::connections::Connections;
pub use nats::jetstream;
pub use nats::jetstream::{Appended, Nats};
pub use nats::range::Range;
pub use nats::read::head::Head;
pub use nats::read::live_tail::LiveTail;
pub use nats::read::stream_cache::StreamCache;
pub use run::running::Running;
pub use run::running::readiness::{NotReady, Readiness};
pub use run::start::start;
pub use run::{dead_letter, rights, setup};
pub use service::background::{Background, Settled, Work};
pub use service::consumer::Consumer;
pub use service::consumer::retry::Retry;
pub use service::consumer::start::Start;
pub use service::dev_listener::DevListener;
pub use service::endpoint::Endpoint;
#[cfg(feature = "testing")]
pub use service::failpoint;
pub use service::rate_limit::RateLimit;
pub use service::stream::Stream;
pub use service::stream::bucket::Bucket;
pub use service::stream::object_store::ObjectStore;
pub use service::{Definition, Service};
#[cfg(feature = "sea-orm")]
pub use sql::{Db, Savepoint, SqlxConnection, Tx};

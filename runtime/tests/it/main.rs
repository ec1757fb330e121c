//! natsfn against a real nats-server: each test starts its own, on free ports.
#![allow(
    clippy::unwrap_used,
    reason = "what a test helper cannot unwrap is a failed test"
)]

// What the tests stand on.
#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "sea-orm")]
mod database;
mod log;
#[cfg(feature = "otel")]
mod traced;
mod world;

// Requests: what a definition may be, discovery, the path of a request, who asks.
mod answer;
mod caller;
mod client;
mod definition;
mod discovery;
mod endpoint;
mod info;
mod queue_group;
mod stats;
mod trace;

// Streams: setting up, the path of a message, what becomes of a failure.
mod attempt;
mod consumer;
mod dead_letter;
mod hold;
mod poison;
mod setup;
mod stream;
mod unreadable;

// A function's effect on PostgreSQL and SQLite.
#[cfg(feature = "sea-orm")]
mod shop;
#[cfg(feature = "sea-orm")]
mod sql;

// Life: background work, drain, and a connection that dies.
mod background;
mod drain;
mod lost;

// The real `nats` CLI is the judge of discovery; a suite of its own.
mod nats_cli;

// Telemetry: what a trace shows.
#[cfg(all(feature = "cli", feature = "otel"))]
mod otlp;
#[cfg(feature = "otel")]
mod span;

// What runs it: nats-server as a child, the configuration, the command line as a process.
#[cfg(feature = "cli")]
mod config;
#[cfg(feature = "cli")]
mod process;
mod server;

// What is absent on purpose.
mod architecture;

// Compiler errors are part of the API.
mod compile_fail;

//! natsfn against a real nats-server: each test starts its own, on free ports.
#![allow(
    clippy::unwrap_used,
    reason = "what a test helper cannot unwrap is a failed test"
)]

// What the tests stand on.
mod captured;
#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "sea-orm")]
mod database;
mod log;
mod network;
mod pki;
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
mod json;
mod live_tail;
mod local;
mod queue_group;
mod stats;
mod trace;

// Who may connect: nats-server asks a function.
#[cfg(feature = "auth-callout")]
mod auth_callout;
#[cfg(all(feature = "auth-callout", feature = "cli"))]
mod door;

// Streams: setting up, the path of a message, what becomes of a failure.
mod attempt;
mod bucket;
mod by_key;
mod cluster;
mod consumer;
mod crash;
mod dead_letter;
mod domain;
mod edited;
mod evidence;
mod gathered;
mod hold;
mod holding;
mod owner;
mod ownership;
mod poison;
mod range;
mod retry;
mod retry_later;
mod setup;
mod slow;
mod start;
mod stream;
mod stream_cache;
mod sweep;
mod unreadable;
mod unwritten;

// A function's effect on PostgreSQL and SQLite.
#[cfg(feature = "sea-orm")]
mod database_error;
#[cfg(feature = "sea-orm")]
mod schema;
#[cfg(all(feature = "cli", feature = "sea-orm"))]
mod shop;
#[cfg(feature = "sea-orm")]
mod sql;
#[cfg(feature = "sea-orm")]
mod sqlite_fault;
#[cfg(feature = "sea-orm")]
mod two_databases;

// Life: background work, drain, a full disk, connections that die or only seem to live, panics, rights.
mod background;
mod drain;
mod floor;
mod full_disk;
mod half_open;
mod hostile_request;
mod login;
mod lost;
mod middleware;
mod names;
mod panicked;
mod permissions;
mod rights;

// The real `nats` CLI is the judge of discovery; a suite of its own.
mod nats_cli;

// Telemetry: what a trace shows.
#[cfg(all(feature = "cli", feature = "otel"))]
mod otlp;
#[cfg(all(feature = "cli", feature = "otel-tls"))]
mod otlp_tls;
#[cfg(feature = "otel")]
mod span;

// What runs it: nats-server as a child, the configuration, the command line as a process.
#[cfg(feature = "cli")]
mod beside;
#[cfg(feature = "cli")]
mod config;
#[cfg(feature = "cli")]
mod health;
#[cfg(feature = "cli")]
mod output;
#[cfg(feature = "cli")]
mod process;
#[cfg(all(feature = "cli", feature = "sea-orm"))]
mod readyz;
mod server;
#[cfg(feature = "cli")]
mod watch;

// What is absent on purpose.
mod architecture;
mod layers;

// What the documents say of files, headings and programs.
mod documents;

// `template/`, by the real cargo; in the suite of the `nats` CLI.
#[cfg(all(feature = "cli", feature = "sea-orm"))]
mod template;

// Compiler errors are part of the API.
mod compile_fail;

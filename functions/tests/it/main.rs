//! chat against a real nats-server with chat's own configuration, PostgreSQL and SQLite. Each test
//! has a world of its own.
#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "what a test helper cannot unwrap is a failed test, and nobody waits for its stack"
)]

// What the tests stand on.
mod child;
#[path = "../../../runtime/tests/it/collector.rs"]
mod collector;
mod database;
mod door;
mod doorway;
mod http;
mod issuer;
mod ledger;
mod look;
mod manifest;
mod person;
mod postgres;
mod program;
mod prometheus;
mod server;
#[path = "../../../runtime/tests/it/traced.rs"]
mod traced;
mod wait;
mod world;

// The contract: what people and back ends send, hear and read.
mod backend;
mod bad_input;
mod bad_room;
mod epoch;
mod history;
mod page;
mod send;

// Who is let in.
mod auth_commands;
mod auth_flood;
mod auth_kick;
mod auth_local;
mod auth_oidc;

// What a trace shows, and what is measured.
mod metric;
mod span;
mod trace_tree;

// The real Jaeger is the judge of traces; a suite of its own.
mod jaeger;

// The collector's configuration and the alerts, as those who read them do; a suite of its own.
mod otel;

// The page over HTTP.
mod http_files;
mod http_limits;
mod http_process;

// What must not succeed, and what cannot be stored.
mod hostile_header;
mod memory;
mod poison;
mod reply_subject;
mod security;

// Faults: what crashes, fills up, fails, is replaced.
mod backup;
mod configuration;
mod crash;
mod disk;
mod failure;
mod few_connections;
mod full;
mod join;
mod load;
mod locked;
mod outage;
mod permissions;
mod replica;
mod restore;
mod rights;
mod rollback;
mod rolling;
mod schema;
mod standstill;

// The manifests for Kubernetes.
mod kubernetes;
mod kubernetes_commands;
mod kubernetes_schema;

// The program: dev and the commands beside it.
mod dev;
mod nats_cli;

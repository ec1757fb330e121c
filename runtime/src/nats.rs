//! Connections to NATS, and everything that speaks JetStream's own subjects.

mod breaker;
pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod connections;
pub(crate) mod intake;
pub mod jetstream;
pub(crate) mod link;
pub(crate) mod pull;
pub(crate) mod range;
pub(crate) mod read;
pub(crate) mod replay;
mod unreadable;

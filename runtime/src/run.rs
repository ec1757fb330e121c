//! A process at work: it starts, answers, consumes, tells its state, and drains.

pub(crate) mod backoff;
pub(crate) mod consumer;
pub mod dead_letter;
pub(crate) mod discovery;
pub(crate) mod listener;
pub(crate) mod on_panic;
pub(crate) mod ready;
pub(crate) mod request;
pub(crate) mod running;
pub mod setup;
pub(crate) mod start;
mod work;

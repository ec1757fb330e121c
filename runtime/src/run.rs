//! A process at work: it starts, answers, consumes, tells its state, and drains.

pub(crate) mod backoff;
pub(crate) mod consumer;
pub mod dead_letter;
mod discovery;
mod listener;
pub(crate) mod ready;
pub(crate) mod request;
pub mod rights;
pub(crate) mod running;
pub mod setup;
pub(crate) mod start;
mod work;

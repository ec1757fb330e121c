//! What a user writes, and how it is called: handlers, extractors, events, replies.

pub(crate) mod batch;
pub(crate) mod caller;
pub(crate) mod context;
#[cfg_attr(
    not(feature = "sea-orm"),
    expect(dead_code, reason = "without SQL nobody implements or uses all of it")
)]
pub(crate) mod database;
pub(crate) mod event;
pub(crate) mod extract;
pub(crate) mod handler;
pub(crate) mod invoke;
pub(crate) mod json;
mod path;
pub(crate) mod reply;
pub(crate) mod template;

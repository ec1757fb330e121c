//! A stream function at work: from the delivery to what becomes of it.

pub(crate) mod attempt;
mod call;
pub(crate) mod evidence;
pub(crate) mod feed;
pub(crate) mod hold;
pub(crate) mod in_progress;
pub(crate) mod position;
pub(crate) mod ranges;
pub(crate) mod settle;
mod trigger;
pub(crate) mod unwritten;
pub(crate) mod watch;

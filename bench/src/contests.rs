//! The benchmarks. One more is a file and a row.

mod append;
mod endpoint;
mod history;
mod inbox;
mod persist;
mod send;
mod start;

use futures_util::future::LocalBoxFuture;
use natsfn::Exit;

use crate::Outcome;

/// A benchmark.
pub(crate) struct Contest {
    /// As `cargo xtask bench` is told.
    pub(crate) name: &'static str,
    pub(crate) measure: fn() -> LocalBoxFuture<'static, Outcome>,
    /// Runs one of its processes, where it has some: see [`crate::process::command`].
    pub(crate) part: Option<fn(&str) -> Exit>,
}

pub(crate) const CONTESTS: &[Contest] = &[
    Contest {
        name: "append",
        measure: || Box::pin(append::measure()),
        part: None,
    },
    Contest {
        name: "endpoint",
        measure: || Box::pin(endpoint::measure()),
        part: Some(endpoint::part),
    },
    Contest {
        name: "history",
        measure: || Box::pin(history::measure()),
        part: Some(history::part),
    },
    Contest {
        name: "inbox",
        measure: || Box::pin(inbox::measure()),
        part: None,
    },
    Contest {
        name: "persist",
        measure: || Box::pin(persist::measure()),
        part: None,
    },
    Contest {
        name: "send",
        measure: || Box::pin(send::measure()),
        part: None,
    },
    Contest {
        name: "start",
        measure: || Box::pin(start::measure()),
        part: Some(start::part),
    },
];

//! The benchmarks. One more is a file and a row.

mod endpoint;
mod inbox;
mod persist;
mod start;

use futures_util::future::LocalBoxFuture;
use natsfn::Exit;

use crate::Outcome;

/// A benchmark.
pub(crate) struct Contest {
    /// As `cargo xtask bench` is told.
    pub(crate) name: &'static str,
    pub(crate) measure: fn() -> LocalBoxFuture<'static, Outcome>,
    /// Runs one of its processes: see [`crate::process::command`].
    pub(crate) part: fn(&str) -> Exit,
}

pub(crate) const CONTESTS: &[Contest] = &[
    Contest {
        name: "endpoint",
        measure: || Box::pin(endpoint::measure()),
        part: endpoint::part,
    },
    Contest {
        name: "inbox",
        measure: || Box::pin(inbox::measure()),
        part: |_| Exit::FAILURE,
    },
    Contest {
        name: "persist",
        measure: || Box::pin(persist::measure()),
        part: |_| Exit::FAILURE,
    },
    Contest {
        name: "start",
        measure: || Box::pin(start::measure()),
        part: start::part,
    },
];

//! The benchmarks. One more is a file and a row.

mod endpoint;

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

pub(crate) const CONTESTS: &[Contest] = &[Contest {
    name: "endpoint",
    measure: || Box::pin(endpoint::measure()),
    part: endpoint::part,
}];

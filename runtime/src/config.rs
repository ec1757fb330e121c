//! What a program is told from outside: a file and the environment. Nothing else in the crate reads
//! the environment.

pub(crate) mod address;
mod checked;
#[cfg(feature = "cli")]
mod context;
#[cfg(feature = "cli")]
mod contradiction;
#[cfg(feature = "cli")]
mod layer;
#[cfg(feature = "cli")]
mod load;
#[cfg(feature = "cli")]
mod mistake;
mod nats;
pub(crate) mod pem;
#[cfg(feature = "cli")]
mod read;
#[cfg(feature = "cli")]
mod runtime;
mod secret;

#[cfg(any(feature = "server", feature = "otel"))]
use std::ffi::OsString;

pub use checked::checked;
#[cfg(feature = "cli")]
pub(crate) use checked::seconds;
#[cfg(feature = "cli")]
pub(crate) use layer::insert;
#[cfg(feature = "cli")]
pub use load::{Loaded, load};
#[cfg(feature = "cli")]
pub(crate) use load::{Purpose, load_for};
pub(crate) use nats::{INBOX_PREFIX, is_literal};
pub use nats::{Login, NatsConfig};
#[cfg(feature = "cli")]
pub use runtime::{Database, Health, Invoke, Log, LogFormat, RuntimeConfig};
pub use secret::Secret;
pub(crate) use secret::text_of;

/// How many connections a process may take; where nothing is said, the database decides.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(
    not(feature = "sea-orm"),
    allow(dead_code, reason = "nothing is connected to")
)]
pub(crate) struct PoolSizes {
    /// For requests.
    pub(crate) requests: Option<u32>,
    /// For stream functions and background work.
    pub(crate) streams: Option<u32>,
}

/// A variable of the environment; an empty one counts as none.
#[cfg(any(feature = "server", feature = "otel"))]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The variables whose names begin with `prefix`.
#[cfg(feature = "cli")]
pub(crate) fn variables(prefix: &str) -> Vec<(String, OsString)> {
    let mut found: Vec<(String, OsString)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    found.sort();
    found
}

//! The directory of the workspace, and its cargo.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// A directory below `target/`; this program writes only there.
pub(crate) fn target(directory: &str) -> PathBuf {
    root().join("target").join(directory)
}

/// A cargo command: the cargo that runs this program, so that a chosen toolchain stays chosen.
pub(crate) fn cargo(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo xtask` has set these for this program. Build scripts read them too: with other values than in a cargo
    // run by hand, half of the dependencies would be compiled again.
    let is_ours =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_ours) {
            cargo.env_remove(name);
        }
    }
    cargo.args(arguments);
    cargo
}

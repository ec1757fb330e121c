//! Finds the nats-server program.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use semver::Version;

use crate::config::variable;
use crate::error::run_error::RunError;

/// Older servers have known faults.
const OLDEST: Version = Version::new(2, 14, 0);

/// What helps whoever cannot have it fetched.
pub(super) const INSTALL: &str = "Install it (`go install github.com/nats-io/nats-server/v2@latest`, or \
    https://nats.io/download), or let the variable NATS_SERVER name it";

/// Where a fetched nats-server lies. `None` without a home directory.
pub(crate) fn cached_binary() -> Option<PathBuf> {
    // Its specification says that a relative one is to be ignored.
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.filter(|cache| cache.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    Some(cache?.join("natsfn/nats-server"))
}

/// `NATS_SERVER`, else the first that is new enough on `PATH` or as `target/tools/nats-server` of
/// this directory or one above it, or where `dev` has put one.
///
/// # Errors
/// There is none, or it is too old; the error names the cure.
pub(super) fn find() -> Result<PathBuf, RunError> {
    if let Some(named) = variable("NATS_SERVER") {
        return check(Path::new(&named));
    }
    let path = variable("PATH").unwrap_or_default();
    let here = env::current_dir().unwrap_or_default();
    let on_path = env::split_paths(&path).map(|directory| directory.join("nats-server"));
    let cached = here
        .ancestors()
        .map(|directory| directory.join("target/tools/nats-server"));
    let mut refused = Vec::new();
    for candidate in on_path
        .chain(cached)
        .chain(cached_binary())
        .filter(|candidate| candidate.is_file())
    {
        match check(&candidate) {
            Ok(binary) => return Ok(binary),
            Err(error) => refused.push(error),
        }
    }
    Err(refused.into_iter().next().unwrap_or_else(|| {
        RunError::new(format!(
            "nats-server {OLDEST} or later was not found. `dev --yes` of a service and `cargo xtask dev` fetch it. {INSTALL}"
        ))
    }))
}

/// Why `dev` finds none and may fetch one. What NATS_SERVER names is the user's to mend.
#[cfg(feature = "cli")]
pub(crate) fn missing() -> Option<RunError> {
    if variable("NATS_SERVER").is_some() {
        return None;
    }
    find().err()
}

/// The program, if it is a nats-server that is new enough.
pub(super) fn check(binary: &Path) -> Result<PathBuf, RunError> {
    let refuse = |why: String| RunError::new(format!("{} {why}. {INSTALL}", binary.display()));
    let output = Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| refuse(format!("cannot be run ({error})")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .trim()
        .strip_prefix("nats-server: v")
        .and_then(|text| Version::parse(text).ok());
    match version {
        None => Err(refuse("is no nats-server".to_owned())),
        Some(version) if version < OLDEST => Err(refuse(format!(
            "is nats-server {version}; {OLDEST} or later is needed"
        ))),
        Some(_) => Ok(binary.to_owned()),
    }
}

/// Whether this machine has a `setpriv` that kills a child when its parent ends.
pub(super) fn has_setpriv() -> bool {
    let arguments = ["--pdeathsig", "KILL", "true"].map(OsStr::new);
    let mut probe = Command::new("setpriv");
    probe
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    cfg!(target_os = "linux") && probe.status().is_ok_and(|status| status.success())
}

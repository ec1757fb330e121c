//! `cargo xtask dev`: the main job on one machine.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use crate::toolbox::NATS_SERVER;
use crate::{Result, asks_for_help, workspace};

const HELP: &str = "\
Provides nats-server, builds chat, and runs `chat dev ARGS`: everything on one machine.

Usage: cargo xtask dev [--release] [ARGS...]

  --release   build for speed (minutes the first time); only as the first argument
  ARGS        go to `chat dev`; `cargo xtask dev -- --help` lists them

It keeps messages in SQLite, or in the PostgreSQL of DATABASE_URL (`cargo xtask postgres` starts one).
NATS_SERVER may name the nats-server to take. Ctrl-C stops all of it.";

/// Replaces this process by `chat dev`, so that signals and the exit code are the program's own.
pub(crate) fn dev(arguments: Vec<OsString>) -> Result<()> {
    let release = arguments.first().is_some_and(|first| first == "--release");
    let mut arguments = &arguments[usize::from(release)..];
    match arguments.first() {
        Some(separator) if separator == "--" => arguments = &arguments[1..],
        _ if asks_for_help(arguments) => {
            println!("{HELP}");
            return Ok(());
        }
        _ => {}
    }
    let mut chat = workspace::cargo(["run", "--package", "chat", "--bin", "chat"]);
    chat.args(release.then_some("--release"))
        .args(["--", "dev"])
        .args(arguments);
    // `cargo run` in its turn becomes the program that it has built.
    let error = chat.env("NATS_SERVER", NATS_SERVER.provide()?).exec();
    Err(format!("cargo does not start: {error}").into())
}

//! The project's automation, as `cargo xtask COMMAND`. It has no dependencies, so that it compiles in seconds.
// A program for the terminal prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod account;
mod bench;
mod cluster;
mod companion;
mod compose;
mod dev;
mod feature;
mod fetch;
mod go;
mod jaeger;
mod keycloak;
mod maven;
mod measure;
mod node;
mod pip;
mod postgres;
mod server;
mod server_directory;
mod source;
mod suite;
mod test;
mod tool;
mod toolbox;
mod version;
mod watch;
mod web;
mod workspace;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

/// The outcome of a command: nothing, or an error sentence for the person who ran it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
Sets up, runs and tests the project. Tools that are missing are fetched into target/tools.

Usage: cargo xtask COMMAND

  dev [OPTIONS] [ARGS...]     builds the page and chat, and runs `chat dev ARGS` with a nats-server
  test [SUITE...]             runs the tests, or the named suites
  bench [NAME...]             measures speed, and what survives faults
  postgres [--port N]         runs a PostgreSQL for DATABASE_URL and for a plain `cargo test`

`cargo xtask COMMAND --help` describes a command.";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next();
    let rest: Vec<OsString> = arguments.collect();
    let outcome = match command.as_ref().and_then(|command| command.to_str()) {
        Some("dev") => dev::dev(rest),
        Some("test") => test::test(&rest),
        Some("bench") => measure::bench(&rest),
        Some("postgres") => postgres::postgres(&rest),
        Some("--help" | "-h" | "help") => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => Err(format!("no command `{other}`\n\n{HELP}").into()),
        None => Err(HELP.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the arguments ask for help.
fn asks_for_help(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
}

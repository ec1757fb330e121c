//! `cargo xtask dev`: builds and runs everything on one machine.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use crate::node::Node;
use crate::toolbox::NATS_SERVER;
use crate::{Result, asks_for_help, jaeger, keycloak, watch, web, workspace};

const HELP: &str = "\
Fetches nats-server if it is missing, builds the page and chat, and runs `chat dev ARGS`: everything on one machine.

Usage: cargo xtask dev [--release] [--watch] [--jaeger] [--keycloak[=PORT]] [ARGS...]

  --release   build with optimizations (takes minutes the first time)
  --watch     serve the page from its sources at http://localhost:5173, where a change shows at once, and build and
              swap chat when its own sources change
  --jaeger    run Jaeger too, which records every trace (takes two minutes to build the first time)
  --keycloak  run Keycloak too, where alice, bob and charlie can sign in (needs Java 17 and Maven)
  ARGS        go to `chat dev`; `cargo xtask dev -- --help` lists them

It keeps messages in SQLite, or in the PostgreSQL of DATABASE_URL (`cargo xtask postgres` starts one).
NATS_SERVER may name the nats-server to use, NODE_BIN the Node.js. Ctrl-C stops everything.";

/// Replaces this process by `chat dev`, so that chat receives the signals and sets the exit code.
pub(crate) fn dev(arguments: Vec<OsString>) -> Result<()> {
    let known = ["--release", "--watch", "--jaeger"];
    let is_own = |argument: &&OsString| {
        known.iter().any(|known| argument == known) || keycloak_port(argument).is_some()
    };
    let count = arguments.iter().take_while(is_own).count();
    let (own, mut arguments) = arguments.split_at(count);
    let [release, watches, traces] = known.map(|name| own.contains(&name.into()));
    let keycloak_at = own.iter().find_map(keycloak_port);
    match arguments.first() {
        Some(separator) if separator == "--" => arguments = &arguments[1..],
        _ if asks_for_help(arguments) => {
            println!("{HELP}");
            return Ok(());
        }
        _ => {}
    }
    let cargo = |command: &str| {
        let mut cargo = workspace::cargo([command, "--package", "chat", "--bin", "chat"]);
        cargo.args(release.then_some("--release"));
        cargo
    };
    let node = Node::find()?;
    // The first time npm and pip wait for the network beside it. Later the page may change, which chat contains.
    let is_first = !web::was_built();
    let mut compiling = is_first.then(|| cargo("build").spawn()).transpose()?;
    let fetched = fetch(&node, watches);
    if let Some(compiling) = &mut compiling {
        if fetched.is_err() {
            compiling.kill()?;
        }
        compiling.wait()?;
    }
    let nats_server = fetched?;
    if watches {
        // Compiled first, since Vite waits only briefly for chat.
        if !cargo("build").status()?.success() {
            return Err("chat does not compile".into());
        }
        watch::begin(&node, arguments)?;
    }
    // `cargo run` in turn replaces itself by the program that it has built.
    let mut chat = cargo("run");
    if traces {
        jaeger::begin()?;
        chat.envs(jaeger::VARIABLES);
    }
    if let Some(port) = keycloak_at {
        chat.envs(keycloak::begin(&port)?);
    }
    chat.args(["--", "dev"])
        .args(watches.then_some("--watch"))
        .args(arguments);
    let error = chat.env("NATS_SERVER", nats_server).exec();
    Err(format!("cargo does not start: {error}").into())
}

/// What chat needs beside itself; returns the nats-server.
fn fetch(node: &Node, watches: bool) -> Result<PathBuf> {
    let nats_server = NATS_SERVER.provide()?;
    if watches {
        web::install(node)?;
    } else {
        web::build(node)?;
    }
    Ok(nats_server)
}

/// The port of `--keycloak` and `--keycloak=PORT`; 0 is any.
fn keycloak_port(argument: impl AsRef<OsStr>) -> Option<String> {
    let rest = argument.as_ref().to_str()?.strip_prefix("--keycloak")?;
    match rest.strip_prefix('=') {
        None if rest.is_empty() => Some("0".to_owned()),
        port => port.map(str::to_owned),
    }
}

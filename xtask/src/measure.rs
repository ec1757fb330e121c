//! `cargo xtask bench`: measures a release build, as ratios within one run.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use crate::account::Account;
use crate::cluster::Cluster;
use crate::node::Node;
use crate::server::Server;
use crate::server_directory::ServerDirectory;
use crate::toolbox::{NATS_SERVER, POSTGRES};
use crate::{Result, asks_for_help, web, workspace};

const HELP: &str = "\
Measures, on a nats-server and a PostgreSQL of its own, both as durable as in production.

Usage: cargo xtask bench [NAME...]

{contests}  ledger   messages lost while 20,000 are sent and `persist` is killed 20 times, nats-server twice
  stalls   messages lost while nats-server is suspended for 5 s, 40 s and 6 min, and one of two `persist` for 60 s
  backlog  memory of `persist` and latency of `send` while `persist` starts with a million waiting messages
  storm    messages lost with a random fault every 5 s for 10 minutes
  outage   what senders and readers get while PostgreSQL is stopped, then suspended, for 5 minutes each
  load     memory, lag and latency while 2,000 are sent a second for 10 minutes beside 200 histories in flight, on a
           PostgreSQL with 20 connections
  instances  how fast 1, 2, 4 and 10 `persist` empty a backlog together; messages lost while they come and go
  disk     messages lost while SQLite's disk is full for 3, 6 and 60 s; LEDGER_DISK names a directory on a small disk
  logins   how fast people log in, and how long 2,000 take to be back after a restart of nats-server
  trace    cost of tracing: hello and persist with 0, 1 and 100 % of the traces, and with a collector that is away or
           stalled

Without names it runs endpoint, persist, ledger and trace.";

/// The benchmarks of the package `chat`, each name with its bench target.
const OF_CHAT: [(&str, &str); 10] = [
    ("logins", "logins"),
    ("ledger", "ledger"),
    ("trace", "trace"),
    ("stalls", "ledger"),
    ("backlog", "ledger"),
    ("storm", "ledger"),
    ("disk", "ledger"),
    ("outage", "ledger"),
    ("load", "ledger"),
    ("instances", "ledger"),
];

/// The benchmarks that run when none is named: the others take many minutes.
const USUAL: [&str; 4] = ["endpoint", "persist", "ledger", "trace"];

/// A benchmark: its name, and where cargo finds it.
struct Benchmark {
    name: String,
    about: String,
    package: &'static str,
    target: &'static str,
}

impl Benchmark {
    fn find(name: &str) -> Result<Self> {
        // As it was called before.
        let name = if name == "drain" { "persist" } else { name };
        let contest = contests()?.into_iter().find(|contest| contest.name == name);
        let of_chat = OF_CHAT.iter().find(|(known, _)| *known == name);
        let of_chat = of_chat.map(|(name, target)| Self {
            name: (*name).to_owned(),
            about: String::new(),
            package: "chat",
            target,
        });
        let unknown = || format!("no benchmark `{name}`\n\n{}", help().unwrap_or_default());
        Ok(contest.or(of_chat).ok_or_else(unknown)?)
    }
}

/// The benchmarks of the package natsfn-bench: a file each, which says in its first line what it measures.
fn contests() -> Result<Vec<Benchmark>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(workspace::root().join("bench/src/contests"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let about = text.lines().next().unwrap_or_default();
        found.push(Benchmark {
            name: path.file_stem().unwrap_or_default().display().to_string(),
            about: about.trim_start_matches("//! ").to_owned(),
            package: "natsfn-bench",
            target: "contests",
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn help() -> Result<String> {
    let contests = contests()?;
    let lines = contests
        .iter()
        .map(|contest| format!("  {:<8} {}\n", contest.name, contest.about));
    Ok(HELP.replace("{contests}", &lines.collect::<String>()))
}

/// Runs the named benchmarks.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    if asks_for_help(arguments) {
        println!("{}", help()?);
        return Ok(());
    }
    let named: Vec<&str> = arguments.iter().filter_map(|name| name.to_str()).collect();
    let names = if named.is_empty() { &USUAL } else { &*named };
    let chosen = names
        .iter()
        .map(|name| Benchmark::find(name))
        .collect::<Result<Vec<_>>>()?;
    let account = Account::choose()?;
    let program = POSTGRES.provide()?;
    let directory = ServerDirectory::fresh(account, &program)?;
    let cluster = Cluster::open(&directory, account, true)?;
    let server = Server::start(&directory, cluster, account, 0, &["max_connections=200"])?;
    for Benchmark {
        name,
        package,
        target,
        ..
    } in chosen
    {
        let mut cargo = workspace::cargo(["bench", "--package", package, "--bench", target]);
        if name == "start" {
            cargo.env("CHAT_BIN", chat()?);
        }
        let status = cargo
            .args(["--", &name])
            .env("NATS_SERVER", NATS_SERVER.provide()?)
            .env("BENCH_DATABASE_URL", &server.url)
            .status()?;
        if !status.success() {
            return Err(format!("the benchmark `{name}` failed").into());
        }
    }
    Ok(())
}

/// chat's program as it is deployed, with the page in it.
fn chat() -> Result<PathBuf> {
    web::build(&Node::find()?)?;
    let mut cargo = workspace::cargo(["build", "--release", "--package", "chat"]);
    if !cargo.status()?.success() {
        return Err("chat was not built".into());
    }
    Ok(workspace::target("release/chat"))
}

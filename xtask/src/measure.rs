//! `cargo xtask bench`: measures a release build, as ratios within one run.

use std::ffi::OsString;

use crate::account::Account;
use crate::cluster::Cluster;
use crate::server::Server;
use crate::server_directory::ServerDirectory;
use crate::toolbox::{NATS_SERVER, POSTGRES};
use crate::{Result, asks_for_help, workspace};

const HELP: &str = "\
Measures, on a nats-server and a PostgreSQL of its own, both as durable as in production.

Usage: cargo xtask bench [NAME...]

  drain    how fast `persist` empties a backlog, compared with a loop that stores one message at a time
  ledger   messages lost while 20,000 are sent and `persist` is killed 20 times, nats-server twice
  stalls   messages lost while nats-server is suspended for 5 s, 40 s and 6 min, and one of two `persist` for 60 s
  backlog  memory of `persist` and latency of `send` while `persist` starts with a million waiting messages
  storm    messages lost with a random fault every 5 s for 10 minutes
  outage   what senders and readers get while PostgreSQL is stopped, then suspended, for 5 minutes each
  disk     messages lost while SQLite's disk is full for 3, 6 and 60 s; LEDGER_DISK names a directory on a small disk
  logins   how fast people log in, and how long 2,000 take to be back after a restart of nats-server
  trace    cost of tracing: hello and persist with 0, 1 and 100 % of the traces, and with a collector that is away or
           stalled

Without names it runs drain, ledger and trace.";

/// Each name with its bench target.
const BENCHES: [(&str, &str); 9] = [
    ("drain", "drain"),
    ("logins", "logins"),
    ("ledger", "ledger"),
    ("trace", "trace"),
    ("stalls", "ledger"),
    ("backlog", "ledger"),
    ("storm", "ledger"),
    ("disk", "ledger"),
    ("outage", "ledger"),
];

/// The benchmarks that run when none is named: the others take many minutes.
const USUAL: [&str; 3] = ["drain", "ledger", "trace"];

/// Runs the named benchmarks.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    if asks_for_help(arguments) {
        println!("{HELP}");
        return Ok(());
    }
    let names: Vec<&str> = arguments.iter().filter_map(|name| name.to_str()).collect();
    let is_known = |name: &str| BENCHES.iter().any(|(known, _)| *known == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        return Err(format!("no benchmark `{unknown}`\n\n{HELP}").into());
    }
    let names = if names.is_empty() {
        USUAL.to_vec()
    } else {
        names
    };
    let chosen = BENCHES.iter().filter(|(name, _)| names.contains(name));
    let account = Account::choose()?;
    let program = POSTGRES.provide()?;
    let directory = ServerDirectory::fresh(account, &program)?;
    let cluster = Cluster::open(&directory, account, true)?;
    let server = Server::start(&directory, cluster, account, 0, &["max_connections=200"])?;
    for (name, target) in chosen {
        let mut cargo =
            workspace::cargo(["bench", "--package", "chat", "--bench", target, "--", name]);
        let status = cargo
            .env("NATS_SERVER", NATS_SERVER.provide()?)
            .env("BENCH_DATABASE_URL", &server.url)
            .status()?;
        if !status.success() {
            return Err(format!("the benchmark `{name}` failed").into());
        }
    }
    Ok(())
}

//! `cargo xtask postgres`: runs a PostgreSQL that keeps its data.

use std::ffi::OsString;

use crate::account::Account;
use crate::cluster::Cluster;
use crate::server::Server;
use crate::server_directory::ServerDirectory;
use crate::toolbox::POSTGRES;
use crate::version::Version;
use crate::{Result, asks_for_help};

const HELP: &str = "\
Runs a PostgreSQL server until Ctrl-C, and prints its URL. It has PostgreSQL's default durability,
and its data stay in target/xtask, so they survive a restart.

Usage: cargo xtask postgres [--port N]

  --port N   the port on 127.0.0.1, by default 5433; 0 takes a free one

POSTGRES_BIN may name the directory of PostgreSQL's programs.";

/// Runs the server in the foreground.
pub(crate) fn postgres(arguments: &[OsString]) -> Result<()> {
    if asks_for_help(arguments) {
        println!("{HELP}");
        return Ok(());
    }
    let port = match arguments {
        [] => 5433,
        [option, port] if option == "--port" => parse(port)?,
        _ => return Err(HELP.into()),
    };
    let account = Account::choose()?;
    let program = POSTGRES.provide()?;
    // One cluster per major version, since another version refuses it.
    let Version(major, ..) = POSTGRES.check(&program)?;
    let directory = ServerDirectory::lasting(account, &format!("postgres-{major}"), &program)?;
    let cluster = Cluster::open(&directory, account, true)?;
    let mut server = Server::start(&directory, cluster, account, port, &["max_connections=200"])?;
    println!(
        "PostgreSQL {major} keeps its data in {}; Ctrl-C stops it.\n",
        directory.path.display()
    );
    println!("  DATABASE_URL='{}' cargo xtask dev", server.url);
    println!("  TEST_DATABASE_URL='{}' cargo test", server.url);
    let status = server.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("PostgreSQL ended ({status})").into())
    }
}

fn parse(argument: &OsString) -> Result<u16> {
    let port = argument.to_str().and_then(|port| port.parse().ok());
    port.ok_or_else(|| format!("{} is not a port: 0 to 65535", argument.display()).into())
}

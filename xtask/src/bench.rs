//! The environment of the tests: the tools, and one PostgreSQL for the whole run.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use crate::account::Account;
use crate::cluster::Cluster;
use crate::node::Node;
use crate::server::Server;
use crate::server_directory::ServerDirectory;
use crate::suite::{Suite, WITH_PAGE, at_once};
use crate::tool::Tool;
use crate::toolbox::POSTGRES;
use crate::{Result, web};

/// Set up before the first suite runs, so that a missing tool is reported at once; removed on drop.
pub(crate) struct Bench {
    variables: Vec<(&'static str, OsString)>,
    // Dropped in this order: the server stops before its directory is removed.
    _server: Option<Server>,
    _directory: Option<ServerDirectory>,
}

impl Bench {
    /// Provides the tools that these suites need.
    pub(crate) fn set_up(suites: &[&Suite]) -> Result<Self> {
        let mut bench = Self {
            variables: Vec::new(),
            _server: None,
            _directory: None,
        };
        // Before any compilation: the program embeds the page, and so is compiled only once.
        if suites.iter().any(|suite| WITH_PAGE.contains(&suite.name)) {
            web::build(&Node::find()?)?;
        }
        let mut tools: Vec<&Tool> = suites
            .iter()
            .flat_map(|suite| suite.needs)
            .copied()
            .collect();
        tools.sort_by_key(|tool| tool.name);
        tools.dedup_by_key(|tool| tool.name);
        for tool in tools {
            let program = tool.provide()?;
            if tool.name == POSTGRES.name {
                let account = Account::choose()?;
                let directory = ServerDirectory::fresh(account, &program)?;
                // The data are temporary, so no wait for the disk; a crash of PostgreSQL alone loses nothing.
                // A test may run a dozen services, each with pools of its own.
                let connections = format!("max_connections={}", 100 * (1 + at_once()));
                let settings = [&*connections, "fsync=off", "full_page_writes=off"];
                let cluster = Cluster::open(&directory, account, false)?;
                let server = Server::start(&directory, cluster, account, 0, &settings)?;
                bench
                    .variables
                    .push(("TEST_DATABASE_URL", server.url.clone().into()));
                bench
                    .variables
                    .push((tool.variable, server.programs.clone().into()));
                (bench._server, bench._directory) = (Some(server), Some(directory));
            } else {
                bench.variables.push((tool.variable, program.into()));
            }
        }
        Ok(bench)
    }

    /// Sets the environment of a command, and removes other such variables: no test depends on the developer's.
    pub(crate) fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if ["NATS_", "CHAT_", "DATABASE_", "OTEL_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                command.env_remove(&*name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)))
    }
}

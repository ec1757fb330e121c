//! `dev`: everything on one machine, in one process and a nats-server beside it.

mod announce;
mod directory;
mod files;
mod listener;
mod plan;
mod private;
mod toml;

use std::sync::Arc;

use figment::value::Dict;

use super::arguments::Dev;
use super::host::Host;
use super::stop::Stop;
use super::{Exit, Job};
use crate::config::{Database, Invoke, NatsConfig, RuntimeConfig, Secret, variable};
use crate::error::run_error::{Reason, RunError};
use crate::nats::connect::connect;
use crate::run::setup::{Options, setup_with};
use crate::server::{Ports, Server};
use crate::service::Definition;
use files::Files;

pub use directory::DevDirectory;
pub(super) use plan::MakePlan;
pub use plan::Plan;

pub(super) async fn dev(
    job: Job,
    arguments: Dev,
    plan: &MakePlan,
    own_values: &Dict,
) -> Result<Exit, RunError> {
    check_names(&job.definition, &arguments.without)?;
    let mut stop = std::pin::pin!(Stop::listen()?.requested());
    let ports = if arguments.port == 0 {
        Ports::default()
    } else {
        Ports::USUAL
    };
    let path = arguments.data.as_ref().unwrap_or(&job.data);
    let directory = DevDirectory::open(path, ports, arguments.port)?;
    let files = Files::new(&directory, &job.name);
    // A run that was killed has left it behind; what it says is wrong by now.
    files.remove_addresses();
    let mut plan = plan(&directory)?;

    let service = format!("{} {}", job.name, job.definition.version());
    let up = async {
        let server = Server::start(plan.server.clone())
            .await
            .map_err(with_other_ports)?;
        let config = configuration(&job, &plan, &directory, &server);
        let mut host = set_up(job, &config, &arguments.without).await?;
        if let Some(listener) = &mut plan.listener
            && let Some(open) = listener.hand_on(server.addresses())
            && !arguments.without.contains(&listener.task)
        {
            host.definition.dev_listener = Some(Arc::new(open));
        }
        let running = host.start().await?;
        files.write(&server, &config, &plan, own_values)?;
        Ok::<_, RunError>((server, host, running, config, plan))
    };
    let (server, host, running, config, plan) = tokio::select! {
        up = up => up?,
        () = &mut stop => return Ok(Exit::SUCCESS),
    };
    announce::announce(&service, &host.definition, &config, &server, &plan, &files);
    let served = host.serve(running, stop).await;
    server.stop().await;
    files.remove_addresses();
    served.map(|()| Exit::SUCCESS)
}

/// The variable that names the database to be used, before what the configuration names; without
/// either it is a file of SQLite.
pub(super) const DATABASE_URL: &str = "DATABASE_URL";

fn given_database() -> Option<String> {
    variable(DATABASE_URL).and_then(|url| url.into_string().ok())
}

/// What the functions and the commands of this run are configured with.
fn configuration(
    job: &Job,
    plan: &Plan,
    directory: &DevDirectory,
    server: &Server,
) -> RuntimeConfig {
    let nats = NatsConfig {
        url: server.url().to_owned(),
        monitor: server.addresses().monitor.clone(),
        ..NatsConfig::default()
    };
    let database = job.definition.database.as_ref().map(|_| {
        let configured = || job.config.database_url().map(str::to_owned);
        given_database()
            .or_else(configured)
            .unwrap_or_else(|| directory.sqlite(&job.name))
    });
    RuntimeConfig {
        nats: nats.login(&plan.login),
        database: Database {
            url: database.map(Secret::from),
            ..job.config.database.clone()
        },
        credentials: plan.credentials.clone(),
        log: job.config.log.clone(),
        invoke: Invoke {
            user: plan.invoke_user.clone(),
        },
    }
}

/// Sets up for all functions, and makes a host for those that are not left out.
async fn set_up(job: Job, config: &RuntimeConfig, without: &[String]) -> Result<Host, RunError> {
    let Job {
        mut definition,
        name,
        ..
    } = job;
    let nats = connect(&config.nats_as("setup"), &format!("{name} setup")).await?;
    // The server is there for this service alone, and its data may be an earlier version's.
    let options = Options::default().adopt();
    setup_with(&definition, &nats, config.database_url(), &options).await?;
    definition.without(without);
    Ok(Host {
        definition,
        nats: config.nats.clone(),
        database_url: config.database_url().map(str::to_owned),
        name,
    })
}

fn check_names(definition: &Definition, names: &[String]) -> Result<(), RunError> {
    let known: Vec<&str> = definition.function_names().collect();
    let unknown = names.iter().filter(|name| !known.contains(&name.as_str()));
    let lines: Vec<String> = unknown
        .map(|name| {
            format!(
                "there is no function {name:?} to leave out; there are: {}",
                known.join(", ")
            )
        })
        .collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(RunError::misuse(lines))
    }
}

fn with_other_ports(error: RunError) -> RunError {
    match error.reason() {
        Reason::PortInUse => RunError::new(format!(
            "{error}: stop what listens there, or let all ports be free ones with --port 0"
        )),
        _ => error,
    }
}

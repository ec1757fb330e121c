//! `dev`: everything on one machine, in one process and a nats-server beside it.

mod directory;
mod files;
mod plan;
mod toml;

use figment::value::Dict;

pub use directory::DevDirectory;
pub use plan::Plan;

use super::arguments::Dev;
use super::serve::DRAIN;
use super::stop::Stop;
use super::{Exit, Job, say};
use crate::config::{Database, Invoke, NatsConfig, RuntimeConfig, Secret, variable};
use crate::connect::{connect, without_password};
use crate::server::{Ports, Server};
use crate::{Definition, RunError, Running};
use files::{Addresses, Files};

pub(super) async fn dev(
    job: Job,
    arguments: Dev,
    plan: &dyn Fn(&DevDirectory) -> Result<Plan, RunError>,
    own_values: &Dict,
) -> Result<Exit, RunError> {
    let Job {
        definition,
        config,
        name,
        data,
    } = job;
    check_names(&definition, &arguments.without)?;
    let stop = Stop::listen()?.requested();
    tokio::pin!(stop);
    let ports = if arguments.port == 0 {
        Ports::default()
    } else {
        Ports::USUAL
    };
    let path = arguments.data.unwrap_or(data);
    let directory = DevDirectory::open(&path, ports, arguments.port)?;
    let files = Files::new(&directory, &name);
    // A run that was killed has left it behind; what it says is wrong by now.
    files.remove_addresses();
    let plan = plan(&directory)?;

    let version = definition.version().to_owned();
    let database = definition
        .database
        .is_some()
        .then(|| database_url(&directory, &name));
    let up = async {
        let server = Server::start(plan.server.clone())
            .await
            .map_err(with_other_ports)?;
        let config = configuration(config, &plan, &server, database);
        let addresses = Addresses::new(&server, &config);
        let (running, served) = start(definition, &config, &name, &arguments.without).await?;
        files.write(&addresses, &config, &plan, own_values)?;
        Ok::<_, RunError>((server, running, served, addresses))
    };
    let (server, running, served, addresses) = tokio::select! {
        up = up => up?,
        () = &mut stop => return Ok(Exit::SUCCESS),
    };
    announce(
        &format!("{name} {version}"),
        &served,
        &addresses,
        &plan,
        &files,
    );
    stop.await;
    say("stopping");
    running.stop(DRAIN).await;
    server.stop().await;
    files.remove_addresses();
    Ok(Exit::SUCCESS)
}

fn database_url(directory: &DevDirectory, name: &str) -> String {
    let given = variable("DATABASE_URL").and_then(|url| url.into_string().ok());
    given.unwrap_or_else(|| directory.sqlite(name))
}

/// What the functions and the commands of this run are configured with.
fn configuration(
    given: RuntimeConfig,
    plan: &Plan,
    server: &Server,
    database: Option<String>,
) -> RuntimeConfig {
    let nats = NatsConfig {
        url: server.url().to_owned(),
        monitor: server.addresses().monitor.clone(),
        ..NatsConfig::default()
    };
    RuntimeConfig {
        nats: nats.login(&plan.login),
        database: Database {
            url: database.map(Secret::from),
        },
        credentials: plan.credentials.clone(),
        log: given.log,
        invoke: Invoke {
            user: plan.invoke_user.clone(),
        },
    }
}

/// Sets up, and serves every function but those that are left out.
async fn start(
    definition: Definition,
    config: &RuntimeConfig,
    name: &str,
    without: &[String],
) -> Result<(Running, Vec<String>), RunError> {
    let of_setup = connect(&config.nats_as("setup"), &format!("{name} setup")).await?;
    crate::setup::setup(&definition, &of_setup, config.database_url()).await?;
    let definition = leave_out(definition, without);
    let served = definition.function_names().map(str::to_owned).collect();
    let nats = connect(&config.nats, name).await?;
    Ok((
        crate::start(definition, nats, config.database_url()).await?,
        served,
    ))
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

fn leave_out(mut definition: Definition, names: &[String]) -> Definition {
    definition
        .functions
        .retain(|function| names.iter().all(|name| name != function.name()));
    definition
        .tasks
        .retain(|task| !names.contains(&task.function));
    definition
}

fn with_other_ports(error: RunError) -> RunError {
    let text = error.to_string();
    if text.contains("is in use") {
        return RunError::new(format!(
            "{text}: stop what listens there, or let all ports be free ones with --port 0"
        ));
    }
    error
}

fn announce(service: &str, served: &[String], addresses: &Addresses, plan: &Plan, files: &Files) {
    let served = if served.is_empty() {
        "nothing".to_owned()
    } else {
        served.join(", ")
    };
    say(format_args!("{service} is ready and serves {served}"));
    let lines = [
        ("NATS", Some(addresses.nats.clone())),
        ("WebSocket", addresses.websocket.clone()),
        ("monitoring", addresses.monitor.clone()),
        (
            "database",
            addresses.database.as_deref().map(without_password),
        ),
        (
            "log of NATS",
            Some(files.server_log().display().to_string()),
        ),
        ("addresses", Some(files.addresses().display().to_string())),
        (
            "configuration",
            Some(files.configuration().display().to_string()),
        ),
    ];
    for (what, value) in lines {
        if let Some(value) = value {
            say(format_args!("  {what:<14}{value}"));
        }
    }
    say("To try it:");
    for command in plan.commands(&addresses.nats) {
        say(format_args!("  {command}"));
    }
    for note in &plan.notes {
        say(note);
    }
    say("Ctrl-C stops it.");
}

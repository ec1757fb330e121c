//! `dev`: everything on one machine, in one process and a nats-server beside it.

mod announce;
mod directory;
mod files;
mod listener;
mod plan;
mod private;
mod server;
mod toml;

use std::path::Path;
use std::sync::Arc;

use figment::value::Dict;

use super::arguments::Dev;
use super::host::stop::Stop;
use super::{Exit, Job, host};
use crate::config::{Database, Invoke, NatsConfig, RuntimeConfig, Secret, variable};
use crate::error::run_error::{Reason, RunError};
use crate::nats::connect::connect;
use crate::run::setup::{Options, setup_with};
use crate::server::{Ports, Server};
use files::Files;

pub use directory::DevDirectory;
pub(super) use plan::MakePlan;
pub use plan::Plan;

/// The data directory of a run, open, and what the service needs of it.
pub(super) struct Prepared {
    directory: DevDirectory,
    plan: Plan,
    without: Vec<String>,
    /// Whether nats-server may be fetched without a question.
    yes: bool,
}

impl Prepared {
    pub(super) fn new(arguments: &Dev, data: &Path, plan: &MakePlan) -> Result<Self, RunError> {
        let ports = if arguments.port == 0 {
            Ports::default()
        } else {
            Ports::USUAL
        };
        let path = arguments.data.as_deref().unwrap_or(data);
        let directory = DevDirectory::open(path, ports, arguments.port)?;
        let plan = plan(&directory)?;
        Ok(Self {
            directory,
            plan,
            without: arguments.without.clone(),
            yes: arguments.yes,
        })
    }

    /// The service's own values that the plan names.
    pub(super) fn values(&self) -> Dict {
        self.plan.values.clone()
    }
}

pub(super) async fn dev(job: Job, prepared: Prepared, own_values: &Dict) -> Result<Exit, RunError> {
    let Prepared {
        directory,
        mut plan,
        without,
        yes,
    } = prepared;
    job.program.check_names(&without)?;
    let mut stop = std::pin::pin!(Stop::listen()?.requested());
    let files = Files::new(&directory, &job.name);
    // A run that was killed has left it behind; what it says is wrong by now.
    files.remove_addresses();

    let up = async {
        if plan.server.binary.is_none() {
            server::provide(yes).await?;
        }
        let server = Server::start(plan.server.clone())
            .await
            .map_err(with_other_ports)?;
        let config = configuration(&job, &plan, &directory, &server);
        set_up(&job, &config).await?;
        Ok::<_, RunError>((server, config))
    };
    let (server, config) = tokio::select! {
        up = up => up?,
        () = &mut stop => return Ok(Exit::SUCCESS),
    };
    let service = format!("{} {}", job.name, job.program.main().version());
    let mut program = job.program;
    program.without(&without);
    for service in program.services_mut() {
        service.checks_access = true;
    }
    if let Some(listener) = &mut plan.listener
        && let Some(open) = listener.hand_on(server.addresses())
    {
        let open = Arc::new(open);
        let mut services = program.services_mut().iter_mut();
        // Dropping it releases the port where the task is left out.
        if let Some(of_task) =
            services.find(|one| one.function_names().any(|it| it == listener.task))
        {
            of_task.dev_listener = Some(open);
        }
    }
    let names = program.served();
    let served = host::serve(program, &config, &job.board, stop, || {
        files.write(&server, &config, &plan, own_values)?;
        announce::announce(&service, &names, &config, &server, &plan, &files);
        Ok(())
    })
    .await;
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
    let database = job.program.has_database().then(|| {
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
        health: job.config.health.clone(),
        log: job.config.log.clone(),
        invoke: Invoke {
            user: plan.invoke_user.clone(),
        },
        drain: job.config.drain,
    }
}

/// Sets up for all functions, also those that are left out.
async fn set_up(job: &Job, config: &RuntimeConfig) -> Result<(), RunError> {
    for service in job.program.to_set_up() {
        let (login, _) = job.program.login(config, "setup", service);
        let nats = connect(&login, &format!("{} setup", service.name())).await?;
        // The server is there for this program alone, and its data may be an earlier version's.
        let options = Options::default().adopt();
        setup_with(service, &nats, config.database_url(), &options).await?;
    }
    Ok(())
}

fn with_other_ports(error: RunError) -> RunError {
    match error.reason() {
        Reason::PortInUse => RunError::new(format!(
            "{error}: stop what listens there, or let all ports be free ones with --port 0"
        )),
        _ => error,
    }
}

//! `dev`: everything on one machine, in one process and a nats-server beside it.

mod announce;
mod directory;
mod files;
mod instance;
mod listener;
mod plan;
mod private;
mod server;
mod toml;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::value::Dict;

use super::arguments::Dev;
use super::host::stop::Stop;
use super::program::Program;
use super::{Exit, Job, host};
use crate::config::{Database, Invoke, NatsConfig, RuntimeConfig, Secret, variable};
use crate::error::run_error::{Reason, RunError};
use crate::nats::connect::connect;
use crate::run::setup::{Options, setup_with};
use crate::server::{Ports, Server};
use crate::service::dev_listener::DevListener;
use files::Files;
use watch::{Build, Launch};

pub use directory::DevDirectory;
pub(super) use instance::{Joined, instance};
pub(super) use plan::MakePlan;
pub use plan::Plan;

/// The data directory of a run, open, and what the service needs of it.
pub(super) struct Prepared {
    directory: DevDirectory,
    plan: Plan,
    without: Vec<String>,
    /// Whether nats-server may be fetched without a question.
    yes: bool,
    /// With `--watch`.
    watched: Option<Watched>,
}

/// What the command line says for `--watch`.
struct Watched {
    cargo: Option<String>,
    config: Option<PathBuf>,
}

impl Prepared {
    pub(super) fn new(
        arguments: &Dev,
        config: Option<&Path>,
        data: &Path,
        plan: &MakePlan,
    ) -> Result<Self, RunError> {
        let port = arguments.port.unwrap_or(LISTENER_PORT);
        let ports = if port == 0 {
            Ports::default()
        } else {
            Ports::USUAL
        };
        let path = arguments.data.as_deref().unwrap_or(data);
        let directory = DevDirectory::open(path, ports, port)?;
        let plan = plan(&directory)?;
        if arguments.port.is_some_and(|port| port != 0) && plan.listener.is_none() {
            return Err(RunError::new(format!(
                "--port {port}: no task of this program listens, so nothing would take it; with --port 0 nats-server has free ports"
            )));
        }
        Ok(Self {
            directory,
            plan,
            without: arguments.without.clone(),
            yes: arguments.yes,
            watched: arguments.watch.then(|| Watched {
                cargo: arguments.cargo.clone(),
                config: config.map(Path::to_owned),
            }),
        })
    }

    /// The service's own values that the plan names.
    pub(super) fn values(&self) -> Dict {
        self.plan.values.clone()
    }
}

/// Where a task listens, unless the command line says otherwise.
const LISTENER_PORT: u16 = 3000;

pub(super) async fn dev(job: Job, prepared: Prepared, own_values: &Dict) -> Result<Exit, RunError> {
    let Prepared {
        directory,
        mut plan,
        without,
        yes,
        watched,
    } = prepared;
    job.program.check_names(&without)?;
    let mut stop = std::pin::pin!(Stop::listen()?.announced());
    let files = Files::new(&directory, &job.name);
    // A run that was killed has left it behind; what it says is wrong by now.
    files.remove_addresses();

    let up = async {
        let build = match &watched {
            Some(watched) => {
                let usual = || PathBuf::from(format!("{}.toml", job.name));
                let file = watched.config.clone().unwrap_or_else(usual);
                Some(Build::of_this_program(watched.cargo.as_deref(), &file).await?)
            }
            None => None,
        };
        if plan.server.binary.is_none() {
            server::provide(yes).await?;
        }
        let server = Server::start(plan.server.clone())
            .await
            .map_err(with_other_ports)?;
        let config = configuration(&job, &plan, &directory, &server);
        if build.is_none() {
            set_up(&job, &config).await?;
        }
        Ok::<_, RunError>((server, config, build))
    };
    let (server, config, build) = tokio::select! {
        up = up => up?,
        () = &mut stop => return Ok(Exit::SUCCESS),
    };
    if watched.is_some() {
        plan = plan.note("A save builds it again, and swaps it.");
    }
    let listener = plan.listener.as_mut();
    let listener = listener.and_then(|listener| listener.hand_on(server.addresses()));
    let ready = |words: &str| {
        files.write(&server, &config, &plan, own_values)?;
        announce::announce(words, &config, &server, &plan, &files);
        Ok(())
    };
    let served = match (watched, build) {
        (Some(watched), Some(build)) => {
            let joined = RuntimeConfig {
                database: Database {
                    url: Some(database_url(&job, &directory).into()),
                    ..Database::default()
                },
                ..config.clone()
            };
            let joined = files.write_joined(&joined, &plan.values)?;
            // The instances have programs of their own.
            drop(job.program);
            let launch = Launch {
                config: watched.config.as_deref(),
                joined,
                without: &without,
                listener: listener.filter(|listener| !without.contains(&listener.task)),
            };
            watch::watch(build, launch, stop, ready).await
        }
        _ => {
            let program = as_served(job.program, &without, listener);
            let words = words(&job.name, &program);
            host::serve(program, &config, &job.board, stop, || ready(&words)).await
        }
    };
    server.stop().await;
    files.remove_addresses();
    served.map(|()| Exit::SUCCESS)
}

/// What it says once it serves.
fn words(name: &str, program: &Program) -> String {
    let (version, served) = (program.main().version(), program.served());
    format!("{name} {version} is ready and serves {served}")
}

/// The program as `dev` serves it.
fn as_served(mut program: Program, without: &[String], open: Option<DevListener>) -> Program {
    program.without(without);
    for service in program.services_mut() {
        service.checks_access = true;
    }
    if let Some(open) = open {
        let mut services = program.services_mut().iter_mut();
        // Dropping it releases the port where the task is left out.
        if let Some(of_task) =
            services.find(|one| one.function_names().any(|name| name == open.task))
        {
            of_task.dev_listener = Some(Arc::new(open));
        }
    }
    program
}

/// The variable that names the database to be used, before what the configuration names; without
/// either it is a file of SQLite.
pub(super) const DATABASE_URL: &str = "DATABASE_URL";

fn database_url(job: &Job, directory: &DevDirectory) -> String {
    let given = variable(DATABASE_URL).and_then(|url| url.into_string().ok());
    let configured = || job.config.database_url().map(str::to_owned);
    given
        .or_else(configured)
        .unwrap_or_else(|| directory.sqlite(&job.name))
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
    let has_database = job.program.has_database();
    let database = has_database.then(|| database_url(job, directory));
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

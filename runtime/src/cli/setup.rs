//! `setup`: what this version needs of server and database.

mod monitor;

use std::time::Duration;

use tokio::time::Instant;

use super::arguments::Setup as Arguments;
use super::host::stop::Stop;
use super::program::Program;
use super::{Exit, Job, say};
use crate::error::run_error::{Reason, RunError};
use crate::nats::connect::connect_until;
use crate::run::setup::{Options, setup_with};
use crate::service::Definition;
use crate::service::stream::Stream;
use monitor::risk_of_power_cut;

pub(super) async fn setup(job: Job, arguments: Arguments) -> Result<Exit, RunError> {
    job.database_url()?;
    let Job {
        program,
        config,
        name,
        ..
    } = job;
    let until = Instant::now() + Duration::from_secs(arguments.wait.into());
    let set_up = async {
        let mut told = Vec::new();
        for service in program.to_set_up() {
            let (login, section) = program.login(&config, "setup", service);
            let connection = format!("{} setup", service.name());
            let connected = connect_until(&login, &connection, &section, until).await;
            let (nats, _) = connected.map_err(|error| tried(error, arguments.wait))?;
            let options = options(&arguments, &program, service);
            told.extend(setup_with(service, &nats, config.database_url(), &options).await?);
        }
        // Only where somebody says where the monitoring is: NATS itself does not tell.
        if let Some(monitor) = &config.nats.monitor
            && let Some(risk) = risk_of_power_cut(monitor).await?
        {
            tracing::warn!("{risk}");
        }
        Ok::<_, RunError>(told)
    };
    let told = tokio::select! {
        set_up = set_up => set_up?,
        () = Stop::listen()?.requested() => return Ok(Exit::FAILURE),
    };
    if arguments.plan {
        say("setup would do this, and has changed nothing:");
        for line in told {
            say(line);
        }
        return Ok(Exit::SUCCESS);
    }
    let streams: Vec<&str> = program
        .services()
        .iter()
        .flat_map(Definition::all_streams)
        .map(Stream::name)
        .collect();
    let streams = if streams.is_empty() {
        "no streams".to_owned()
    } else {
        streams.join(", ")
    };
    let database = if program.has_database() {
        ", and its schema"
    } else {
        ""
    };
    say(format_args!(
        "{name} {} is set up: {streams}{database}",
        program.main().version()
    ));
    Ok(Exit::SUCCESS)
}

/// Says for how long a server was tried that was not reached.
fn tried(error: RunError, seconds: u32) -> RunError {
    if error.reason() == Reason::Unreached && seconds > 0 {
        error.and(format!(
            "it was tried for {seconds} s; `--wait SECONDS` tries longer"
        ))
    } else {
        error
    }
}

/// What the command line allows for one of the services. A name that no service knows is the
/// program's own service's to refuse.
fn options(arguments: &Arguments, program: &Program, service: &Definition) -> Options {
    let knows = |service: &Definition, name: &str| {
        let mut streams = service.all_streams().into_iter();
        let mut consumers = service.consumers();
        streams.any(|stream| stream.name() == name)
            || consumers.any(|consumer| consumer.durable_name() == name)
    };
    let is_main = service.name() == program.main().name();
    let is_for_it = |name: &&String| {
        let unknown = || program.services().iter().all(|other| !knows(other, name));
        knows(service, name) || (is_main && unknown())
    };
    let mut options = Options::default();
    if arguments.plan {
        options = options.only_plan();
    }
    for name in arguments.take_over.iter().filter(is_for_it) {
        options = options.take_over(name);
    }
    for stream in arguments.shrink.iter().filter(is_for_it) {
        options = options.shrink(stream);
    }
    options
}

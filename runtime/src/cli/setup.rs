//! `setup`: what this version needs of server and database.

mod monitor;

use super::arguments::Setup as Arguments;
use super::stop::Stop;
use super::{Exit, Job, say};
use crate::error::run_error::RunError;
use crate::nats::connect::connect_patiently;
use crate::run::setup::{Options, setup_with};
use monitor::risk_of_power_cut;

pub(super) async fn setup(job: Job, arguments: Arguments) -> Result<Exit, RunError> {
    let mut options = Options::default();
    if arguments.plan {
        options = options.only_plan();
    }
    for name in arguments.take_over {
        options = options.take_over(name);
    }
    for stream in arguments.shrink {
        options = options.shrink(stream);
    }
    job.database_url()?;
    let Job {
        definition,
        config,
        name,
        ..
    } = job;
    let set_up = async {
        let login = config.nats_as("setup");
        let section = config.section_of("setup");
        let (nats, _) = connect_patiently(&login, &format!("{name} setup"), &section).await?;
        let told = setup_with(&definition, &nats, config.database_url(), &options).await?;
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
    let streams: Vec<&str> = definition
        .all_streams()
        .iter()
        .map(|stream| stream.name())
        .collect();
    let streams = if streams.is_empty() {
        "no streams".to_owned()
    } else {
        streams.join(", ")
    };
    let database = if definition.database.is_some() {
        ", and its schema"
    } else {
        ""
    };
    say(format_args!(
        "{name} {} is set up: {streams}{database}",
        definition.version()
    ));
    Ok(Exit::SUCCESS)
}

//! `setup`: what this version needs of server and database.

use super::stop::Stop;
use super::{Exit, Job, say};
use crate::RunError;
use crate::connect::connect_patiently;
use crate::monitor::risk_of_power_cut;

pub(super) async fn setup(job: Job) -> Result<Exit, RunError> {
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
        crate::setup::setup(&definition, &nats, config.database_url()).await?;
        // Only where somebody says where the monitoring is: NATS itself does not tell.
        if let Some(monitor) = &config.nats.monitor
            && let Some(risk) = risk_of_power_cut(monitor).await?
        {
            tracing::warn!("{risk}");
        }
        Ok::<_, RunError>(())
    };
    tokio::select! {
        set_up = set_up => set_up?,
        () = Stop::listen()?.requested() => return Ok(Exit::FAILURE),
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

//! `serve`: functions against a server that runs somewhere.

use std::time::Duration;

use super::stop::Stop;
use super::{Exit, Job, say};
use crate::connect::{connect, without_password};
use crate::{RunError, start};

/// How long what is in flight may take at stop. Docker kills after 10 s.
pub(super) const DRAIN: Duration = Duration::from_secs(8);

pub(super) async fn serve(job: Job, functions: &[String]) -> Result<Exit, RunError> {
    let Job {
        definition,
        config,
        name,
        ..
    } = job;
    let definition = definition.only(functions)?;
    let served: Vec<&str> = definition.function_names().collect();
    let at = without_password(&config.nats.url);
    let ready = format!(
        "{name} {} serves {} on {at}",
        definition.version(),
        served.join(", ")
    );
    let stop = Stop::listen()?.requested();
    tokio::pin!(stop);
    let starting = async {
        let nats = connect(&config.nats, &name).await?;
        start(definition, nats, config.database_url()).await
    };
    let running = tokio::select! {
        running = starting => running?,
        () = &mut stop => return Ok(Exit::SUCCESS),
    };
    say(ready);
    stop.await;
    running.stop(DRAIN).await;
    Ok(Exit::SUCCESS)
}

//! `serve`: runs functions with an existing server.

use super::host::Host;
use super::stop::Stop;
use super::{Exit, Job, say};
use crate::config::address::without_password;
use crate::error::run_error::RunError;

pub(super) async fn serve(mut job: Job, functions: &[String]) -> Result<Exit, RunError> {
    job.definition = job.definition.only(functions)?;
    let database_url = if job.definition.needs_database() {
        job.database_url()?
    } else {
        job.config.database_url()
    };
    let database_url = database_url.map(str::to_owned);
    let definition = job.definition;
    let served: Vec<&str> = definition.function_names().collect();
    let at = without_password(&job.config.nats.url);
    let ready = format!(
        "{} {} serves {} on {at}",
        job.name,
        definition.version(),
        served.join(", ")
    );
    let host = Host {
        definition,
        database_url,
        nats: job.config.nats,
        name: job.name,
    };
    let mut stop = std::pin::pin!(Stop::listen()?.requested());
    let running = tokio::select! {
        running = host.start() => running?,
        () = &mut stop => return Ok(Exit::SUCCESS),
    };
    say(ready);
    host.serve(running, stop).await?;
    Ok(Exit::SUCCESS)
}

//! `serve`: runs functions with an existing server.

use super::host::serve as host;
use super::host::stop::Stop;
use super::{Exit, Job, say};
use crate::config::address::without_password;
use crate::error::run_error::RunError;

pub(super) async fn serve(mut job: Job, functions: &[String]) -> Result<Exit, RunError> {
    job.program.only(functions)?;
    if job.program.needs_database() {
        job.database_url()?;
    }
    let ready = format!(
        "{} {} serves {} on {}",
        job.name,
        job.program.main().version(),
        job.program.served(),
        without_password(&job.config.nats.url)
    );
    let stop = Stop::listen()?.announced();
    host(job.program, &job.config, &job.board, stop, || {
        say(ready);
        Ok(())
    })
    .await?;
    Ok(Exit::SUCCESS)
}

//! The login that a command connects with: the service's own, or one of `credentials`.

use crate::cli::Job;
use crate::config::NatsConfig;
use crate::error::run_error::RunError;

/// Whose connection it is.
pub(crate) struct Who {
    pub(crate) nats: NatsConfig,
    /// Where in the configuration the login stands.
    pub(crate) section: String,
}

/// A name of the credentials, or the service's own login.
pub(crate) fn login(job: &Job, name: Option<&str>) -> Result<Who, RunError> {
    match name {
        None => Ok(Who {
            nats: job.config.nats.clone(),
            section: "nats".to_owned(),
        }),
        Some(name) if knows(job, name) => Ok(Who {
            nats: job.config.nats_as(name),
            section: format!("credentials.{name}"),
        }),
        Some(name) => {
            let known: Vec<&str> = job.config.credentials.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            Err(RunError::misuse([format!(
                "there are no credentials.{name}; there are: {known}"
            )]))
        }
    }
}

pub(crate) fn knows(job: &Job, name: &str) -> bool {
    job.config.credentials.contains_key(name)
}

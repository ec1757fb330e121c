//! Hosts a service in this process: starts it, starts it again when its connection dies, drains it.

use std::pin::Pin;
use std::time::Duration;

use super::say;
use crate::config::NatsConfig;
use crate::connect::{Refusals, connect_patiently};
use crate::{Definition, RunError, Running, start};

/// How long what is in flight may take at stop. Docker kills after 10 s.
const DRAIN: Duration = Duration::from_secs(8);
/// With a dead connection there is nobody to wait for.
const GIVE_UP: Duration = Duration::from_secs(1);

/// How long a refusal of the server may still be on its way within this process.
const SETTLE: Duration = Duration::from_millis(100);

/// A service, and what it needs to start.
pub(super) struct Host {
    pub(super) definition: Definition,
    pub(super) nats: NatsConfig,
    pub(super) database_url: Option<String>,
    pub(super) name: String,
}

impl Host {
    /// Connects and starts. A subscription that the server refuses is an error: NATS says so beside
    /// it, and the function would look as if it were served.
    pub(super) async fn start(&self) -> Result<Running, RunError> {
        let (nats, refusals) = connect_patiently(&self.nats, &self.name, "nats").await?;
        let started = start(self.definition.clone(), nats, self.database_url.as_deref()).await;
        let unheard = unheard(refusals).await;
        if unheard.is_empty() {
            return started;
        }
        if let Ok(running) = started {
            running.stop(GIVE_UP).await;
        }
        let user = self.nats.user.as_deref();
        Err(RunError::new(format!(
            "{} may not subscribe {}; let its permissions allow that, or serve the functions that it is for: serve FUNCTION",
            user.map_or_else(
                || "this login".to_owned(),
                |user| format!("the user {user}")
            ),
            unheard.join(", ")
        )))
    }

    /// Serves until the word to stop, then drains.
    pub(super) async fn serve(
        &self,
        mut running: Running,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), RunError> {
        loop {
            tokio::select! {
                () = &mut stop => break,
                reason = running.lost() => tracing::error!("{reason}; starting again"),
            }
            running.stop(GIVE_UP).await;
            running = tokio::select! {
                again = self.start() => again?,
                () = &mut stop => return Ok(()),
            };
        }
        say("stopping");
        running.stop(DRAIN).await;
        Ok(())
    }
}

/// The subjects whose subscription the server refused.
async fn unheard(refusals: Refusals) -> Vec<String> {
    // They came in before the answer to the round trip with which `start` ends, but another task
    // hands them on.
    tokio::time::sleep(SETTLE).await;
    let mut unheard = Vec::new();
    for refusal in refusals.borrow().iter() {
        match subject(refusal) {
            Some(subject) => unheard.push(subject.to_owned()),
            None => tracing::warn!(error = refusal, "NATS refuses something"),
        }
    }
    unheard
}

/// The subject in the server's refusal of a subscription, if it is one.
fn subject(refusal: &str) -> Option<&str> {
    let (_, rest) = refusal.split_once("Permissions Violation for Subscription to \"")?;
    rest.split('"').next()
}

//! Hosts a service in this process: starts it, starts it again when its connection dies, drains it.

use std::pin::Pin;
use std::time::Duration;

use super::say;
use crate::config::NatsConfig;
use crate::connect::connect;
use crate::{Definition, RunError, Running, start};

/// How long what is in flight may take at stop. Docker kills after 10 s.
const DRAIN: Duration = Duration::from_secs(8);
/// With a dead connection there is nobody to wait for.
const GIVE_UP: Duration = Duration::from_secs(1);

/// A service, and what it needs to start.
pub(super) struct Host {
    pub(super) definition: Definition,
    pub(super) nats: NatsConfig,
    pub(super) database_url: Option<String>,
    pub(super) name: String,
}

impl Host {
    /// Connects and starts.
    pub(super) async fn start(&self) -> Result<Running, RunError> {
        let nats = connect(&self.nats, &self.name).await?;
        start(self.definition.clone(), nats, self.database_url.as_deref()).await
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

//! One connection, and its inbox for answers and deliveries.

use std::time::Duration;

use tokio::time::sleep;

use super::connect::{Refusals, pause, refused_subject};
use crate::nats::jetstream::Nats;
use crate::telemetry::unheard::Unheard;

/// One connection.
pub(crate) struct Link {
    pub(crate) nats: Nats,
    /// `None` if the application made the connection.
    pub(crate) refusals: Option<Refusals>,
}

impl Link {
    /// The next refusal of the server. `None` once the connection's task has ended.
    pub(crate) async fn refusal(&mut self) -> Option<String> {
        match &mut self.refusals {
            Some(refusals) => refusals.next().await,
            None => std::future::pending().await,
        }
    }

    /// The subjects of all inboxes of this connection.
    pub(crate) fn inboxes(nats: &Nats) -> String {
        let inbox = nats.new_inbox();
        let prefix = inbox.rsplit_once('.').map_or("", |(prefix, _)| prefix);
        format!("{prefix}.>")
    }

    /// Watches the connection's inboxes: async-nats' own, for answers, and those of consumers. When the
    /// server has ended one, async-nats does not notice; this subscribes all of them again once the
    /// permissions allow it. `number` identifies the connection within the service. Returns once the
    /// connection's task has ended.
    pub(crate) async fn watch(mut self, unheard: &Unheard, number: usize) {
        let inboxes = Self::inboxes(&self.nats);
        let prefix = inboxes.trim_end_matches('>');
        while let Some(refusal) = self.refusal().await {
            if !refused_subject(&refusal).is_some_and(|subject| subject.starts_with(prefix)) {
                tracing::warn!(error = refusal, "NATS refuses something");
                continue;
            }
            tracing::error!(
                error = refusal,
                "answers and messages cannot come in: the server refuses the inbox; tried again until its permissions allow it"
            );
            unheard.insert(&inboxes, number, refusal);
            if !self.recover(prefix).await {
                return;
            }
            unheard.remove(&inboxes, number);
            tracing::info!("answers and messages come in again");
        }
    }

    /// Waits until an inbox can be subscribed, then makes async-nats reconnect: only then does it
    /// subscribe its own inbox. False if the connection's task has ended.
    async fn recover(&mut self, prefix: &str) -> bool {
        let Some(refusals) = &mut self.refusals else {
            return false;
        };
        let is_inbox = |refusal: &String| {
            refused_subject(refusal).is_some_and(|subject| subject.starts_with(prefix))
        };
        for attempts in 3.. {
            sleep(pause(attempts).min(Duration::from_secs(3))).await;
            let Ok(probe) = self.nats.subscribe(self.nats.new_inbox()).await else {
                return false;
            };
            let refused = refusals.so_far(&self.nats).await;
            drop(probe);
            if !refused.is_ok_and(|refused| !refused.iter().any(is_inbox)) {
                continue;
            }
            if self.nats.force_reconnect().await.is_err() {
                return false;
            }
            let refused = refusals.so_far(&self.nats).await;
            if refused.is_ok_and(|refused| !refused.iter().any(is_inbox)) {
                return true;
            }
        }
        false
    }
}

//! Subscriptions that are read until they are drained; a message that waits for something has a task of its own.

pub(super) mod links;
pub(super) mod on_panic;
mod pace;
mod reader;
mod slot;

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::error::run_error::{Reason, RunError};
use crate::nats::connections::Connections;
use crate::nats::link::Link;
use crate::service::trigger::Subscription;
use crate::telemetry::unheard::Unheard;
use links::Links;
use on_panic::OnPanic;
use slot::Slot;

/// Some subscriptions that live and drain together, on one connection or several.
pub(crate) struct Listener {
    subscriptions: Vec<Arc<Subscription>>,
    stop: watch::Sender<bool>,
    lost: watch::Sender<bool>,
    slots: Vec<JoinHandle<()>>,
    links: Links,
    messages: TaskTracker,
}

/// How many connections a listener takes, and what they are called.
pub(crate) struct Share {
    pub(crate) purpose: &'static str,
    pub(crate) connections: usize,
}

impl Listener {
    pub(crate) fn new() -> Self {
        Self {
            subscriptions: Vec::new(),
            stop: watch::channel(false).0,
            lost: watch::channel(false).0,
            slots: Vec::new(),
            links: Links::default(),
            messages: TaskTracker::new(),
        }
    }

    /// The word to stop, for what drains with these subscriptions.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Its connections, as they will be at any moment.
    pub(crate) fn links(&self) -> Links {
        self.links.clone()
    }

    /// Handles the messages of a subscription, once the listener is opened.
    pub(crate) fn listen(&mut self, subscription: Subscription) {
        self.subscriptions.push(Arc::new(subscription));
    }

    /// Subscribes everything, and returns once the server knows.
    ///
    /// # Errors
    /// A connection has ended meanwhile; the server refuses a subscription.
    pub(crate) async fn open(
        &mut self,
        connections: &Connections,
        share: Share,
        unheard: &Arc<Unheard>,
    ) -> Result<(), RunError> {
        let all = self.subscriptions.clone();
        let mut slots = Vec::new();
        if !all.is_empty() {
            let several: Vec<_> = all
                .iter()
                .filter(|one| one.group.is_some())
                .cloned()
                .collect();
            let count = match connections.connector {
                Some(_) if !several.is_empty() => share.connections,
                _ => 1,
            };
            slots.push(all);
            slots.resize(count, several);
        }
        let slots = slots.into_iter().enumerate().map(|(at, subscriptions)| {
            let purpose = if share.connections > 1 {
                format!("{} {}", share.purpose, at + 1)
            } else {
                share.purpose.to_owned()
            };
            self.slot(connections, at, purpose, subscriptions, unheard)
        });
        let slots = join_all(slots).await;
        let mut refused = Vec::new();
        for slot in slots {
            let slot = slot?;
            refused.extend(slot.refused());
            self.slots.push(tokio::spawn(slot.keep()));
        }
        match &connections.connector {
            Some(connector) if connections.is_strict && !refused.is_empty() => {
                refused.sort();
                refused.dedup();
                Err(connector.refused(&refused))
            }
            _ => Ok(()),
        }
    }

    async fn slot(
        &self,
        connections: &Connections,
        number: usize,
        purpose: String,
        subscriptions: Vec<Arc<Subscription>>,
        unheard: &Arc<Unheard>,
    ) -> Result<Slot, RunError> {
        let link = match &connections.connector {
            Some(connector) => connector.connect(&purpose).await?,
            None => Link {
                nats: connections.main.nats.clone(),
                refusals: None,
            },
        };
        let mut slot = Slot {
            link,
            number,
            purpose,
            connector: connections.connector.clone(),
            subscriptions,
            unheard: unheard.clone(),
            links: self.links.clone(),
            stop: self.stop.subscribe(),
            lost: OnPanic(self.lost.clone()),
            messages: self.messages.clone(),
            state: slot::State::default(),
        };
        slot.subscribe_all().await.map_err(|error: Error| {
            RunError::of(
                Reason::Passing,
                format!("the service cannot start: {error}"),
            )
        })?;
        self.links.put(number, slot.link.nats.clone());
        Ok(slot)
    }

    /// Returns once a connection has ended that nothing replaces, or what keeps one has panicked.
    pub(crate) async fn lost(&self) {
        // The sender lives as long as `self`.
        let _ = self.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// Unsubscribes, handles what the server had sent before it heard of that, and waits for the
    /// last message to be handled, until then.
    pub(crate) async fn drain(self, until: Instant) {
        self.stop.send_replace(true);
        for slot in self.slots {
            // What was on its way is in the tracker after this.
            let _ = timeout_at(until, slot).await;
        }
        self.messages.close();
        if timeout_at(until, self.messages.wait()).await.is_err() {
            tracing::warn!(
                unfinished = self.messages.len(),
                "not finished before the deadline"
            );
        }
    }
}

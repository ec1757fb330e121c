//! One connection of a listener: kept subscribed, and replaced alone where it ends.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{SubscribeError, Subscriber};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::links::Links;
use super::on_panic::OnPanic;
use super::pace::Pace;
use super::reader::{Reader, told};
use crate::error::{Error, Result};
use crate::nats::connect::{TELL, pause, refused_subject};
use crate::nats::connections::Connector;
use crate::nats::link::Link;
use crate::run::ready::round_trip;
use crate::service::trigger::Subscription;
use crate::telemetry::unheard::Unheard;

/// How many subscriptions are made before the server is asked whether it took them. async-nats
/// keeps 128 of its refusals, and drops those that follow.
const AT_ONCE: usize = 64;

/// One connection, and the subscriptions that belong on it.
pub(super) struct Slot {
    pub(super) link: Link,
    /// Which one of the listener it is.
    pub(super) number: usize,
    /// Its part of the connection's name.
    pub(super) purpose: String,
    /// Makes another one. None where there is only this one.
    pub(super) connector: Option<Arc<Connector>>,
    pub(super) subscriptions: Vec<Arc<Subscription>>,
    pub(super) unheard: Arc<Unheard>,
    pub(super) links: Links,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) lost: OnPanic,
    pub(super) messages: TaskTracker,
    pub(super) state: State,
}

/// What changes in the life of a slot.
#[derive(Default)]
pub(super) struct State {
    readers: JoinSet<bool>,
    /// The accepted subscriptions by index; the token tells a reader that the server has ended its own.
    open: HashMap<usize, CancellationToken>,
    /// What the server refuses.
    refused: BTreeSet<usize>,
    /// How often in a row refused ones were tried again, and when they are tried next.
    attempts: usize,
    again: Option<Instant>,
    /// How often the connection was replaced, and when that was last logged.
    replaced: u64,
    told: Option<Instant>,
}

impl Slot {
    /// The subjects that the server refuses.
    pub(super) fn refused(&self) -> impl Iterator<Item = String> {
        let refused = self.state.refused.iter();
        refused.map(|&at| self.subscriptions[at].subject.clone())
    }

    /// Makes every subscription, and returns once the server has taken or refused each.
    pub(super) async fn subscribe_all(&mut self) -> Result<()> {
        self.subscribe((0..self.subscriptions.len()).collect())
            .await
    }

    /// Keeps the subscriptions until the stop, and then drains them.
    pub(super) async fn keep(mut self) {
        let mut stop = self.stop.clone();
        loop {
            let again = self.state.again;
            let has_ended = tokio::select! {
                () = told(&mut stop) => break,
                refusal = self.link.refusal() => match refusal {
                    Some(refusal) => {
                        self.hear(&refusal);
                        false
                    }
                    None => true,
                },
                Some(read) = self.state.readers.join_next() => !read.unwrap_or(false),
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    self.state.again = None;
                    self.state.attempts += 1;
                    let refused = self.state.refused.iter().copied().collect();
                    // A failure shows as a closed connection, or at the next attempt.
                    let _ = self.subscribe(refused).await;
                    self.plan();
                    false
                }
            };
            if has_ended {
                tokio::select! {
                    () = self.replace() => {}
                    () = told(&mut stop) => break,
                }
            }
        }
        while self.state.readers.join_next().await.is_some() {}
    }

    async fn subscribe(&mut self, wanted: Vec<usize>) -> Result<()> {
        for part in wanted.chunks(AT_ONCE) {
            let mut made = Vec::with_capacity(part.len());
            for &at in part {
                made.push((at, self.subscribe_one(at).await.map_err(Error::from)?));
            }
            let refusals = match &mut self.link.refusals {
                Some(refusals) => refusals.so_far(&self.link.nats).await?,
                None => {
                    round_trip(&self.link.nats).await?;
                    Vec::new()
                }
            };
            for (at, subscriber) in made {
                self.state.refused.remove(&at);
                self.read(at, subscriber);
            }
            // Also what was taken earlier, if the server ends it just now.
            for refusal in &refusals {
                self.hear(refusal);
            }
            for &at in part {
                self.welcome(at);
            }
        }
        Ok(())
    }

    async fn subscribe_one(&self, at: usize) -> std::result::Result<Subscriber, SubscribeError> {
        let Subscription { subject, group, .. } = &*self.subscriptions[at];
        let nats = &self.link.nats;
        match group {
            Some(group) => nats.queue_subscribe(subject.clone(), group.clone()).await,
            None => nats.subscribe(subject.clone()).await,
        }
    }

    fn read(&mut self, at: usize, subscriber: Subscriber) {
        let closed = CancellationToken::new();
        let reader = Reader {
            nats: self.link.nats.clone(),
            subscription: self.subscriptions[at].clone(),
            stop: self.stop.clone(),
            closed: closed.clone(),
            messages: self.messages.clone(),
            pace: Arc::new(Pace::default()),
        };
        self.state.readers.spawn(reader.read(subscriber));
        self.state.open.insert(at, closed);
    }

    /// The server refuses something: a subscription that was just made, or one that it had taken
    /// and ends because the rights have changed.
    fn hear(&mut self, refusal: &str) {
        let subject = refused_subject(refusal);
        let mut is_ours = false;
        for at in 0..self.subscriptions.len() {
            if subject != Some(&self.subscriptions[at].subject) {
                continue;
            }
            is_ours = true;
            if let Some(closed) = self.state.open.remove(&at) {
                closed.cancel();
            }
            self.state.refused.insert(at);
            let subject = &self.subscriptions[at].subject;
            if self
                .unheard
                .insert(subject, self.number, refusal.to_owned())
            {
                tracing::error!(
                    subject,
                    error = refusal,
                    "not subscribed: the server refuses it; tried again until its permissions allow it"
                );
            }
        }
        if is_ours {
            self.plan();
        } else {
            tracing::warn!(error = refusal, "NATS refuses something");
        }
    }

    /// Sets the time of the next attempt, where there is something to try: soon at first, and never
    /// later than 5 s.
    fn plan(&mut self) {
        let State {
            refused,
            again,
            attempts,
            ..
        } = &mut self.state;
        if refused.is_empty() {
            *attempts = 0;
        } else if again.is_none() {
            *again = Some(Instant::now() + pause(*attempts + 3));
        }
    }

    /// A subscription is there, if it was not refused.
    fn welcome(&mut self, at: usize) {
        if self.state.refused.contains(&at) {
            return;
        }
        let subject = &self.subscriptions[at].subject;
        if self.unheard.remove(subject, self.number) {
            tracing::info!(subject, "subscribed again");
        }
    }

    /// Puts another connection in the place of one whose own task has ended. Until it is there the
    /// others of the listener get the requests.
    async fn replace(&mut self) {
        let Some(connector) = self.connector.clone() else {
            self.lost.0.send_replace(true);
            return std::future::pending().await;
        };
        let ended = Instant::now();
        self.links.remove(self.number);
        // What had arrived is still handled: answers go out on another connection.
        while self.state.readers.join_next().await.is_some() {}
        self.state.open.clear();
        self.state.refused.clear();
        let mut attempts = 0;
        loop {
            match connector.connect(&self.purpose).await {
                Ok(link) => {
                    self.link = link;
                    match self.subscribe_all().await {
                        Ok(()) => {
                            self.links.put(self.number, self.link.nats.clone());
                            return self.tell(ended.elapsed());
                        }
                        Err(error) => tracing::debug!(%error, "a new connection ended too"),
                    }
                    self.state.readers.shutdown().await;
                    self.state.open.clear();
                }
                Err(error) => tracing::error!(%error, "a connection cannot be replaced"),
            }
            attempts += 1;
            sleep(pause(attempts)).await;
        }
    }

    fn tell(&mut self, took: Duration) {
        self.state.replaced += 1;
        if self.state.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.state.told = Some(Instant::now());
            tracing::warn!(
                times = self.state.replaced,
                millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "the connection for {} ended and was replaced: somebody who may ask has sent headers that no client can read (nats-io/nats.rs#1612)",
                self.purpose
            );
        }
    }
}

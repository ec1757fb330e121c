//! One attempt at a batch: calls the function for it, halves what fails, and settles every message.

mod walk;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::{Instrument, Span};

use super::settle::{Settler, key};
use crate::error::{Error, Policy, Result};
use crate::function::database::Database;
use crate::function::event::{Delivery, Entry, Key, Known, StreamId};
use crate::function::handler::Call;
use crate::function::invoke::contained;
use crate::function::template::Template;
use crate::nats::client::Client;
use crate::run::backoff::backoff;
use crate::service::background::Background;
use crate::service::consumer::Consumer;
use crate::telemetry::stats::{State, Stats};
use crate::telemetry::{self, MessageOutcome, MessageSpans, Source, measure};
use walk::{Failed, Walk};

/// Runs the function of one consumer.
pub(crate) struct Attempt {
    pub(crate) service: Arc<str>,
    pub(crate) function: String,
    pub(crate) call: Call<Delivery>,
    pub(crate) templates: Arc<[Template]>,
    /// What its spans say.
    pub(crate) source: Source,
    pub(crate) deadline: Duration,
    pub(crate) inbox: bool,
    pub(crate) client: Option<Client>,
    pub(crate) database: Option<Arc<dyn Database>>,
    pub(crate) stats: Arc<Stats>,
    #[cfg(feature = "testing")]
    pub(crate) failpoints: crate::service::failpoint::Failpoints,
}

impl Attempt {
    /// Runs the function for all of these and settles each, whatever happens. When the service
    /// stops while a dependency is down, or the consumer halts, they are left unsettled.
    pub(crate) async fn all(
        &self,
        settler: &Settler,
        entries: Vec<Arc<Entry>>,
        stop: watch::Receiver<bool>,
    ) {
        let keys: Vec<Key> = entries.iter().map(|entry| key(entry)).collect();
        if let Err(error) = contained(self.each(settler, entries, stop).boxed()).await {
            tracing::error!(function = self.function, %error, "a panic outside the function's call, such as in the drop of one of its values: what is not settled comes again");
            self.stats.failed(&error);
            settler.give_back_of(&keys).await;
        }
    }

    async fn each(&self, settler: &Settler, entries: Vec<Arc<Entry>>, stop: watch::Receiver<bool>) {
        let spans = MessageSpans::begin(&self.source, &entries);
        let again = entries.iter().filter(|entry| entry.delivered() > 1).count();
        Stats::add(&self.stats.redeliveries, again);
        let mut rest = entries;
        let evidence = &settler.evidence;
        if evidence.doubts() {
            // The least tried come first: the others are known to fail.
            rest.sort_by_key(|entry| (evidence.tries(key(entry)), entry.seq()));
            while !rest.is_empty() && evidence.doubts() && evidence.admit() {
                let entry = rest.remove(0);
                self.part(settler, vec![entry], &stop, &spans).await;
            }
            if evidence.doubts() {
                for entry in rest {
                    settler.wait(key(&entry)).await;
                    spans.end(&entry, MessageOutcome::Retried, None);
                }
                return;
            }
            rest.sort_by_key(|entry| entry.seq());
        }
        if !rest.is_empty() {
            self.part(settler, rest, &stop, &spans).await;
        }
    }

    /// The id of the database that the function writes to; `None` if it uses none.
    pub(crate) async fn database_id(&self, consumer: &Consumer) -> Result<Option<String>> {
        let needs = &self.call.needs;
        match &self.database {
            Some(database) if needs.database || needs.transaction || consumer.floor.is_some() => {
                let id = database.identity().await?;
                let lost = || {
                    Error::unavailable(
                        "the database that database.url names has lost its id (the row in natsfn_database), so nobody knows whether it is the one that the consumer feeds: run `setup`, which writes it back",
                    )
                };
                id.map(Some).ok_or_else(lost)
            }
            _ => Ok(None),
        }
    }

    /// Up to where the inbox knows a life of the stream to be settled.
    pub(crate) async fn settled(
        &self,
        consumer: &Consumer,
        stream_created: SystemTime,
    ) -> Result<Known> {
        let stream = StreamId {
            name: consumer.stream.name().to_owned(),
            created: stream_created,
            ack_floor: 0,
        };
        match &self.database {
            Some(database) if self.inbox && self.call.needs.transaction => {
                database
                    .settled(&self.service, &self.function, &stream)
                    .await
            }
            _ => Ok(Known::Nothing),
        }
    }

    /// Runs the function for these, halving them where they fail, and settles what has failed last:
    /// by then it is known whether anything succeeds.
    async fn part(
        &self,
        settler: &Settler,
        entries: Vec<Arc<Entry>>,
        stop: &watch::Receiver<bool>,
        spans: &MessageSpans,
    ) {
        let mut walk = Walk {
            settler,
            spans,
            stop: stop.clone(),
            since: settler.evidence.successes(),
            one_failed: false,
            failed: Vec::new(),
        };
        self.some(&mut walk, entries).await;
        // Whether the schema was at fault is looked up after a failure, and it may have been mended by then. These calls
        // begin after the look.
        let refused = |failed: &mut Failed| self.is_refused(&failed.error);
        let refused: Vec<_> = walk.failed.extract_if(.., refused).collect();
        if !refused.is_empty() {
            let entries = refused.into_iter().map(|failed| failed.entry).collect();
            self.some(&mut walk, entries).await;
        }
        let Walk { failed, since, .. } = walk;
        self.fail(settler, &failed, since, spans).await;
    }

    /// Whether a message with this error would be given up for what the database says of its values.
    fn is_refused(&self, error: &Error) -> bool {
        let is_last = error.policy() == Policy::DeadLetter;
        is_last && (self.database.as_ref()).is_some_and(|database| database.has_refused(error))
    }

    /// Settles a message that cannot be read, in the span that it was fetched in.
    pub(crate) async fn refuse(&self, settler: &Settler, entry: Entry, error: &Error) {
        let entry = Arc::new(entry);
        let span = self.source.message(&entry, &Span::current());
        let settle = self.source.settle("term", std::slice::from_ref(&entry));
        // A message without a trace of its own shows in the span that settles it.
        let span = if span.is_disabled() {
            settle.clone()
        } else {
            span
        };
        let verdict = settler.judge([(&entry, error, true)], settler.evidence.successes());
        let settled = async {
            match verdict.into_iter().next() {
                Some(verdict) => settler.fail(&entry, error, verdict).await,
                None => MessageOutcome::Retried,
            }
        };
        let outcome = settled.instrument(settle).await;
        telemetry::tell(&span, outcome, Some(error));
        measure::outcome(&self.source.labels, outcome.name());
    }

    /// The argument of the service's callbacks about its own store.
    pub(crate) fn background(&self, stop: &watch::Receiver<bool>) -> Option<Background> {
        let (client, database) = (self.client.clone()?, self.database.as_ref());
        Some(Background::of_store(client, database, stop.clone()))
    }

    fn halt(&self, error: &Error) {
        tracing::error!(%error, "halted: nothing is acknowledged any more until a restart");
        self.stats.failed(error);
        self.stats.enter(State::Halted(error.to_string()));
    }

    /// Passes a failpoint; without the feature there are none.
    #[cfg(feature = "testing")]
    pub(crate) async fn failpoint(&self, step: &'static str) -> Result<()> {
        self.failpoints.pass(step).await
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_async, reason = "the same shape as with failpoints")]
    pub(crate) async fn failpoint(&self, _: &'static str) -> Result<()> {
        Ok(())
    }
}

/// Waits for a dependency. Nothing is fetched meanwhile, held messages stay in progress, no attempt is
/// counted. False when the service stops.
async fn wait(settler: &Settler, tries: u64, stop: &mut watch::Receiver<bool>) -> bool {
    let pause = (backoff(tries) / 4).min(Duration::from_secs(4));
    // The pause ends early at a stop, at the runtime's end, or when another call finds the dependency back.
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = settler.holds.back() => true,
        _ = stop.wait_for(|stop| *stop) => false,
    }
}

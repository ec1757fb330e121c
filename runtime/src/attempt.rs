//! One attempt at a batch: the transaction around it, the function, and what follows from its
//! answer. A batch that fails is halved until the bad item is alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::background::Background;
use crate::effect::{Database, Inbox};
use crate::error::{Error, Kind, Policy, Result};
use crate::event::{Delivery, Entry, Reach};
use crate::handler::Call;
use crate::invoke::invoke;
use crate::reply::Outcomes;
use crate::settle::{Settler, backoff};
use crate::stats::{InFlight, State, Stats};
use crate::telemetry::{self, MessageSpans, Outcome, Source, measure};
use crate::template::Template;

/// How long the database may take to begin or to commit. It is longer than the pool's own limits,
/// which know better what is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

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
    pub(crate) client: Option<crate::Client>,
    pub(crate) database: Option<Arc<dyn Database>>,
    pub(crate) stats: Arc<Stats>,
    /// None without a broker: then there is nothing to settle.
    pub(crate) settler: Option<Arc<Settler>>,
    /// Wakes the reader once a dependency is back.
    pub(crate) wake: Arc<Notify>,
    #[cfg(feature = "testing")]
    pub(crate) failpoints: crate::failpoint::Failpoints,
}

impl Attempt {
    /// Runs the function for all of these and settles each, whatever happens. When the service
    /// stops while a dependency is down, or the consumer halts, they are left unsettled.
    pub(crate) async fn all(&self, entries: Vec<Arc<Entry>>, stop: watch::Receiver<bool>) {
        let Some(settler) = &self.settler else { return };
        let spans = MessageSpans::begin(&self.source, &entries);
        let again = entries.iter().filter(|entry| entry.delivered() > 1).count();
        Stats::add(&self.stats.redeliveries, again);
        let (alone, together): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| settler.runs_alone(entry));
        if !together.is_empty() {
            self.some(settler, together, stop.clone(), &spans).await;
        }
        for entry in alone {
            self.some(settler, vec![entry], stop.clone(), &spans).await;
        }
    }

    /// Settles a message that cannot be read, in the span that it was fetched in.
    pub(crate) async fn refuse(&self, settler: &Settler, entry: Entry, error: &Error) {
        let entry = Arc::new(entry);
        let span = self.source.message(&entry, &Span::current());
        let settle = self.source.settle("term", std::slice::from_ref(&entry));
        // One without a trace of its own is told of where it is settled.
        let span = if span.is_disabled() {
            settle.clone()
        } else {
            span
        };
        let outcome = settler.fail(&entry, error).instrument(settle).await;
        telemetry::tell(&span, outcome, Some(error));
        measure::outcome(&self.source.labels, outcome.name());
    }

    fn some<'a>(
        &'a self,
        settler: &'a Arc<Settler>,
        entries: Vec<Arc<Entry>>,
        mut stop: watch::Receiver<bool>,
        spans: &'a MessageSpans,
    ) -> BoxFuture<'a, ()> {
        async move {
            let mut holds = 0;
            loop {
                if matches!(self.stats.state(), State::Halted(_)) {
                    return;
                }
                let done = self.once(&entries).await;
                let held = matches!(&done, Err(error) if error.kind().policy() == Policy::Hold);
                if holds > 0 && !held {
                    self.stats.enter(State::Running);
                    self.wake.notify_one();
                }
                let error = match done {
                    Ok(outcomes) => return self.settle(settler, &entries, outcomes, spans).await,
                    Err(error) => error,
                };
                if !held {
                    telemetry::mark_failed(&Span::current(), &error);
                }
                match error.kind().policy() {
                    Policy::Hold => {
                        holds += 1;
                        if !self.hold(&error, holds, &mut stop).await {
                            return;
                        }
                    }
                    Policy::Halt => return self.halt(&error),
                    Policy::DeadLetter | Policy::Attempt if entries.len() > 1 => {
                        let (left, right) = entries.split_at(entries.len() / 2);
                        self.some(settler, left.to_vec(), stop.clone(), spans).await;
                        return self.some(settler, right.to_vec(), stop, spans).await;
                    }
                    _ => {
                        let failed = entries.iter().map(|entry| (entry, &error)).collect();
                        return self.fail(settler, failed, spans).await;
                    }
                }
            }
        }
        .boxed()
    }

    async fn settle(
        &self,
        settler: &Settler,
        entries: &[Arc<Entry>],
        mut outcomes: Outcomes,
        spans: &MessageSpans,
    ) {
        Stats::add(&self.stats.duplicates, outcomes.duplicates());
        let mut halt = None;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            match outcomes.take_failure(entry.seq()) {
                None => done.push(entry.clone()),
                Some(error) if error.kind() == Kind::Halt => halt = Some(error),
                Some(error) => failed.push((entry, error)),
            }
        }
        if !done.is_empty() {
            let acks = async {
                for entry in &done {
                    settler.ack(entry).await;
                }
            };
            let started = Instant::now();
            acks.instrument(self.source.settle("ack", &done)).await;
            measure::called("ack", None, started.elapsed(), None);
        }
        for entry in &done {
            let outcome = if outcomes.is_duplicate(entry.seq()) {
                Outcome::Duplicate
            } else if self.call.needs.transaction {
                Outcome::Stored
            } else {
                Outcome::Done
            };
            spans.end(entry, outcome, None);
            measure::outcome(&self.source.labels, outcome.name());
        }
        if let Some((_, error)) = failed.first() {
            telemetry::mark_failed(&Span::current(), error);
        }
        let failed = failed
            .iter()
            .map(|(entry, error)| (*entry, error))
            .collect();
        self.fail(settler, failed, spans).await;
        if let Some(error) = halt {
            self.halt(&error);
        }
    }

    /// Settles messages that failed: those that are given up, then those that come again.
    async fn fail(
        &self,
        settler: &Settler,
        failed: Vec<(&Arc<Entry>, &Error)>,
        spans: &MessageSpans,
    ) {
        let (last, again): (Vec<_>, Vec<_>) = failed
            .into_iter()
            .partition(|(entry, error)| settler.gives_up(entry, error));
        for (how, part) in [("term", last), ("nak", again)] {
            if part.is_empty() {
                continue;
            }
            let entries: Vec<_> = part.iter().map(|(entry, _)| (*entry).clone()).collect();
            let settled = async {
                for (entry, error) in part {
                    let outcome = settler.fail(entry, error).await;
                    spans.end(entry, outcome, Some(error));
                    measure::outcome(&self.source.labels, outcome.name());
                }
            };
            let started = Instant::now();
            settled.instrument(self.source.settle(how, &entries)).await;
            measure::called(how, None, started.elapsed(), None);
        }
    }

    /// One run: begin, function, commit. Nothing is settled here.
    pub(crate) async fn once(&self, entries: &[Arc<Entry>]) -> Result<Outcomes> {
        let _in_flight = InFlight::new(&self.stats.in_flight);
        let started = Instant::now();
        let outcomes = self.run(entries).await;
        self.stats.processed(started.elapsed());
        let error = outcomes.as_ref().err().map(Error::kind);
        measure::processed(&self.source.labels, started.elapsed(), error);
        outcomes
    }

    async fn run(&self, entries: &[Arc<Entry>]) -> Result<Outcomes> {
        let mut reach = Reach {
            client: self.client.clone(),
            ..Reach::default()
        };
        let needs = self.call.needs;
        if !(needs.database || needs.transaction) {
            let outcomes = self.call(entries.to_vec(), reach).await?;
            self.reach("ack").await?;
            return Ok(outcomes);
        }
        let database = self
            .database
            .as_ref()
            .ok_or_else(|| Error::internal("no database"))?;
        reach.database = Some(database.handle());
        patiently(database.check()).await?;
        if !needs.transaction {
            let outcomes = self.call(entries.to_vec(), reach).await?;
            self.reach("ack").await?;
            return Ok(outcomes);
        }
        self.reach("begin").await?;
        let inbox = self.inbox.then_some(Inbox {
            service: &self.service,
            function: &self.function,
            entries,
        });
        let transaction = patiently(database.begin(inbox)).await?;
        let (done, fresh): (Vec<_>, Vec<_>) = entries
            .iter()
            .cloned()
            .partition(|entry| transaction.is_done(entry.seq()));
        let mut outcomes = if fresh.is_empty() {
            Outcomes::new()
        } else {
            reach.transaction = Some(transaction.handle());
            match self.call(fresh, reach).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    // A rollback that hangs is as good as one that is done: the connection goes.
                    let _ = tokio::time::timeout(PATIENCE, transaction.rollback()).await;
                    return Err(error);
                }
            }
        };
        self.reach("commit").await?;
        patiently(transaction.commit(&outcomes.failed_seqs())).await?;
        for entry in &done {
            outcomes.duplicate(entry);
        }
        self.reach("ack").await?;
        Ok(outcomes)
    }

    /// What the service is asked with about its own store.
    pub(crate) fn background(&self, stop: &watch::Receiver<bool>) -> Option<Background> {
        let client = self.client.clone()?;
        let database = self.database.as_ref().map(|database| database.handle());
        Some(Background {
            client,
            database,
            stop: stop.clone(),
            dev_page: None,
        })
    }

    async fn call(&self, entries: Vec<Arc<Entry>>, reach: Reach) -> Result<Outcomes> {
        let mut delivery = Delivery {
            entries,
            templates: self.templates.clone(),
            reach,
        };
        let outcomes = invoke(&self.call, &mut delivery, self.deadline, Span::current()).await?;
        self.reach("insert").await?;
        Ok(outcomes)
    }

    /// Waits for a dependency: nothing is fetched meanwhile, what is held stays in progress, no
    /// attempt is burned. False when the service stops.
    async fn hold(&self, error: &Error, holds: u64, stop: &mut watch::Receiver<bool>) -> bool {
        // The first says that it began; then one about every minute.
        if holds % 16 == 1 {
            tracing::warn!(%error, "holding: a dependency is down");
        }
        self.stats.failed(error);
        self.stats.enter(State::Holding(error.to_string()));
        let pause = (backoff(holds) / 4).min(Duration::from_secs(4));
        // A stop, or the runtime's end, cuts the pause short.
        tokio::time::timeout(pause, stop.wait_for(|stop| *stop))
            .await
            .is_err()
    }

    fn halt(&self, error: &Error) {
        tracing::error!(%error, "halted: nothing is acknowledged any more until a restart");
        self.stats.failed(error);
        self.stats.enter(State::Halted(error.to_string()));
    }

    /// Passes a failpoint; without the feature there are none.
    #[cfg(feature = "testing")]
    pub(crate) async fn reach(&self, step: &'static str) -> Result<()> {
        self.failpoints.pass(step).await
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_async, reason = "the same shape as with failpoints")]
    pub(crate) async fn reach(&self, _: &'static str) -> Result<()> {
        Ok(())
    }
}

async fn patiently<T>(database: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, database)
        .await
        .unwrap_or_else(|_| Err(Error::unavailable("the database does not answer")))
}

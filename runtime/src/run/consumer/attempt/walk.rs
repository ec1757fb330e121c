//! A batch on its way through the function: halved where it fails, until the bad message is alone;
//! what succeeded is acknowledged on the way, what failed is settled at the end.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{Attempt, wait};
use crate::error::{Error, Kind, Policy};
use crate::function::event::Entry;
use crate::function::reply::Outcomes;
use crate::run::consumer::evidence::Verdict;
use crate::run::consumer::hold::Cause;
use crate::run::consumer::settle::{AT_ONCE, Settler};
use crate::telemetry::stats::{State, Stats};
use crate::telemetry::{self, MessageOutcome, MessageSpans, measure};

/// A batch on its way through the function, in parts.
pub(super) struct Walk<'a> {
    pub(super) settler: &'a Settler,
    pub(super) spans: &'a MessageSpans,
    pub(super) stop: watch::Receiver<bool>,
    /// The successes when it began.
    pub(super) since: u64,
    /// A message has failed alone, by an error that may not be its own.
    pub(super) one_failed: bool,
    pub(super) failed: Vec<Failed>,
}

pub(super) struct Failed {
    pub(super) entry: Arc<Entry>,
    pub(super) error: Arc<Error>,
    /// It was alone in the call, or the function named it.
    pub(super) alone: bool,
}

impl Walk<'_> {
    /// Whether a part that failed is halved. If a message has failed alone and none has succeeded yet,
    /// halving further would call the function for each of the rest.
    pub(super) fn goes_on(&self, error: &Error) -> bool {
        error.policy() == Policy::DeadLetter
            || error.is_of_message()
            || !self.one_failed
            || self.settler.evidence.successes() > self.since
    }

    pub(super) fn note(&mut self, entries: Vec<Arc<Entry>>, error: Error, alone: bool) {
        let error = Arc::new(error);
        self.failed.extend(entries.into_iter().map(|entry| Failed {
            entry,
            error: error.clone(),
            alone,
        }));
    }
}

impl Attempt {
    pub(super) fn some<'a>(
        &'a self,
        walk: &'a mut Walk<'_>,
        entries: Vec<Arc<Entry>>,
    ) -> BoxFuture<'a, ()> {
        async move {
            let settler = walk.settler;
            let (mut tries, mut holding) = (0, None);
            loop {
                if matches!(self.stats.state(), State::Halted(_)) {
                    return;
                }
                let error = match self.once(&entries).await {
                    Ok(outcomes) => {
                        drop(holding);
                        return self.settle(walk, entries, outcomes).await;
                    }
                    Err(error) => error,
                };
                let policy = error.policy();
                if policy != Policy::Hold {
                    // The dependency is back, whether or not the parts succeed.
                    holding = None;
                    telemetry::mark_failed(&Span::current(), &error);
                }
                match policy {
                    Policy::Hold => {
                        self.stats.failed(&error);
                        holding
                            .get_or_insert_with(|| settler.holds.enter(Cause::Dependency))
                            .again(&error);
                        tries += 1;
                        if !wait(settler, tries, &mut walk.stop).await {
                            return;
                        }
                    }
                    Policy::Halt => return self.halt(&error),
                    Policy::DeadLetter | Policy::Attempt
                        if entries.len() > 1 && walk.goes_on(&error) =>
                    {
                        let (left, right) = entries.split_at(entries.len() / 2);
                        self.some(walk, left.to_vec()).await;
                        return self.some(walk, right.to_vec()).await;
                    }
                    _ => {
                        let alone = entries.len() == 1;
                        walk.one_failed |= alone && !error.is_of_message();
                        return walk.note(entries, error, alone);
                    }
                }
            }
        }
        .boxed()
    }

    pub(super) async fn settle(
        &self,
        walk: &mut Walk<'_>,
        entries: Vec<Arc<Entry>>,
        mut outcomes: Outcomes,
    ) {
        let (settler, spans) = (walk.settler, walk.spans);
        let duplicates = outcomes.duplicates();
        Stats::add(&self.stats.duplicates, duplicates);
        let mut halt = None;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            match outcomes.take_failure(entry.seq()) {
                None => done.push(entry),
                Some(error) if error.kind() == Kind::Halt => halt = Some(error),
                Some(error) => failed.push((entry, error)),
            }
        }
        settler.succeeded(done.len().saturating_sub(duplicates), duplicates);
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
                MessageOutcome::Duplicate
            } else if self.call.needs.transaction {
                MessageOutcome::Stored
            } else {
                MessageOutcome::Done
            };
            spans.end(entry, outcome, None);
            measure::outcome(&self.source.labels, outcome.name());
        }
        if let Some((_, error)) = failed.first() {
            telemetry::mark_failed(&Span::current(), error);
        }
        for (entry, error) in failed {
            walk.note(vec![entry], error, true);
        }
        if let Some(error) = halt {
            self.halt(&error);
        }
    }

    /// Settles messages that failed: those that are given up, then those that come again.
    pub(super) async fn fail(
        &self,
        settler: &Settler,
        failed: &[Failed],
        since: u64,
        spans: &MessageSpans,
    ) {
        let all = failed.iter().map(|f| (&f.entry, &*f.error, f.alone));
        let verdicts = settler.judge(all, since);
        let (last, again): (Vec<_>, Vec<_>) = failed
            .iter()
            .zip(verdicts)
            .partition(|(_, verdict)| matches!(verdict, Verdict::GiveUp { .. }));
        for (how, part) in [("term", last), ("nak", again)] {
            if part.is_empty() {
                continue;
            }
            let entries: Vec<_> = part.iter().map(|(f, _)| f.entry.clone()).collect();
            let settled = stream::iter(part).for_each_concurrent(AT_ONCE, async |(f, verdict)| {
                let Failed { entry, error, .. } = f;
                let outcome = settler.fail(entry, error, verdict).await;
                spans.end(entry, outcome, Some(error));
                measure::outcome(&self.source.labels, outcome.name());
            });
            let started = Instant::now();
            settled.instrument(self.source.settle(how, &entries)).await;
            measure::called(how, None, started.elapsed(), None);
        }
    }
}

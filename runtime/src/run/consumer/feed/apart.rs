//! Messages that run apart from the others, so that no other message waits for them or fails with them:
//! slow ones, and those that may crash the process.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::Span;

use super::Feed;
use crate::error::Error;
use crate::function::event::{Entry, Key};
use crate::run::consumer::evidence::{Evidence, Verdict};
use crate::run::consumer::hold::Cause;
use crate::run::consumer::settle::key;
use crate::service::consumer::retry::WITHIN;
use crate::telemetry::{MessageOutcome, measure};

/// How often to check whether the function waits for a dependency.
const LOOK: Duration = Duration::from_millis(250);

/// After so many crashes over which a message was alone in the function, it is a dead letter, once
/// another has succeeded.
const CRASHES: u32 = 5;

/// The queues of messages that run apart.
pub(super) struct Lanes {
    /// Messages that were slow, or must be alone in a transaction.
    pub(super) slow: Lane,
    /// Messages that were delivered often, with unknown outcome.
    pub(super) crashing: Lane,
}

type Lane = mpsc::Sender<Apart>;

/// A message, and the span of its fetch.
pub(super) struct Apart {
    entry: Arc<Entry>,
    receive: Span,
}

impl Lanes {
    /// The queue of this message; `None` if it runs with the others.
    pub(super) fn of(&self, evidence: &Evidence, entry: &Entry) -> Option<&Lane> {
        if entry.is_replay() || evidence.was_slow(key(entry)) {
            Some(&self.slow)
        } else if evidence.may_crash(key(entry), entry.delivered()) {
            Some(&self.crashing)
        } else {
            None
        }
    }
}

/// Messages in the order in which they run.
struct Waiting {
    messages: mpsc::Receiver<Apart>,
    by_order: BTreeMap<RunOrder, Apart>,
}

impl Waiting {
    fn new(messages: mpsc::Receiver<Apart>) -> Self {
        Self {
            messages,
            by_order: BTreeMap::new(),
        }
    }
}

/// Tries, deliveries, chance, sequence.
type RunOrder = (u32, u64, u32, u64);

impl Feed {
    /// Queues a message; returns it to the server if the queue is full.
    pub(super) async fn put_apart(&self, lane: &Lane, entry: Arc<Entry>, receive: &Span) {
        let receive = receive.clone();
        if let Err(full) = lane.try_send(Apart { entry, receive }) {
            self.settler.wait(key(&full.into_inner().entry)).await;
        }
    }

    /// Runs the slow messages, one at a time, until there are no more.
    pub(super) async fn run_slow(
        &self,
        messages: mpsc::Receiver<Apart>,
        stop: watch::Receiver<bool>,
    ) {
        let mut waiting = Waiting::new(messages);
        while let Some(group) = self.next_of(&mut waiting, 1, &stop).await {
            self.run_group(group, &stop).await;
        }
    }

    /// Runs the messages that may crash the process: one at first, then twice as many each time, up to
    /// `most`. A crash also hits the messages that run beside the one at fault, so each start begins
    /// with one, and only its return allows two. A backlog that was redelivered for another reason soon
    /// runs at full speed.
    pub(super) async fn run_crashing(
        &self,
        messages: mpsc::Receiver<Apart>,
        most: usize,
        stop: watch::Receiver<bool>,
    ) {
        let mut waiting = Waiting::new(messages);
        while let Some(group) = self.next_of(&mut waiting, 1, &stop).await {
            let Some(Apart { entry, .. }) = group.first() else {
                continue;
            };
            if self.may_begin(entry).await {
                let key = key(entry);
                let mut run = pin!(self.run_group(group, &stop));
                let is_over = loop {
                    tokio::select! {
                        () = &mut run => break true,
                        // The function has returned, and the messages wait for a dependency.
                        () = sleep(LOOK) => if self.settler.holds.lasts_for(Cause::Dependency) {
                            break false;
                        },
                    }
                };
                self.has_ended(key).await;
                if !is_over {
                    run.await;
                }
                break;
            }
        }
        let mut size = 1;
        loop {
            size = (size * 2).min(most);
            let Some(group) = self.next_of(&mut waiting, size, &stop).await else {
                return;
            };
            self.run_group(group, &stop).await;
        }
    }

    /// Records on the server that a message begins to run alone, so that after a crash the next start
    /// knows which message it was. False if it has crashed the process often enough: it becomes a dead
    /// letter, or waits until another message succeeds.
    async fn may_begin(&self, entry: &Arc<Entry>) -> bool {
        let (consumer, seq) = (&self.consumer, entry.seq());
        let begins = consumer.begins_alone(&self.nats, key(entry), CRASHES);
        let before = match begins.await {
            Ok(before) if before.runs >= CRASHES => before,
            Ok(_) => return true,
            Err(error) => {
                tracing::warn!(consumer = %consumer.name, seq, %error, "cannot record that this message runs alone; should it crash the process, the next start will not know");
                return true;
            }
        };
        let attempts = before.runs;
        let reason = format!(
            "the process has ended {attempts} times while this message was in the function alone"
        );
        // A dependency that is away may end the process too: no short schedule makes that the message's fault.
        let patience = consumer.retry.time().max(WITHIN);
        if self.settler.evidence.successes() == 0 && before.age() < patience {
            tracing::warn!(consumer = %consumer.name, seq, "not run until another message has succeeded: {reason}");
            self.settler.wait(key(entry)).await;
            return false;
        }
        let error = Error::internal(reason);
        let verdict = Verdict::GiveUp {
            attempts,
            after: None,
        };
        let outcome = self.settler.fail(entry, &error, verdict).await;
        measure::outcome(&self.attempt.source.labels, outcome.name());
        if matches!(outcome, MessageOutcome::DeadLetter) {
            // Its record has made room for another one's.
            self.has_ended(key(entry)).await;
        }
        false
    }

    async fn has_ended(&self, key: Key) {
        if let Err(error) = self.consumer.ended_alone(&self.nats, key).await {
            tracing::warn!(consumer = %self.consumer.name, seq = key.0, %error, "cannot record that this message has returned; the next start may blame it for a crash");
        }
    }

    /// The next messages, up to `size`; `None` if no more will come. At a stop, those that have not
    /// begun are left, and returned to the server.
    async fn next_of(
        &self,
        waiting: &mut Waiting,
        size: usize,
        stop: &watch::Receiver<bool>,
    ) -> Option<Vec<Apart>> {
        let Waiting { messages, by_order } = waiting;
        loop {
            if by_order.is_empty() {
                let message = messages.recv().await?;
                by_order.insert(self.order(&message.entry), message);
            }
            while by_order.len() < messages.max_capacity()
                && let Ok(message) = messages.try_recv()
            {
                by_order.insert(self.order(&message.entry), message);
            }
            if !*stop.borrow() {
                let next = std::iter::from_fn(|| by_order.pop_first()).take(size);
                return Some(next.map(|(_, message)| message).collect());
            }
            by_order.clear();
        }
    }

    /// Most messages of a slow batch are not slow themselves: they go before those that were slow
    /// again. Likewise, of those that may crash the process, the less often delivered go first. Among
    /// equals chance decides; otherwise the same message would end each start before the others have
    /// their turn.
    fn order(&self, entry: &Entry) -> RunOrder {
        let tries = self.settler.evidence.tries(key(entry));
        (tries, entry.delivered(), fastrand::u32(..), entry.seq())
    }

    /// Runs a group: as one batch, or concurrently if the function takes single messages.
    async fn run_group(&self, mut group: Vec<Apart>, stop: &watch::Receiver<bool>) {
        group.sort_by_key(|message| message.entry.seq());
        let Some(receive) = group.first().map(|message| message.receive.clone()) else {
            return;
        };
        let entries: Vec<_> = group.into_iter().map(|message| message.entry).collect();
        let size = match self.decode {
            Some(_) => entries.len(),
            None => 1,
        };
        // Separate tasks: a function that blocks its thread must not block the reader.
        let mut running = JoinSet::new();
        for part in entries.chunks(size) {
            running.spawn(self.begin(part.to_vec(), &receive, stop));
        }
        drop(entries);
        while running.join_next().await.is_some() {}
    }
}

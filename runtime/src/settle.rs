//! What becomes of a message once its function has run: ack, nak, dead letter and term.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;

use crate::dead_letter;
use crate::error::{Error, Policy};
use crate::event::Entry;
use crate::in_progress::{InProgress, Key};
use crate::stats::Stats;
use crate::telemetry::Outcome;
use crate::trace_context::TraceContext;

/// Memory of failures is bounded: past this many all of it is given up, which costs failing
/// messages some more attempts.
const REMEMBERED: usize = 100_000;

/// Settles the messages of one consumer in this instance.
pub(crate) struct Settler {
    pub(crate) nats: Client,
    pub(crate) service: Arc<str>,
    pub(crate) function: String,
    pub(crate) max_attempts: u32,
    pub(crate) stats: Arc<Stats>,
    pub(crate) in_progress: InProgress,
    attempts: Mutex<HashMap<Key, u32>>,
    alone: Mutex<HashSet<Key>>,
}

impl Settler {
    pub(crate) fn new(
        nats: Client,
        service: Arc<str>,
        function: String,
        max_attempts: u32,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            nats,
            service,
            function,
            max_attempts,
            stats,
            in_progress: InProgress::default(),
            attempts: Mutex::default(),
            alone: Mutex::default(),
        }
    }

    /// The only way to an ack: the function said Ok, and its transaction is committed.
    pub(crate) async fn ack(&self, entry: &Entry) {
        self.forget(entry);
        self.send(entry, "+ACK".into()).await;
    }

    /// Whether a message that fails with this error is not tried again.
    pub(crate) fn gives_up(&self, entry: &Entry, error: &Error) -> bool {
        match error.kind().policy() {
            Policy::DeadLetter => true,
            Policy::Attempt => self.attempts(entry) + 1 >= self.max_attempts,
            Policy::RetryAlone | Policy::Retry | Policy::Hold | Policy::Halt => false,
        }
    }

    /// Settles a message whose function failed for good or may be tried again.
    pub(crate) async fn fail(&self, entry: &Entry, error: &Error) -> Outcome {
        let trace = TraceContext::of(entry.headers());
        let trace_id = trace.trace_id();
        self.stats.failed(error);
        match error.kind().policy() {
            Policy::DeadLetter => self.bury(entry, error, self.attempts(entry) + 1).await,
            Policy::Attempt => {
                let attempts = self.count_attempt(entry);
                if attempts >= self.max_attempts {
                    self.bury(entry, error, attempts).await
                } else {
                    tracing::warn!(seq = entry.seq(), subject = entry.subject(), trace_id, attempts, %error, "failed, will be tried again");
                    self.retry(entry).await
                }
            }
            Policy::RetryAlone => {
                remember(&self.alone, |alone| alone.insert(key(entry)));
                tracing::warn!(seq = entry.seq(), subject = entry.subject(), trace_id, %error, "will be tried again, alone");
                self.retry(entry).await
            }
            // These stop or hold the consumer where they concern everything; of a single item
            // they mean: not now.
            Policy::Retry | Policy::Hold | Policy::Halt => self.retry(entry).await,
        }
    }

    /// Whether the message must run alone: it was slow, or it has been delivered so often that it
    /// may be what crashes us.
    pub(crate) fn runs_alone(&self, entry: &Entry) -> bool {
        entry.delivered() > 100
            || self
                .alone
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&key(entry))
    }

    /// Writes the dead letter, and only then ends the message. Where that cannot be written the
    /// message is kept: it comes again.
    async fn bury(&self, entry: &Entry, error: &Error, attempts: u32) -> Outcome {
        let (service, function) = (&self.service, &self.function);
        let trace = TraceContext::of(entry.headers());
        let trace_id = trace.trace_id();
        match dead_letter::write(&self.nats, service, function, entry, error, attempts).await {
            Ok(()) => {
                tracing::warn!(seq = entry.seq(), subject = entry.subject(), trace_id, attempts, %error, "dead letter");
                Stats::add(&self.stats.dead_lettered, 1);
                self.forget(entry);
                self.send(entry, "+TERM dead letter".into()).await;
                Outcome::DeadLetter
            }
            Err(unwritten) => {
                tracing::error!(seq = entry.seq(), subject = entry.subject(), trace_id, %error, %unwritten, "the dead letter cannot be written; the message is kept and will be tried again");
                self.stats.failed(&unwritten);
                self.retry(entry).await
            }
        }
    }

    /// A delayed nak. The delivery count only sets the delay.
    async fn retry(&self, entry: &Entry) -> Outcome {
        let delay = backoff(entry.delivered());
        let nak = format!("-NAK {{\"delay\": {}}}", delay.as_nanos());
        self.send(entry, nak.into()).await;
        Outcome::Retried
    }

    /// Gives everything that is held back to the server, for another instance.
    pub(crate) async fn give_back(&self) -> usize {
        let all = self.in_progress.take_all();
        let n = all.len();
        for ack in all {
            let _ = self.nats.publish(ack, "-NAK".into()).await;
        }
        n
    }

    async fn send(&self, entry: &Entry, outcome: Bytes) {
        let Some(ack) = self.in_progress.settle(key(entry)) else {
            return;
        };
        if let Err(error) = self.nats.publish(ack, outcome).await {
            // It comes again, and is then found to be done.
            tracing::warn!(seq = entry.seq(), %error, "an outcome was not sent");
        }
    }

    fn attempts(&self, entry: &Entry) -> u32 {
        let all = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&key(entry)).copied().unwrap_or(0)
    }

    fn count_attempt(&self, entry: &Entry) -> u32 {
        let mut all = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let attempts = all.entry(key(entry)).or_insert(0);
        *attempts += 1;
        *attempts
    }

    fn forget(&self, entry: &Entry) {
        let key = key(entry);
        self.attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
        self.alone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    }
}

pub(crate) fn key(entry: &Entry) -> Key {
    (entry.seq(), entry.time_ns())
}

fn remember(all: &Mutex<HashSet<Key>>, add: impl FnOnce(&mut HashSet<Key>) -> bool) {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= REMEMBERED {
        all.clear();
    }
    add(&mut all);
}

/// Doubles from half a second to half a minute; jitter spreads what failed together.
pub(crate) fn backoff(attempt: u64) -> Duration {
    let doubled = 500u64.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let millis = doubled.min(30_000) as f64 * (0.75 + 0.5 * fastrand::f64());
    Duration::from_millis(millis as u64)
}

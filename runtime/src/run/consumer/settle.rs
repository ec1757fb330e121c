//! Settles a message after its function has run: ack, nak, or dead letter and term.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use tokio::sync::Notify;

use super::evidence::{Evidence, Failure, Verdict};
use super::hold::{Cause, Holds};
use super::in_progress::InProgress;
use super::unwritten::{Letter, Unwritten};
use crate::error::{Error, Kind, Result};
use crate::function::event::{Entry, Key};
use crate::nats::jetstream::Nats;
use crate::run::dead_letter;
use crate::service::consumer::Consumer;
use crate::telemetry::MessageOutcome;
use crate::telemetry::stats::Stats;
use crate::telemetry::trace_context::TraceContext;

/// How many failed messages are settled at once: each dead letter waits until it is stored.
pub(crate) const AT_ONCE: usize = 64;

/// Time limit for writing a dead letter. A slower write counts as failed and is repeated in the
/// background; if the first one was stored after all, the second finds it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for giving back what is held; what is not given back is redelivered after the ack wait.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Settles the messages of one consumer in this instance.
pub(crate) struct Settler {
    pub(crate) nats: Nats,
    pub(crate) service: Arc<str>,
    pub(crate) function: String,
    pub(crate) stats: Arc<Stats>,
    pub(crate) in_progress: InProgress,
    pub(crate) evidence: Evidence,
    pub(crate) holds: Holds,
    pub(crate) unwritten: Unwritten,
    letters: dead_letter::Checked,
}

impl Settler {
    pub(crate) fn new(
        nats: Nats,
        service: Arc<str>,
        consumer: &Consumer,
        stats: Arc<Stats>,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            nats,
            service,
            function: consumer.name.clone(),
            holds: Holds::new(consumer.name.clone(), stats.clone(), wake),
            stats,
            in_progress: InProgress::new(consumer.ack_wait),
            evidence: Evidence::new(consumer.retry),
            unwritten: Unwritten::default(),
            letters: dead_letter::Checked::default(),
        }
    }

    /// The only way to an ack: the function returned Ok and its transaction is committed, or the
    /// message is the replay of another function's dead letter.
    pub(crate) async fn ack(&self, entry: &Entry) {
        self.evidence.forget(key(entry));
        self.send(key(entry), "+ACK".into()).await;
    }

    /// Counts `n` messages that have succeeded, and `duplicates` that had succeeded before.
    pub(crate) fn succeeded(&self, n: usize, duplicates: usize) {
        if self.evidence.succeeded(n, duplicates) {
            self.holds.release(Cause::NoSuccess);
        }
    }

    /// Judges the failures of one call, or of a batch and its parts. If all are of an unknown kind and
    /// nothing has succeeded, messages are tried one by one from now on.
    pub(crate) fn judge<'a>(
        &self,
        failures: impl IntoIterator<Item = (&'a Arc<Entry>, &'a Error, bool)>,
        since: u64,
    ) -> Vec<Verdict> {
        let mut unexplained = None;
        let mut n = 0;
        let mut explained = false;
        let mut verdicts = Vec::new();
        for (entry, error, alone) in failures {
            let failure = Failure {
                policy: error.policy(),
                asked: error.retry_after(),
                own: error.is_of_message(),
                delivered: entry.delivered(),
                alone,
                since,
            };
            let (verdict, evidence) = self.evidence.judge(key(entry), failure);
            if matches!(error.kind(), Kind::Internal | Kind::Timeout) && !failure.own {
                explained |= evidence || matches!(verdict, Verdict::GiveUp { .. });
                unexplained = Some(error);
                n += 1;
            }
            verdicts.push(verdict);
        }
        match unexplained {
            Some(error) if !explained && self.evidence.doubt(n) => {
                self.holds.hold(Cause::NoSuccess, error);
            }
            _ => {}
        }
        if !self.evidence.doubts() {
            self.holds.release(Cause::NoSuccess);
        }
        verdicts
    }

    /// Settles a message that has failed.
    pub(crate) async fn fail(
        &self,
        entry: &Entry,
        error: &Error,
        verdict: Verdict,
    ) -> MessageOutcome {
        self.stats.failed(error);
        let trace = TraceContext::of(entry.headers());
        let trace_id = trace.trace_id();
        let (delay, counted) = match verdict {
            Verdict::Again { delay, counted } => (delay, counted),
            Verdict::GiveUp { attempts, after } => {
                let lasted = after.map(|after| {
                    let text = format!("{error} (given up after {attempts} tries in {after:.0?})");
                    Error::new(error.kind(), text)
                });
                return self
                    .bury(entry, lasted.as_ref().unwrap_or(error), attempts)
                    .await;
            }
        };
        match counted {
            Some(attempts) => {
                tracing::warn!(seq = entry.seq(), subject = entry.subject(), trace_id, attempts, %error, "failed, will be tried again");
            }
            None => {
                tracing::debug!(seq = entry.seq(), subject = entry.subject(), trace_id, %error, "failed, will be tried again; does not count as an attempt");
            }
        }
        self.send(key(entry), nak(delay)).await;
        MessageOutcome::Retried
    }

    /// Returns a message that is not tried now to the server.
    pub(crate) async fn wait(&self, key: Key) {
        let delay = self.evidence.wait(key);
        self.send(key, nak(delay)).await;
    }

    /// Returns a message that is not tried now, and comes again after this time.
    pub(crate) async fn wait_for(&self, key: Key, delay: Duration) {
        // A delivery without an outcome, which is no sign of a crash.
        self.evidence.wait(key);
        self.send(key, nak(delay)).await;
    }

    /// Returns those of these messages that are still held to the server.
    pub(crate) async fn give_back_of(&self, keys: &[Key]) {
        for key in keys {
            if self.in_progress.peek(*key).is_some() {
                self.wait(*key).await;
            }
        }
    }

    /// Writes the dead letter, and only then ends the message. If the write fails, the message stays on
    /// the server until one succeeds.
    async fn bury(&self, entry: &Entry, error: &Error, attempts: u32) -> MessageOutcome {
        let mut unwritten = None;
        if self.unwritten.is_empty() {
            match self.write(entry, error, attempts).await {
                Ok(()) => {
                    self.send(key(entry), "+TERM dead letter".into()).await;
                    return MessageOutcome::DeadLetter;
                }
                Err(error) => {
                    self.stats.failed(&error);
                    unwritten = Some(error);
                }
            }
        }
        if let Some(ack) = self.in_progress.settle(key(entry)) {
            // Before the letter is queued: the task that writes it ends this hold.
            if let Some(error) = &unwritten {
                self.holds.hold(Cause::DeadLetters, error);
            }
            let letter = Letter {
                error: Arc::new(Error::new(error.kind(), error.to_string())),
                attempts,
                stream: entry.stream.clone(),
                ack: ack.clone(),
            };
            let delay = self.unwritten.add(key(entry), letter);
            self.publish(entry.seq(), ack, nak(delay)).await;
        }
        MessageOutcome::Retried
    }

    /// Writes a dead letter.
    pub(crate) async fn write(&self, entry: &Entry, error: &Error, attempts: u32) -> Result<()> {
        let (nats, letters) = (&self.nats, &self.letters);
        let (service, function) = (&self.service, &self.function);
        let write = dead_letter::write(nats, letters, service, function, entry, error, attempts);
        tokio::time::timeout(WRITE_TIMEOUT, write)
            .await
            .unwrap_or_else(|_| {
                Err(Error::unavailable(format!(
                    "JetStream has not stored it within {WRITE_TIMEOUT:?}"
                )))
            })?;
        let trace = TraceContext::of(entry.headers());
        let trace_id = trace.trace_id();
        tracing::warn!(seq = entry.seq(), subject = entry.subject(), trace_id, attempts, %error, "dead letter");
        Stats::add(&self.stats.dead_lettered, 1);
        self.evidence.forget(key(entry));
        Ok(())
    }

    /// Ends a message whose dead letter was written late, or that has left its stream.
    pub(crate) async fn end_unwritten(&self, key: Key) {
        if let Some(ack) = self.unwritten.take(key) {
            // A redelivery of it that is queued has no longer to be handled.
            let ack = self.in_progress.settle(key).unwrap_or(ack);
            self.publish(key.0, ack, "+TERM dead letter".into()).await;
        }
    }

    /// Returns a message to the server if it is redelivered while its dead letter waits. True if so.
    pub(crate) async fn is_unwritten(&self, key: Key) -> bool {
        if self.unwritten.is_empty() {
            return false;
        }
        let Some(ack) = self.in_progress.peek(key) else {
            return false;
        };
        let Some(delay) = self.unwritten.again(key, &ack) else {
            return false;
        };
        self.in_progress.settle(key);
        self.publish(key.0, ack, nak(delay)).await;
        true
    }

    /// Returns everything that is held to the server, for another instance. Returns the sequences of
    /// what was unfinished.
    pub(crate) async fn give_back(&self) -> Vec<u64> {
        let (keys, mut all): (Vec<Key>, Vec<Subject>) = self.in_progress.take_all().unzip();
        all.extend(self.unwritten.take_all());
        let give = async {
            for ack in all {
                let _ = self.nats.publish(ack, "-NAK".into()).await;
            }
        };
        // Without a connection the client takes a few thousand, and then none.
        let _ = tokio::time::timeout(GIVE_BACK_TIMEOUT, give).await;
        let mut seqs: Vec<u64> = keys.into_iter().map(|(seq, _)| seq).collect();
        seqs.sort_unstable();
        seqs
    }

    async fn send(&self, key: Key, outcome: Bytes) {
        if let Some(ack) = self.in_progress.settle(key) {
            self.publish(key.0, ack, outcome).await;
        }
    }

    async fn publish(&self, seq: u64, ack: Subject, outcome: Bytes) {
        if let Err(error) = self.nats.publish(ack, outcome).await {
            // The message is redelivered, and is then found to be done.
            tracing::warn!(seq, %error, "an ack, nak or term was not sent");
        }
    }
}

/// A delayed nak.
fn nak(delay: Duration) -> Bytes {
    format!("-NAK {{\"delay\": {}}}", delay.as_nanos()).into()
}

pub(crate) fn key(entry: &Entry) -> Key {
    (entry.seq(), entry.time_ns())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use async_nats::ConnectOptions;

    use super::*;
    use crate::function::event::{Message, StreamId};
    use crate::service::stream::Stream;

    #[tokio::test]
    async fn only_a_message_that_is_kept_holds_for_its_dead_letter() {
        // Nothing listens there.
        let options = ConnectOptions::new().retry_on_initial_connect();
        let nats = options.connect("nats://127.0.0.1:1").await.unwrap();
        let consumer = Consumer::new("store", Stream::new("LOG", ["log.>"]));
        let service = "a".into();
        let settler = Settler::new(
            nats.into(),
            service,
            &consumer,
            Arc::default(),
            Arc::default(),
        );
        let entry = Entry {
            message: Message {
                subject: "log.a".into(),
                headers: Default::default(),
                payload: Default::default(),
                seq: 1,
                time_ns: 1,
                unreadable: None,
            },
            stream: Arc::new(StreamId {
                name: "LOG".to_owned(),
                created: UNIX_EPOCH,
                ack_floor: 0,
            }),
            delivered: 1,
            decoded: None,
        };
        for is_held in [false, true] {
            if is_held {
                settler.in_progress.hold(key(&entry), "ack".into());
            }
            let verdict = Verdict::GiveUp {
                attempts: 1,
                after: None,
            };
            let error = Error::bad_request("bad");
            assert_eq!(
                settler.fail(&entry, &error, verdict).await,
                MessageOutcome::Retried
            );
            assert_eq!(settler.holds.lasts(), is_held);
        }
    }
}

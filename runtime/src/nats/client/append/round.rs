//! What is published next of the appends that wait: a batch, or each by itself.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch::{LARGEST, LARGEST_BYTES, Outgoing};
use crate::error::Result;
use crate::nats::jetstream::{Appended, Nats};

/// Fewer are published one by one: that is what few callers are used to.
const FEWEST: usize = 16;

/// Since nats-server 2.15.0 a batch costs one sync; an older server syncs each message of it.
const ONE_SYNC: (i64, i64, i64) = (2, 15, 0);

/// A stream that takes no batches, and a server that is too old, are asked again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// After two batches in a row that were refused, what waits is published one by one for so long: senders that
/// repeat messages with known ids let each batch be refused, and then all of it costs a sync each as well.
const AFTER_REFUSALS: Duration = Duration::from_secs(1);

/// So many subjects are remembered.
const MOST_SUBJECTS: usize = 1000;

/// A stream's PubAck, and its name.
pub(super) type Answer = Result<(Appended, String)>;

/// A message that a lane's task is to publish.
pub(super) struct Waiting {
    pub(super) message: Outgoing,
    /// Its size as one of a batch.
    pub(super) size: usize,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) enum Round {
    Batch(Vec<Waiting>),
    Each(Vec<Waiting>),
}

/// What a lane knows of its stream and of what is on its way.
#[derive(Default)]
pub(super) struct State {
    /// To the task that publishes for all, while there is one. It is closed where that has ended with its runtime.
    pub(super) queue: Option<UnboundedSender<Waiting>>,
    /// One more for each plain publish on its way.
    pub(super) flying: Arc<()>,
    /// Nothing is gathered before this time.
    not_before: Option<Instant>,
    /// The last batch was refused.
    refused: bool,
    /// Subjects on which the stream has acknowledged messages. A batch ends with one of them: the answer to a subject
    /// that the server's permissions refuse would never come.
    acknowledged: HashSet<String>,
}

impl State {
    /// Whether so many messages should be a batch.
    pub(super) fn pays(&self, messages: usize) -> bool {
        messages >= FEWEST && self.not_before.is_none_or(|time| time <= Instant::now())
    }

    /// Plain publishes on their way.
    pub(super) fn flying(&self) -> usize {
        Arc::strong_count(&self.flying) - 1
    }

    /// Batches would be refused, or gain nothing.
    pub(super) fn pause(&mut self) {
        self.not_before = Some(Instant::now() + ASK_AGAIN);
    }

    /// A batch was stored, or refused.
    pub(super) fn batch_ended(&mut self, refused: bool) {
        if refused && self.refused {
            self.not_before = self.not_before.max(Some(Instant::now() + AFTER_REFUSALS));
        }
        self.refused = refused;
    }

    pub(super) fn acknowledged(&mut self, subject: &str) {
        if self.acknowledged.contains(subject) {
            return;
        }
        if self.acknowledged.len() == MOST_SUBJECTS {
            self.acknowledged.clear();
        }
        self.acknowledged.insert(subject.to_owned());
    }

    /// The right to it may have been taken away.
    pub(super) fn unanswered(&mut self, subject: &str) {
        self.acknowledged.remove(subject);
    }

    /// The first of those that wait.
    pub(super) fn round(&mut self, nats: &Nats, waiting: &mut VecDeque<Waiting>) -> Round {
        if self.pays(waiting.len()) {
            let (major, minor, patch) = ONE_SYNC;
            if !nats.is_server_compatible(major, minor, patch) {
                self.pause();
            } else if let Some(n) = self.batch(waiting) {
                return Round::Batch(waiting.drain(..n).collect());
            }
        }
        Round::Each(waiting.drain(..waiting.len().min(LARGEST)).collect())
    }

    /// How many of them are a batch.
    fn batch(&self, waiting: &VecDeque<Waiting>) -> Option<usize> {
        let mut bytes = 0;
        let fitting = waiting.iter().take(LARGEST).take_while(|it| {
            bytes += it.size;
            bytes <= LARGEST_BYTES
        });
        let fitting = fitting.count();
        let mut subjects = waiting.range(..fitting).map(|it| &*it.message.subject);
        let n = subjects.rposition(|subject| self.acknowledged.contains(subject))? + 1;
        // Few only where the next one is too large.
        (n >= fitting.min(FEWEST)).then_some(n)
    }
}

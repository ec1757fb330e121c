//! The appends to a stream that are gathered. Each is a plain publish of its own caller, until so many are on their
//! way that a batch shares their sync: then one task publishes for all, round by round, until nothing waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, unconstrained, yield_now};
use tokio::time::timeout;

use super::batch::{self, Outgoing, Sent};
use super::round::{Answer, Round, State, Waiting};
use crate::error::Error;
use crate::function::template::covers;
use crate::nats::jetstream::{Appended, Nats, append};

/// How often those that were just answered get a turn, to come with their next message.
const TURNS: usize = 4;

/// A round waits so long for the one before, whose answer may be lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is published on one connection to one stream.
pub(in crate::nats::client) struct Lane(Arc<Shared>);

struct Shared {
    nats: Nats,
    /// Where the connection lives: a caller's may end before it. None gathers nothing.
    runtime: Option<Handle>,
    subjects: Vec<String>,
    /// The largest message that the stream takes, in bytes.
    largest: usize,
    state: Mutex<State>,
}

enum Turn {
    Now(Outgoing, Arc<()>),
    Later(oneshot::Receiver<Answer>),
}

impl Lane {
    /// `largest` is that of a message, in bytes.
    pub(super) fn new(nats: Nats, subjects: Vec<String>, largest: usize) -> Self {
        Self(Arc::new(Shared {
            nats,
            runtime: Handle::try_current().ok(),
            subjects,
            largest,
            state: Mutex::default(),
        }))
    }

    pub(super) fn takes(&self, subject: &str) -> bool {
        let mut subjects = self.0.subjects.iter();
        subjects.any(|captured| covers(captured, subject))
    }

    /// Publishes and waits for the stream's PubAck, which also names the stream.
    pub(super) async fn append(&self, message: Outgoing) -> Answer {
        let subject = message.subject.clone();
        match self.0.enter(message) {
            Turn::Now(message, _flying) => self.0.plain(message).await,
            Turn::Later(answer) => answer.await.unwrap_or_else(|_| {
                Err(Error::unavailable(format!(
                    "a message on {subject} was not acknowledged; it may be stored: repeat it with the same id"
                )))
            }),
        }
    }
}

impl Shared {
    async fn plain(&self, message: Outgoing) -> Answer {
        let Outgoing {
            subject,
            headers,
            payload,
        } = message;
        let answer = append(&self.nats, &subject, headers, payload).await;
        if answer.is_ok() {
            self.state.lock().acknowledged(&subject);
        }
        answer
    }

    fn enter(self: &Arc<Self>, message: Outgoing) -> Turn {
        let largest = self.largest.min(self.nats.max_payload());
        let size = message.size_in_batch().filter(|size| *size <= largest);
        let mut state = self.state.lock();
        let queue = state.queue.take().filter(|queue| !queue.is_closed());
        let gathers = queue.is_some() || state.pays(state.flying() + 1);
        let (Some(size), Some(runtime), true) = (size, &self.runtime, gathers) else {
            state.queue = queue;
            return Turn::Now(message, state.flying.clone());
        };
        let queue = state.queue.insert(queue.unwrap_or_else(|| {
            let (sender, queue) = mpsc::unbounded_channel();
            runtime.spawn(self.clone().gather(queue));
            sender
        }));
        let (sender, answer) = oneshot::channel();
        // Where the task has just ended nobody answers, which is the answer.
        let _ = queue.send(Waiting {
            message,
            size,
            answer: sender,
        });
        Turn::Later(answer)
    }

    /// Publishes what waits, until nothing does.
    async fn gather(self: Arc<Self>, mut queue: UnboundedReceiver<Waiting>) {
        let mut waiting = VecDeque::new();
        loop {
            wait_for_more(&queue).await;
            let Some(round) = self.next(&mut queue, &mut waiting) else {
                return;
            };
            let (published, gathers) = match round {
                Round::Batch(all) => (tokio::spawn(self.clone().publish_together(all)), true),
                Round::Each(all) => {
                    let gathers = {
                        let state = self.state.lock();
                        state.pays(state.flying() + all.len())
                    };
                    let all = all.into_iter().map(|it| (it.message, it.answer));
                    (self.publish_each(all).await, gathers)
                }
            };
            if gathers {
                let _ = timeout(PATIENCE, published).await;
            }
        }
    }

    fn next(
        &self,
        queue: &mut UnboundedReceiver<Waiting>,
        waiting: &mut VecDeque<Waiting>,
    ) -> Option<Round> {
        let mut state = self.state.lock();
        while let Ok(more) = queue.try_recv() {
            waiting.push_back(more);
        }
        // Whoever gave up before anything was sent has sent nothing.
        waiting.retain(|it| !it.answer.is_closed());
        if waiting.is_empty() {
            state.queue = None;
            return None;
        }
        Some(state.round(&self.nats, waiting))
    }

    /// Sends each by itself, in this order. What is returned ends with the answers.
    async fn publish_each(
        self: &Arc<Self>,
        messages: impl Iterator<Item = (Outgoing, oneshot::Sender<Answer>)>,
    ) -> JoinHandle<()> {
        let mut sent = Vec::new();
        for (message, mut answer) in messages {
            let (lane, flying) = (self.clone(), self.state.lock().flying.clone());
            let mut append = Box::pin(unconstrained(async move {
                let _flying = flying;
                tokio::select! {
                    biased;
                    // Nobody waits for it.
                    () = answer.closed() => {}
                    answered = lane.plain(message) => drop(answer.send(answered)),
                }
            }));
            // Its first poll takes its place in the queue of the connection.
            if poll!(append.as_mut()).is_pending() {
                sent.push(append);
            }
        }
        tokio::spawn(async move {
            join_all(sent).await;
        })
    }

    async fn publish_together(self: Arc<Self>, all: Vec<Waiting>) {
        let all = all.into_iter().map(|it| (it.message, it.answer));
        let (messages, mut answers): (Vec<_>, Vec<_>) = all.unzip();
        let sent = tokio::select! {
            sent = batch::publish(&self.nats, &messages) => sent,
            () = all_gone(&mut answers) => Sent::Unanswered,
        };
        match sent {
            Sent::Stored { stream, first } => {
                let mut state = self.state.lock();
                state.batch_ended(false);
                messages
                    .iter()
                    .for_each(|it| state.acknowledged(&it.subject));
                drop(state);
                for (answer, seq) in answers.into_iter().zip(first..) {
                    let duplicate = false;
                    let _ = answer.send(Ok((Appended { seq, duplicate }, stream.clone())));
                }
                return;
            }
            Sent::Unanswered => {
                if let Some(last) = messages.last() {
                    self.state.lock().unanswered(&last.subject);
                }
                return;
            }
            Sent::Elsewhere(error) => {
                for answer in answers {
                    let _ = answer.send(Err(Error::unavailable(error.to_string())));
                }
                return;
            }
            Sent::Refused => self.state.lock().batch_ended(true),
            Sent::NoBatches(reason) => {
                tracing::warn!(
                    subjects = ?self.subjects,
                    reason,
                    "the stream takes no atomic batches, so appends are published one by one for 60 s"
                );
                self.state.lock().pause();
            }
        }
        let all = messages.into_iter().zip(answers);
        // The next batch would wait for their syncs.
        let _ = self.publish_each(all).await.await;
    }
}

/// Ends when nobody waits for any of these answers.
async fn all_gone(answers: &mut [oneshot::Sender<Answer>]) {
    for answer in answers {
        answer.closed().await;
    }
}

async fn wait_for_more(queue: &UnboundedReceiver<Waiting>) {
    let mut before = 0;
    for _ in 0..TURNS {
        yield_now().await;
        let now = queue.len();
        if now == before {
            return;
        }
        before = now;
    }
}

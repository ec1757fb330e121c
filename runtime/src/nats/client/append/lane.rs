//! The appends to the stream of a family of subjects. While few are on their way each is a plain publish. Further
//! ones wait, and what waits when an answer comes is published together.

use std::collections::VecDeque;
use std::sync::Arc;

use async_nats::{Client, Subject};
use futures_util::poll;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::batch::{self, Batches, LARGEST_BYTES, Outgoing, Refusal, Sent};
use super::pace::Pace;
use crate::error::{Error, Result};
use crate::nats::jetstream::{Appended, api_error, append};

/// How often those that were just answered get a turn, to come with their next message.
const TURNS: usize = 4;

type Answer = Result<(Appended, String)>;

/// What is to be published on one connection to one stream, as far as is known.
pub(super) struct Lane {
    nats: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order of their calls.
    waiting: VecDeque<Waiting>,
    /// Plain publishes on their way.
    flying: usize,
    /// A task publishes what waits.
    is_led: bool,
    pace: Pace,
    /// Which stream has answered.
    stream: Option<String>,
    batches: Batches,
    /// The most messages of a batch, where the server takes fewer than most do.
    largest: Option<usize>,
}

struct Waiting {
    message: Outgoing,
    /// Its size as one of a batch; none where it cannot be one.
    size: Option<usize>,
    answer: oneshot::Sender<Answer>,
}

enum Turn {
    Now(Outgoing, Flight),
    Later(oneshot::Receiver<Answer>),
}

/// What the task does next.
enum Step {
    Ask(Subject),
    Plain(Vec<Waiting>),
    Batch(Vec<Waiting>),
}

impl Lane {
    pub(super) fn new(nats: Client) -> Self {
        let state = Mutex::default();
        Self { nats, state }
    }

    /// Publishes and waits for the stream's PubAck, which also names the stream.
    pub(super) async fn append(self: Arc<Self>, message: Outgoing) -> Answer {
        let turn = self.enter(message);
        match turn {
            Turn::Now(message, flight) => self.publish(message, flight).await,
            Turn::Later(answer) => answer.await.unwrap_or_else(|_| {
                Err(Error::unavailable(
                    "a batch of messages was not acknowledged, and may be stored",
                ))
            }),
        }
    }

    fn enter(self: &Arc<Self>, message: Outgoing) -> Turn {
        let mut state = self.state.lock();
        let is_free = !state.is_led && state.waiting.is_empty();
        if is_free && !(state.pace.pays(state.flying) && state.batches.may_be_taken()) {
            return Turn::Now(message, self.fly(&mut state));
        }
        let (sender, answer) = oneshot::channel();
        state.waiting.push_back(Waiting {
            size: message.size_in_batch(self.nats.max_payload()),
            message,
            answer: sender,
        });
        Turn::Later(answer)
    }

    fn fly(self: &Arc<Self>, state: &mut State) -> Flight {
        state.flying += 1;
        Flight {
            lane: self.clone(),
            began: Instant::now(),
            among: state.flying,
        }
    }

    async fn publish(&self, message: Outgoing, flight: Flight) -> Answer {
        let Outgoing {
            subject,
            headers,
            payload,
        } = message;
        let answer = append(&self.nats, &subject, headers, payload).await;
        flight.landed(&answer);
        answer
    }

    /// Publishes what waits, until nothing does.
    async fn lead(self: Arc<Self>) {
        loop {
            self.wait_for_more().await;
            match self.next() {
                None => return,
                Some(Step::Ask(subject)) => {
                    let taken = batch::are_taken(&self.nats, &subject).await;
                    self.state.lock().batches.learn(taken);
                }
                Some(Step::Plain(messages)) => self.publish_each(messages).await,
                Some(Step::Batch(messages)) => self.publish_together(messages).await,
            }
        }
    }

    async fn wait_for_more(&self) {
        let mut before = 0;
        for _ in 0..TURNS {
            yield_now().await;
            let now = self.state.lock().waiting.len();
            if now == before {
                return;
            }
            before = now;
        }
    }

    fn next(&self) -> Option<Step> {
        let mut state = self.state.lock();
        let State {
            waiting,
            batches,
            pace,
            largest,
            is_led,
            ..
        } = &mut *state;
        // Whoever gave up before anything was sent has sent nothing.
        waiting.retain(|it| !it.answer.is_closed());
        let Some(first) = waiting.front() else {
            *is_led = false;
            return None;
        };
        if first.size.is_none() {
            let n = waiting.iter().take_while(|it| it.size.is_none()).count();
            return Some(Step::Plain(waiting.drain(..n).collect()));
        }
        let mut bytes = 0;
        let together = waiting.iter().map_while(|it| it.size).take_while(|size| {
            bytes += size;
            bytes <= LARGEST_BYTES
        });
        let most = pace.most().min(largest.unwrap_or(usize::MAX));
        let n = together.take(most).count().max(1);
        let pays = pace.pays(n);
        if pays && batches.is_to_be_asked() {
            return Some(Step::Ask(first.message.subject.clone()));
        }
        let messages = waiting.drain(..n).collect();
        Some(match batches {
            Batches::Taken if pays => Step::Batch(messages),
            _ => Step::Plain(messages),
        })
    }

    /// Publishes each by itself, in this order; does not wait for the answers.
    async fn publish_each(self: &Arc<Self>, messages: Vec<Waiting>) {
        for Waiting {
            message, answer, ..
        } in messages
        {
            let flight = self.fly(&mut self.state.lock());
            let lane = self.clone();
            let mut publish = Box::pin(async move {
                let _ = answer.send(lane.publish(message, flight).await);
            });
            // The first poll sends it.
            if poll!(publish.as_mut()).is_pending() {
                tokio::spawn(publish);
            }
        }
    }

    async fn publish_together(self: &Arc<Self>, messages: Vec<Waiting>) {
        let began = Instant::now();
        let n = messages.len();
        let outgoing: Vec<&Outgoing> = messages.iter().map(|it| &it.message).collect();
        match batch::publish(&self.nats, &outgoing).await {
            Sent::Stored { stream, first } => {
                self.state.lock().pace.batch(began.elapsed(), n);
                for (Waiting { answer, .. }, seq) in messages.into_iter().zip(first..) {
                    let duplicate = false;
                    let _ = answer.send(Ok((Appended { seq, duplicate }, stream.clone())));
                }
            }
            Sent::Refused(refusal) => {
                self.state.lock().learn(&refusal, n);
                self.publish_each(messages).await;
            }
            // Only with an id nothing is stored twice.
            Sent::OutOfSpace(error) => {
                let (safe, others): (Vec<_>, Vec<_>) =
                    messages.into_iter().partition(|it| it.message.has_id());
                for Waiting { answer, .. } in others {
                    let _ = answer.send(Err(api_error(error.clone())));
                }
                self.publish_each(safe).await;
            }
            Sent::Unanswered => {}
        }
    }
}

impl State {
    fn learn(&mut self, refusal: &Refusal, messages: usize) {
        match refusal {
            Refusal::NoBatches => self.batches.learn(false),
            Refusal::Size => self.largest = Some((messages / 2).max(1)),
            Refusal::Message => self.pace.refused(messages),
        }
    }
}

/// A plain publish on its way.
struct Flight {
    lane: Arc<Lane>,
    began: Instant,
    /// How many are on their way with it.
    among: usize,
}

impl Flight {
    fn landed(self, answer: &Answer) {
        let Ok((_, stream)) = answer else {
            return;
        };
        let mut state = self.lane.state.lock();
        state.pace.plain(self.began.elapsed(), self.among);
        match &state.stream {
            None => state.stream = Some(stream.clone()),
            // A batch is one stream's.
            Some(other) if other != stream => state.batches = Batches::Never,
            Some(_) => {}
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.lane.state.lock();
        state.flying -= 1;
        if !state.is_led
            && !state.waiting.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            state.is_led = true;
            runtime.spawn(self.lane.clone().lead());
        }
    }
}

//! Makes batches of the fetched messages, and begins an attempt at each.

use std::pin::pin;
use std::sync::Arc;

use async_nats::Message;
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{Instrument, Span};

use super::Feed;
use super::apart::Lanes;
use super::places::{Admission, Places, Waiting};
use crate::error::{Error, Kind, Policy};
use crate::function::event::Entry;
use crate::function::invoke;
use crate::run::consumer::attempt::Attempt;
use crate::run::consumer::position::Position;
use crate::run::consumer::settle::{AT_ONCE, Settler, key};
use crate::telemetry::{self, measure};

impl Feed {
    /// Takes the messages that are there, decodes them while the batch before is in the function, and waits
    /// for a turn. Messages that run apart do not wait here, and no message waits for them.
    pub(super) async fn dispatch(
        &self,
        mut messages: mpsc::Receiver<Message>,
        lanes: Lanes,
        mut stop: watch::Receiver<bool>,
    ) {
        let single = self.decode.is_none();
        let limit = self.consumer.at_once(single);
        let turns = Arc::new(Semaphore::new(self.consumer.in_flight(single)));
        let places = self.consumer.by_key.as_ref().map(|by| Places::new(by.most));
        let mut running = JoinSet::new();
        let mut fetched = Vec::with_capacity(limit);
        while messages.recv_many(&mut fetched, limit).await > 0 {
            self.wake.notify_one();
            while running.try_join_next().is_some() {}
            let receive = self.attempt.source.receive(&fetched);
            measure::received(&self.attempt.source.labels, fetched.len());
            let prepared = self.prepare(std::mem::take(&mut fetched), &mut stop);
            let Some(entries) = prepared.instrument(receive.clone()).await else {
                continue;
            };
            let mut together = Vec::with_capacity(entries.len());
            let mut taken = Vec::new();
            for (entry, its_key) in entries {
                if let Some(lane) = lanes.of(&self.settler.evidence, &entry) {
                    self.put_apart(lane, entry, &receive).await;
                    continue;
                }
                let admit = |places: &Places| places.admit(its_key, bytes_of(&entry));
                match places.as_ref().map(admit) {
                    None => {}
                    Some(Admission::Now(place)) => taken.push(place),
                    Some(Admission::Later(waiting)) => {
                        let work = self.later(waiting, entry, turns.clone(), &receive, &stop);
                        running.spawn(work);
                        continue;
                    }
                    Some(Admission::Again(delay)) => {
                        self.settler.wait_for(key(&entry), delay).await;
                        continue;
                    }
                }
                together.push(entry);
            }
            // Single messages have them, each one, or none has.
            let mut taken = taken.into_iter();
            let size = if single { 1 } else { together.len().max(1) };
            for part in together.chunks(size) {
                let Ok(turn) = turns.clone().acquire_owned().await else {
                    return;
                };
                let work = self.begin(part.to_vec(), &receive, &stop);
                let place = taken.next();
                running.spawn(async move {
                    work.await;
                    drop((turn, place));
                });
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// An attempt at some messages, in its span.
    pub(super) fn begin(
        &self,
        part: Vec<Arc<Entry>>,
        receive: &Span,
        stop: &watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (attempt, settler) = (self.attempt.clone(), self.settler.clone());
        begin(attempt, settler, part, receive, stop.clone())
    }

    /// An attempt at a message once its key has a place. At a stop before that it is given back.
    fn later(
        &self,
        waiting: Waiting,
        entry: Arc<Entry>,
        turns: Arc<Semaphore>,
        receive: &Span,
        stop: &watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (attempt, settler) = (self.attempt.clone(), self.settler.clone());
        let (receive, mut stop) = (receive.clone(), stop.clone());
        async move {
            let both = async {
                let place = waiting.place().await;
                (place, turns.acquire_owned().await)
            };
            let taken = tokio::select! {
                taken = both => Some(taken),
                _ = stop.wait_for(|stop| *stop) => None,
            };
            if taken.is_some() {
                begin(attempt, settler, vec![entry], &receive, stop).await;
            } else {
                settler.give_back_of(&[key(&entry)]).await;
            }
        }
    }

    /// Decodes messages into entries, each with its key (empty where none is asked for); writes those that cannot be
    /// decoded, or have no key, as dead letters. `None` if the stream was recreated: the messages are redelivered.
    async fn prepare(
        &self,
        messages: Vec<Message>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Vec<(Arc<Entry>, String)>> {
        let mut positions = Vec::with_capacity(messages.len());
        for message in messages {
            if let Some(position) = Position::of(&message)
                && !self.settler.is_unwritten(position.key()).await
            {
                positions.push((position, message));
            }
        }
        let stream = self.confirm(stop).await;
        self.settler.in_progress.keep_current(&mut positions);
        let passed = async {
            self.attempt.failpoint("fetch").await?;
            self.attempt.failpoint("decode").await
        };
        let (Some(stream), Ok(())) = (stream, passed.await) else {
            for (position, _) in &positions {
                if let Some(ack) = self.settler.in_progress.settle(position.key()) {
                    let _ = self.nats.publish(ack, "-NAK".into()).await;
                }
            }
            return None;
        };
        let mut entries = Vec::with_capacity(positions.len());
        let mut refused = Vec::new();
        for (position, message) in positions {
            let mut entry = Entry {
                message: crate::function::event::Message {
                    subject: message.subject,
                    headers: message.headers.unwrap_or_default(),
                    payload: message.payload,
                    seq: position.seq,
                    time_ns: position.time_ns,
                    unreadable: None,
                },
                stream: stream.clone(),
                delivered: position.delivered,
                decoded: None,
            };
            // With a natural key it is a duplicate anyway, and anybody can write such a header.
            if !self.consumer.natural_key
                && entry.is_replay_for_another(&self.settler.service, &self.settler.function)
            {
                self.settler.ack(&entry).await;
                continue;
            }
            let decoded = self.decode.map(|decode| invoke::decode(decode, &entry));
            let its_key = self.consumer.by_key.as_ref().map(|by| by.of(&entry));
            match decoded
                .transpose()
                .and_then(|it| Ok((it, its_key.transpose()?)))
            {
                Ok((decoded, its_key)) => {
                    entry.decoded = decoded;
                    entries.push((Arc::new(entry), its_key.unwrap_or_default()));
                }
                // A decoder that panics would panic at each delivery, as one that refuses would refuse.
                Err(error) => {
                    let error = match error.kind().policy() {
                        Policy::DeadLetter => error,
                        _ => Error::new(Kind::BadRequest, error.to_string()),
                    };
                    refused.push((entry, error));
                }
            }
        }
        let refuse = async |(entry, error)| {
            self.attempt.refuse(&self.settler, entry, &error).await;
        };
        let refused = stream::iter(refused);
        refused.for_each_concurrent(AT_ONCE, refuse).await;
        Some(entries)
    }
}

fn begin(
    attempt: Arc<Attempt>,
    settler: Arc<Settler>,
    part: Vec<Arc<Entry>>,
    receive: &Span,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + use<> {
    let (span, below) = attempt.source.process(&part, receive);
    async move {
        let work = pin!(attempt.all(&settler, part, stop));
        telemetry::quietly(below.as_ref(), work).await;
    }
    .instrument(span)
}

/// About what a message takes in memory.
fn bytes_of(entry: &Entry) -> usize {
    let headers = entry.headers().iter();
    let headers = headers.flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values
            .iter()
            .map(move |value| name.len() + value.as_str().len())
    });
    entry.payload().len() + headers.sum::<usize>()
}

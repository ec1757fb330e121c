//! Makes batches of the fetched messages, and begins an attempt at each.

use std::pin::pin;
use std::sync::Arc;

use async_nats::Message;
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{Instrument, Span};

use super::Feed;
use super::apart::{Apart, Lanes, Place};
use crate::error::{Error, Kind, Policy};
use crate::function::event::Entry;
use crate::function::invoke;
use crate::run::consumer::position::Position;
use crate::run::consumer::settle::{AT_ONCE, key};
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
        let mut running = JoinSet::new();
        let mut fetched = Vec::with_capacity(limit);
        while messages.recv_many(&mut fetched, limit).await > 0 {
            self.wake.notify_one();
            let receive = self.attempt.source.receive(&fetched);
            measure::received(&self.attempt.source.labels, fetched.len());
            let prepared = self.prepare(std::mem::take(&mut fetched), &mut stop);
            let Some(entries) = prepared.instrument(receive.clone()).await else {
                continue;
            };
            let mut together = Vec::with_capacity(entries.len());
            let mut places = Vec::new();
            for entry in entries {
                let Some(place) = self.place(&entry).instrument(receive.clone()).await else {
                    continue;
                };
                match lanes.of(&self.settler.evidence, &entry) {
                    None => {
                        together.push(entry);
                        places.extend(place);
                    }
                    Some(lane) => {
                        let receive = receive.clone();
                        let apart = Apart {
                            entry,
                            receive,
                            place,
                        };
                        self.put_apart(lane, apart).await;
                    }
                }
            }
            // Only single messages have them, and then each has one.
            let mut places = places.into_iter();
            let size = if single { 1 } else { together.len().max(1) };
            for part in together.chunks(size) {
                while running.try_join_next().is_some() {}
                let Ok(turn) = turns.clone().acquire_owned().await else {
                    return;
                };
                let work = self.begin(part.to_vec(), &receive, &stop);
                let place = places.next();
                running.spawn(async move {
                    work.await;
                    drop((turn, place));
                });
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// A place among the messages of the same key, where there are such limits. None if the message is not to run: it
    /// is given back, because its key has no more places, or it is settled, because its key cannot be told.
    async fn place(&self, entry: &Arc<Entry>) -> Option<Place> {
        let Some(by_key) = &self.consumer.by_key else {
            return Some(None);
        };
        match by_key.enter(&self.places, entry) {
            Ok(Some(place)) => return Some(Some(place)),
            Ok(None) => self.settler.wait(key(entry)).await,
            Err(error) => {
                let refused = self.attempt.refuse(&self.settler, entry.clone(), &error);
                refused.await;
            }
        }
        None
    }

    /// An attempt at some messages, in its span.
    pub(super) fn begin(
        &self,
        part: Vec<Arc<Entry>>,
        receive: &Span,
        stop: &watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (attempt, settler) = (self.attempt.clone(), self.settler.clone());
        let stop = stop.clone();
        let (span, below) = attempt.source.process(&part, receive);
        async move {
            let work = pin!(attempt.all(&settler, part, stop));
            telemetry::quietly(below.as_ref(), work).await;
        }
        .instrument(span)
    }

    /// Decodes messages into entries; writes those that cannot be decoded as dead letters. `None` if the
    /// stream was recreated: the messages are redelivered.
    async fn prepare(
        &self,
        messages: Vec<Message>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Vec<Arc<Entry>>> {
        let mut positions = Vec::with_capacity(messages.len());
        for message in messages {
            if let Some(position) = Position::of(&message)
                && !self.settler.is_unwritten(position.key()).await
            {
                positions.push((position, message));
            }
        }
        let stream = self.confirm(stop).await;
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
            match self
                .decode
                .map(|decode| invoke::decode(decode, &entry))
                .transpose()
            {
                Ok(decoded) => {
                    entry.decoded = decoded;
                    entries.push(Arc::new(entry));
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
            let refused = self.attempt.refuse(&self.settler, Arc::new(entry), &error);
            refused.await;
        };
        let refused = stream::iter(refused);
        refused.for_each_concurrent(AT_ONCE, refuse).await;
        Some(entries)
    }
}

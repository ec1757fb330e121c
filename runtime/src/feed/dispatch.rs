//! What makes batches of messages, and begins an attempt at each.

use std::pin::pin;
use std::sync::Arc;

use async_nats::Message;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::Feed;
use crate::error::{Error, Kind, Policy};
use crate::event::Entry;
use crate::invoke;
use crate::position::Position;
use crate::telemetry::{self, measure};

impl Feed {
    /// Takes what is there, decodes it while the batch before is in the function, and waits for a
    /// turn.
    pub(super) async fn dispatch(
        &self,
        mut messages: mpsc::Receiver<Message>,
        mut stop: watch::Receiver<bool>,
    ) {
        let single = self.decode.is_none();
        let in_flight = self.consumer.in_flight(single);
        let limit = if single {
            in_flight
        } else {
            self.consumer.max_batch
        };
        let turns = Arc::new(Semaphore::new(in_flight));
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
            let size = if single { 1 } else { entries.len().max(1) };
            for part in entries.chunks(size) {
                while running.try_join_next().is_some() {}
                let Ok(turn) = turns.clone().acquire_owned().await else {
                    return;
                };
                let attempt = self.attempt.clone();
                let stop = stop.clone();
                let part = part.to_vec();
                let (span, below) = self.attempt.source.process(&part, &receive);
                running.spawn(
                    async move {
                        let work = pin!(attempt.all(part, stop));
                        telemetry::quietly(below.as_ref(), work).await;
                        drop(turn);
                    }
                    .instrument(span),
                );
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Messages as entries, decoded; those that cannot be are dead letters already. None where
    /// the messages belong to another life of the stream: they come again.
    async fn prepare(
        &self,
        messages: Vec<Message>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Vec<Arc<Entry>>> {
        let positions: Vec<(Position, Message)> = messages
            .into_iter()
            .filter_map(|message| Some((Position::of(&message)?, message)))
            .collect();
        let stream = self.confirm(stop).await;
        let passed = async {
            self.attempt.reach("fetch").await?;
            self.attempt.reach("decode").await
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
        for (position, message) in positions {
            let mut entry = Entry {
                message: crate::event::Message {
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
            match self
                .decode
                .map(|decode| invoke::decode(decode, &entry))
                .transpose()
            {
                Ok(decoded) => {
                    entry.decoded = decoded;
                    entries.push(Arc::new(entry));
                }
                // A decoder that panics is no different from one that refuses: the bytes stay.
                Err(error) => {
                    let error = match error.kind().policy() {
                        Policy::DeadLetter => error,
                        _ => Error::new(Kind::BadRequest, error.to_string()),
                    };
                    self.attempt.refuse(&self.settler, entry, &error).await;
                }
            }
        }
        Some(entries)
    }
}

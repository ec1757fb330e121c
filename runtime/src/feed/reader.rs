//! What pulls messages, as many as there is room for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_nats::Message;
use tokio::sync::{mpsc, watch};

use super::Feed;
use crate::event::StreamId;
use crate::jetstream::consumer_info;
use crate::position::Position;
use crate::pull::{Pulled, Puller};
use crate::stats::{State, Stats};

impl Feed {
    pub(super) async fn read(
        &self,
        queue: mpsc::Sender<Message>,
        capacity: usize,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut puller = loop {
            match Puller::new(&self.nats, self.consumer.stream.name(), &self.consumer.name).await {
                Ok(puller) => break puller,
                Err(error) if self.pause(&error, 1, &mut stop).await => {}
                Err(_) => return,
            }
        };
        let mut connects = self.connects();
        loop {
            let stopping = *stop.borrow();
            if stopping && puller.is_idle() {
                return;
            }
            if !stopping && self.life.borrow().is_none() && !self.locate(&mut stop).await {
                continue;
            }
            if connects != self.connects() {
                connects = self.connects();
                self.look_what_broke_the_connection().await;
            }
            if !stopping && self.stats.state() == State::Running {
                // Asked for in halves: a request for every message would cost more than it brings.
                let free = queue.capacity().saturating_sub(puller.outstanding());
                if free >= capacity.div_ceil(2)
                    && let Err(error) = puller.ask(free).await
                {
                    tracing::warn!(%error, "a pull request was not sent");
                }
            }
            tokio::select! {
                pulled = puller.next() => match pulled {
                    Pulled::Message(message) => self.take(*message, &queue),
                    Pulled::Ended => {}
                    Pulled::Closed => return,
                    Pulled::Lost(reason) if stopping => {
                        tracing::debug!(reason, "the consumer is gone while draining");
                        return;
                    }
                    Pulled::Lost(reason) => {
                        tracing::warn!(consumer = %self.consumer.name, reason, "looking for the consumer again");
                        self.life.send_replace(None);
                    }
                },
                () = self.wake.notified() => {}
                _ = stop.changed(), if !stopping => {}
            }
        }
    }

    /// Holds a message and queues it; the queue has room, since no more was asked for.
    fn take(&self, message: Message, queue: &mpsc::Sender<Message>) {
        Stats::add(&self.stats.requests, 1);
        let Some((position, ack)) = Position::of(&message).zip(message.reply.clone()) else {
            tracing::warn!(subject = %message.subject, "a delivery without an acknowledgement subject");
            return;
        };
        let key = position.key();
        if self.settler.in_progress.hold(key, ack) && queue.try_send(message).is_err() {
            // It is left to the ack wait: the server sent more than it was asked for.
            self.settler.in_progress.settle(key);
        }
    }

    fn connects(&self) -> u64 {
        self.nats.statistics().connects.load(Relaxed)
    }

    /// A message may have: see [`Feed::sweep`]. What cannot be found out now is found out after the
    /// next time.
    async fn look_what_broke_the_connection(&self) {
        let name = self.consumer.stream.name();
        let life = self.life.borrow().clone();
        let found = consumer_info(&self.nats, name, &self.consumer.name).await;
        if let (Some(life), Ok(info)) = (life, found)
            && info.created == life.consumer_created
        {
            let stream = Arc::new(StreamId {
                name: name.to_owned(),
                created: life.stream_created,
                ack_floor: info.ack_floor.stream_seq,
            });
            self.try_to_sweep(&info, &stream).await;
        }
    }
}

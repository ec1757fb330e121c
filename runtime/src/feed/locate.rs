//! Which consumer, on which life of the stream, the messages come from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Feed, Life};
use crate::error::{Error, Kind, Result};
use crate::event::StreamId;
use crate::jetstream::{ConsumerInfo, consumer_info};
use crate::settle::backoff;
use crate::stats::State;

impl Feed {
    /// Finds the stream and the durable consumer, and makes the consumer where it is missing.
    /// False when it is time to look at `stop` again.
    pub(super) async fn locate(&self, stop: &mut watch::Receiver<bool>) -> bool {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.find(stop).await {
                Ok(life) => {
                    self.life.send_replace(Some(life));
                    self.stats.enter(State::Running);
                    return true;
                }
                Err(error) if error.kind() == Kind::Halt => {
                    tracing::error!(consumer = %self.consumer.name, %error, "halted");
                    self.stats.enter(State::Halted(error.to_string()));
                    let _ = stop.wait_for(|stop| *stop).await;
                    return false;
                }
                Err(error) => {
                    if !self.pause(&error, tries, stop).await {
                        return false;
                    }
                }
            }
        }
    }

    async fn find(&self, stop: &watch::Receiver<bool>) -> Result<Life> {
        let stream = self.consumer.stream.check(&self.nats).await?;
        let name = self.consumer.stream.name();
        let found = match consumer_info(&self.nats, name, &self.consumer.name).await {
            Err(error) if error.kind() == Kind::NotFound => {
                tracing::info!(stream = name, consumer = %self.consumer.name, "making the consumer");
                self.consumer.set_up(&self.nats, None).await?
            }
            found => found?,
        };
        if found.created < stream.created {
            return Err(Error::unavailable("the stream was made again just now"));
        }
        let id = StreamId {
            name: name.to_owned(),
            created: stream.created,
            ack_floor: found.ack_floor.stream_seq,
        };
        // A restored backup, or another database: what it lacks is fetched again before anything
        // newer is stored.
        let consumer = self
            .consumer
            .catch_up(self.attempt.background(stop), id.clone(), found)
            .await?;
        self.observe(&consumer);
        let id = Arc::new(StreamId {
            ack_floor: consumer.ack_floor.stream_seq,
            ..id
        });
        self.try_to_sweep(&consumer, &id).await;
        Ok(Life {
            stream_created: stream.created,
            consumer_created: consumer.created,
        })
    }

    /// Asks the server after the messages have come whether the consumer is still the one that was
    /// found: only then do they belong to the stream's life that we know. This costs a round trip a
    /// batch, made while the batch before it is in the function.
    pub(super) async fn confirm(&self, stop: &mut watch::Receiver<bool>) -> Option<Arc<StreamId>> {
        let life = self.life.borrow().clone()?;
        let name = self.consumer.stream.name();
        let mut tries = 0;
        loop {
            tries += 1;
            match consumer_info(&self.nats, name, &self.consumer.name).await {
                Ok(info) if info.created == life.consumer_created => {
                    self.observe(&info);
                    if tries > 1 {
                        self.stats.enter(State::Running);
                        self.wake.notify_one();
                    }
                    return Some(Arc::new(StreamId {
                        name: name.to_owned(),
                        created: life.stream_created,
                        ack_floor: info.ack_floor.stream_seq,
                    }));
                }
                Ok(_) => break,
                Err(error) if error.kind() == Kind::NotFound => break,
                Err(error) => {
                    if !self.pause(&error, tries, stop).await {
                        return None;
                    }
                }
            }
        }
        self.life.send_replace(None);
        self.wake.notify_one();
        None
    }

    /// Says that a dependency is away, waits; false when it is time to stop.
    pub(super) async fn pause(
        &self,
        error: &Error,
        tries: u64,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        if tries % 16 == 1 {
            tracing::warn!(consumer = %self.consumer.name, %error, "holding");
        }
        self.stats.enter(State::Holding(error.to_string()));
        let pause = backoff(tries).min(Duration::from_secs(5));
        // A stop, or the runtime's end, cuts the pause short.
        tokio::time::timeout(pause, stop.wait_for(|stop| *stop))
            .await
            .is_err()
    }

    pub(super) async fn try_to_sweep(&self, consumer: &ConsumerInfo, stream: &Arc<StreamId>) {
        if let Err(error) = self.sweep(consumer, stream).await {
            tracing::warn!(consumer = %self.consumer.name, %error, "messages that came again were not looked at; one that no client can read would come for ever");
        }
    }
}

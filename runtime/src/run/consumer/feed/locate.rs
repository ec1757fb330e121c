//! Finds the consumer that messages come from, and notices when it or its stream was recreated.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Feed, FoundConsumer};
use crate::error::{Error, Kind, Result};
use crate::function::event::StreamId;
use crate::nats::jetstream::{ConsumerInfo, consumer_info, stream_info};
use crate::nats::pull::Limits;
use crate::run::backoff::backoff;
use crate::run::consumer::hold::Cause;
use crate::service::background::{Background, Settled, StreamFunction};
use crate::service::consumer::{REMOVED_WITHIN, Wanted};
use crate::telemetry::stats::{State, Stats};

impl Feed {
    /// Finds the stream and the durable consumer, and makes the consumer where it is missing.
    /// False when it is time to look at `stop` again.
    pub(super) async fn locate(&self, stop: &mut watch::Receiver<bool>) -> bool {
        let mut tries = 0;
        let mut was_missing = false;
        loop {
            tries += 1;
            match self.find(stop, was_missing).await {
                Ok(None) => {
                    was_missing = true;
                    let stopped = stop.wait_for(|stop| *stop);
                    if tokio::time::timeout(REMOVED_WITHIN, stopped).await.is_ok() {
                        return false;
                    }
                }
                Ok(Some(found)) => {
                    self.found.send_replace(Some(found));
                    self.settler.holds.found();
                    return true;
                }
                Err(error) if error.kind() == Kind::Halt => {
                    tracing::error!(consumer = %self.consumer.name, %error, "halted");
                    self.stats.enter(State::Halted(error.to_string()));
                    let _ = stop.wait_for(|stop| *stop).await;
                    return false;
                }
                Err(error) => {
                    // It may be made, and deleted, meanwhile.
                    was_missing = false;
                    if !self.pause(&error, tries, stop).await {
                        return false;
                    }
                }
            }
        }
    }

    /// The consumer that was found on this connection, if it is still in use.
    pub(super) fn current(&self) -> Option<FoundConsumer> {
        let found = self.found.borrow().clone();
        found.filter(|found| found.connects == self.connects())
    }

    /// Why no messages come in, although nothing is known to be wrong.
    pub(crate) fn unfed(&self) -> Option<&'static str> {
        if !self.intake.is_connected() {
            return Some(
                "its messages cannot come in: that connection to NATS is being made again",
            );
        }
        let is_found = self.current().is_some();
        (!is_found).then_some("its consumer is being looked for")
    }

    /// None where the consumer is missing; if it was missing before, it is made.
    async fn find(
        &self,
        stop: &watch::Receiver<bool>,
        was_missing: bool,
    ) -> Result<Option<FoundConsumer>> {
        // Read first: if the connection changes during the requests below, they are repeated.
        let connects = self.connects();
        let checked = self.consumer.stream.check(&self.nats).await;
        // A stream that would lose messages is used as soon as somebody has mended it.
        let stream = checked.map_err(|error| match error.kind() {
            Kind::Halt => Error::unavailable(error.to_string()),
            _ => error,
        })?;
        self.let_go_of_former(&stream).await;
        let database = self.attempt.database_id(&self.consumer).await?;
        let name = self.consumer.stream.name();
        let found = match consumer_info(&self.nats, name, &self.consumer.durable_name()).await {
            Err(error) if error.kind() == Kind::NotFound && !was_missing => return Ok(None),
            Err(error) if error.kind() == Kind::NotFound => {
                tracing::info!(stream = name, consumer = %self.consumer.name, "making the consumer");
                let wanted = Wanted {
                    begin: self.resume(&stream).await?,
                    database: database.as_deref(),
                    ..Wanted::default()
                };
                self.consumer.set_up(&self.nats, wanted).await?
            }
            found => found?,
        };
        self.consumer.check_owner(&found)?;
        self.consumer.check_database(&found, database.as_deref())?;
        let found = self.consumer.mend(&self.nats, found).await?;
        // Not by comparing the times of the two: a stream that was restored is younger than its consumers.
        if stream_info(&self.nats, name).await?.created != stream.created {
            return Err(Error::unavailable("the stream was recreated just now"));
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
        self.remember(stream.created, &consumer);
        let found = FoundConsumer {
            stream_created: stream.created,
            consumer_created: consumer.created,
            database: consumer.database().map(str::to_owned),
            limits: Limits::of(&consumer),
            connects,
        };
        // The reader need not wait for it.
        self.to_sweep.send_replace(Some((consumer, id)));
        Ok(Some(found))
    }

    /// Asks the server after the messages have come whether the consumer is still the one that was
    /// found: only then do they belong to the stream that we know. This costs a round trip a
    /// batch, made while the batch before it is in the function.
    pub(super) async fn confirm(&self, stop: &mut watch::Receiver<bool>) -> Option<Arc<StreamId>> {
        let found = self.current();
        let name = self.consumer.stream.name();
        let durable = self.consumer.durable_name();
        let mut tries = 0;
        while let Some(found) = &found {
            tries += 1;
            let info = match consumer_info(&self.nats, name, &durable).await {
                Ok(info) if self.is_same(found, &info) => {
                    let is_without_payload = info.is_without_payload();
                    let mended = self.consumer.mend(&self.nats, info).await;
                    // Messages that came without their payload are redelivered.
                    mended.map(|info| (!is_without_payload).then_some(info))
                }
                Ok(_) => Ok(None),
                Err(error) if error.kind() == Kind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
            match info {
                Ok(Some(info)) => {
                    self.observe(&info);
                    self.readable.lock().1.forget_to(info.ack_floor.stream_seq);
                    if tries > 1 {
                        self.settler.holds.release(Cause::Consumer);
                    }
                    self.remember(found.stream_created, &info);
                    return Some(Arc::new(StreamId {
                        name: name.to_owned(),
                        created: found.stream_created,
                        ack_floor: info.ack_floor.stream_seq,
                    }));
                }
                Ok(None) => break,
                Err(error) => {
                    if !self.pause(&error, tries, stop).await {
                        return None;
                    }
                }
            }
        }
        // If the reader found the next consumer before this began to hold, nobody else ends the hold.
        if !self.end(found.as_ref()) {
            self.settler.holds.release(Cause::Consumer);
        }
        None
    }

    /// Lets the reader look for the consumer again, and compare it. False where it has found another
    /// one meanwhile.
    pub(super) fn end(&self, found: Option<&FoundConsumer>) -> bool {
        let has_ended = self.found.send_if_modified(|known| {
            let has_ended = known.as_ref() == found;
            if has_ended {
                *known = None;
            }
            has_ended
        });
        self.wake.notify_one();
        has_ended
    }

    /// Whether this is the consumer that was found, read on the same connection.
    pub(super) fn is_same(&self, found: &FoundConsumer, consumer: &ConsumerInfo) -> bool {
        consumer.created == found.consumer_created
            && consumer.database() == found.database.as_deref()
            && found.connects == self.connects()
            && !self.consumer.is_foreign(consumer)
    }

    /// Up to where everything is settled, for [`Background::settled`](crate::Background::settled).
    async fn up_to_where_settled(&self, background: &Background) -> Result<Option<Settled>> {
        let Some(found) = self.current() else {
            return Ok(None);
        };
        let (name, durable) = (self.consumer.stream.name(), self.consumer.durable_name());
        let read = tokio::try_join!(
            stream_info(&self.nats, name),
            consumer_info(&self.nats, name, &durable),
        );
        let (stream, consumer) = match read {
            Ok(read) => read,
            // One of them is being recreated.
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if stream.created != found.stream_created || !self.is_same(&found, &consumer) {
            return Ok(None);
        }
        let upto = consumer.ack_floor.stream_seq;
        let id = StreamId {
            name: name.to_owned(),
            created: stream.created,
            ack_floor: upto,
        };
        if let Some(stored) = self.consumer.behind(background.clone(), id).await? {
            tracing::error!(consumer = %self.consumer.name, stored, acknowledged = upto, "the store has lost what was acknowledged: was it put back to an older state? What is still in the stream is handled again");
            self.end(Some(&found));
            return Ok(None);
        }
        Ok(Some(Settled { stream, upto }))
    }

    /// Says that a dependency is away, waits; false when it is time to stop.
    pub(super) async fn pause(
        &self,
        error: &Error,
        tries: u64,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        self.settler.holds.hold(Cause::Consumer, error);
        let pause = backoff(tries).min(Duration::from_secs(5));
        // A stop, or the runtime's end, cuts the pause short.
        tokio::time::timeout(pause, stop.wait_for(|stop| *stop))
            .await
            .is_err()
    }
}

impl StreamFunction for Feed {
    fn name(&self) -> &str {
        &self.consumer.name
    }

    fn settled<'a>(&'a self, background: &'a Background) -> BoxFuture<'a, Result<Option<Settled>>> {
        self.up_to_where_settled(background).boxed()
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }
}

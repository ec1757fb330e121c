//! The path of a consumer: fetch, decode, invoke, settle. One feed is one consumer in one instance.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use async_nats::{Client, Message};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::attempt::Attempt;
use crate::consumer::Consumer;
use crate::effect::Database;
use crate::error::{Error, Kind, Policy, Result};
use crate::event::{Delivery, Entry, StreamId};
use crate::extract::Decode;
use crate::handler::Call;
use crate::invoke;
use crate::jetstream::{ConsumerInfo, consumer_info};
use crate::position::Position;
use crate::pull::{Pulled, Puller};
use crate::settle::{Settler, backoff};
use crate::stats::{State, Stats};
use crate::telemetry::{self, Source, measure};
use crate::template::Template;
use crate::watch::watch;

/// A consumer at work in one instance.
pub(crate) struct Feed {
    pub(crate) consumer: Consumer,
    decode: Option<Decode>,
    nats: Client,
    pub(crate) stats: Arc<Stats>,
    pub(crate) settler: Arc<Settler>,
    pub(crate) attempt: Arc<Attempt>,
    /// The consumer that messages are taken from; none while it has to be found (again).
    life: watch::Sender<Option<Life>>,
    /// Wakes the reader: there is room again, or the life has ended.
    wake: Arc<Notify>,
}

/// One life of a durable consumer, and so of its stream: sequences mean nothing across two.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Life {
    stream_created: SystemTime,
    consumer_created: SystemTime,
}

impl Feed {
    pub(crate) fn new(
        service: &Arc<str>,
        consumer: Consumer,
        call: Call<Delivery>,
        client: crate::Client,
        database: Option<Arc<dyn Database>>,
        #[cfg(feature = "testing")] failpoints: crate::failpoint::Failpoints,
    ) -> Result<Self, String> {
        let nats = client.nats().clone();
        let stats = Arc::new(Stats::default());
        let wake = Arc::new(Notify::new());
        let settler = Arc::new(Settler::new(
            nats.clone(),
            service.clone(),
            consumer.name.clone(),
            consumer.max_attempts,
            stats.clone(),
        ));
        let decode = call.needs.decode;
        let templates: Arc<[Template]> = consumer.templates()?.into();
        measure::watch(service, &consumer.name, &stats);
        let source = Source::new(
            client.broker(),
            service,
            &consumer,
            &templates,
            decode.is_none(),
        );
        let attempt = Arc::new(Attempt {
            service: service.clone(),
            function: consumer.name.clone(),
            templates,
            source,
            deadline: consumer.deadline,
            inbox: !consumer.natural_key,
            client: Some(client),
            call,
            database,
            stats: stats.clone(),
            settler: Some(settler.clone()),
            wake: wake.clone(),
            #[cfg(feature = "testing")]
            failpoints,
        });
        Ok(Self {
            consumer,
            decode,
            nats,
            stats,
            settler,
            attempt,
            life: watch::channel(None).0,
            wake,
        })
    }

    /// Reads, and hands to the dispatcher, until `stop` and the last pull has ended. What is in
    /// flight then is still finished: this returns when everything is settled.
    pub(crate) async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let capacity = self.consumer.capacity(self.decode.is_none());
        let (queue, messages) = mpsc::channel(capacity);
        // One task, so that whoever aborts it ends all of it.
        let work = async {
            tokio::join!(
                self.read(queue, capacity, stop.clone()),
                self.dispatch(messages, stop.clone()),
            );
        };
        let span = tracing::info_span!(
            "consume",
            service = &*self.settler.service,
            function = %self.consumer.name,
        );
        tokio::select! {
            () = work.instrument(span) => {}
            () = self.settler.in_progress.keep(&self.nats, self.consumer.ack_wait) => {}
            () = watch(&self.nats, &self.consumer, &self.stats) => {}
        }
    }

    async fn read(
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

    pub(crate) fn nats(&self) -> &Client {
        &self.nats
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

    async fn try_to_sweep(&self, consumer: &ConsumerInfo, stream: &Arc<StreamId>) {
        if let Err(error) = self.sweep(consumer, stream).await {
            tracing::warn!(consumer = %self.consumer.name, %error, "messages that came again were not looked at; one that no client can read would come for ever");
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

    /// Finds the stream and the durable consumer, and makes the consumer where it is missing.
    /// False when it is time to look at `stop` again.
    async fn locate(&self, stop: &mut watch::Receiver<bool>) -> bool {
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

    /// Says that a dependency is away, waits; false when it is time to stop.
    async fn pause(&self, error: &Error, tries: u64, stop: &mut watch::Receiver<bool>) -> bool {
        if tries % 16 == 1 {
            tracing::warn!(consumer = %self.consumer.name, %error, "holding");
        }
        self.stats.enter(State::Holding(error.to_string()));
        let pause = backoff(tries).min(std::time::Duration::from_secs(5));
        // A stop, or the runtime's end, cuts the pause short.
        tokio::time::timeout(pause, stop.wait_for(|stop| *stop))
            .await
            .is_err()
    }

    /// Takes what is there, decodes it while the batch before is in the function, and waits for a
    /// turn.
    async fn dispatch(
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

    /// Asks the server after the messages have come whether the consumer is still the one that was
    /// found: only then do they belong to the stream's life that we know. This costs a round trip a
    /// batch, made while the batch before it is in the function.
    async fn confirm(&self, stop: &mut watch::Receiver<bool>) -> Option<Arc<StreamId>> {
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

    fn observe(&self, info: &ConsumerInfo) {
        self.stats.pending.store(info.num_pending, Relaxed);
        self.stats.ack_pending.store(info.num_ack_pending, Relaxed);
        self.stats.redelivered.store(info.num_redelivered, Relaxed);
    }

    /// Reads the consumer's counts for STATS; while it is idle nobody else does.
    pub(crate) async fn refresh(&self) {
        if let Ok(info) =
            consumer_info(&self.nats, self.consumer.stream.name(), &self.consumer.name).await
        {
            self.observe(&info);
        }
    }
}

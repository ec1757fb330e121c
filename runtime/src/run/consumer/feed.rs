//! The path of a consumer: fetch, decode, invoke, settle. One feed is one consumer in one instance.

mod apart;
mod dispatch;
mod former;
mod letters;
mod locate;
mod places;
mod reader;
mod resume;
mod sweep;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tracing::Instrument;

use super::attempt::Attempt;
use super::hold::Cause;
use super::ranges::Ranges;
use super::settle::Settler;
use super::watch::watch;
use crate::error::Kind;
use crate::error::reply::one_line;
use crate::function::database::Database;
use crate::function::event::{Delivery, SettledUpTo, StreamId};
use crate::function::extract::Decode;
use crate::function::handler::Call;
use crate::function::invoke::contained;
use crate::function::template::Template;
use crate::nats::intake::Intake;
use crate::nats::jetstream::{ConsumerInfo, Nats, consumer_info};
use crate::nats::pull::Limits;
use crate::run::backoff::backoff;
use crate::run::dead_letter;
use crate::service::consumer::Consumer;
use crate::telemetry::stats::{Counters, Stats};
use crate::telemetry::{Names, Source, measure};
use apart::Lanes;

/// Time limit for reading the stream of the dead letters: a user without the right to ask gets no answer.
const LETTERS_TIMEOUT: Duration = Duration::from_millis(200);

/// A consumer at work in one instance.
pub(crate) struct Feed {
    pub(crate) consumer: Consumer,
    decode: Option<Decode>,
    nats: Nats,
    pub(crate) stats: Arc<Stats>,
    pub(crate) settler: Arc<Settler>,
    pub(crate) attempt: Arc<Attempt>,
    /// The connections that its messages arrive on.
    intake: Intake,
    /// The consumer that messages are taken from; none while it has to be found (again).
    found: watch::Sender<Option<FoundConsumer>>,
    /// Wakes the reader: there is room again, or the consumer has to be found again.
    wake: Arc<Notify>,
    /// The consumer as it was found, also after a reconnect: something may have broken the connection.
    to_sweep: watch::Sender<Option<(ConsumerInfo, Arc<StreamId>)>>,
    /// The messages that a client can read, because they have arrived here or were looked at; with the
    /// creation time of their stream.
    readable: Mutex<(Option<SystemTime>, Ranges)>,
    /// What was settled when the consumer was seen last, and when its stream was created.
    settled: Mutex<Option<(SystemTime, SettledUpTo)>>,
}

/// Identifies a durable consumer as it was found, from its creation to its deletion, and so its stream:
/// in a recreated one, sequences stand for other messages.
///
/// It is not used beyond the connection, either. Behind another one may be a server with an older copy
/// of the stream, in which the same sequences stand for other messages: so the consumer is looked for
/// and compared again before any message of it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FoundConsumer {
    stream_created: SystemTime,
    consumer_created: SystemTime,
    /// The id of the database that it feeds.
    database: Option<String>,
    limits: Limits,
    connects: u64,
}

impl Feed {
    pub(crate) fn new(
        service: &Arc<str>,
        consumer: Consumer,
        call: Call<Delivery>,
        client: crate::nats::client::Client,
        intake: Intake,
        database: Option<Arc<dyn Database>>,
        #[cfg(feature = "testing")] failpoints: crate::service::failpoint::Failpoints,
    ) -> Result<Self, String> {
        let nats = client.nats().clone();
        let stats = Arc::new(Stats::default());
        let wake = Arc::new(Notify::new());
        let settler = Arc::new(Settler::new(
            nats.clone(),
            service.clone(),
            &consumer,
            stats.clone(),
            wake.clone(),
        ));
        let decode = call.needs.decode;
        let templates: Arc<[Template]> = consumer.templates()?.into();
        measure::watch(service, &consumer.name, Some(Counters::Stream), &stats);
        let source = Source::new(
            client.broker(),
            &Names {
                service,
                function: &consumer.name,
                stream: consumer.stream.name(),
                durable: &consumer.durable_name(),
            },
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
            intake,
            found: watch::channel(None).0,
            wake,
            to_sweep: watch::channel(None).0,
            readable: Mutex::default(),
            settled: Mutex::default(),
        })
    }

    /// Reads, and hands to the dispatcher, until `stop` and the last pull has ended. What is in
    /// flight then is still finished: this returns when everything is settled.
    ///
    /// A panic in it is a fault of the runtime, which nobody would notice: the messages are given
    /// back and it begins again.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut panics = 0;
        while let Err(error) = contained(self.work(stop.clone()).boxed()).await {
            tracing::error!(consumer = %self.consumer.name, %error, "the runtime itself panicked; the consumer gives its messages back and begins again");
            self.settler.give_back().await;
            // The consumer is looked for again, which ends a hold for it.
            self.found.send_replace(None);
            panics += 1;
            tokio::select! {
                () = tokio::time::sleep(backoff(panics)) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn work(&self, stop: watch::Receiver<bool>) {
        let is_single = self.decode.is_none();
        let capacity = self.consumer.capacity(is_single);
        let most = self.consumer.at_once(is_single);
        let (queue, messages) = mpsc::channel(capacity);
        let (slow, slow_ones) = mpsc::channel(capacity);
        let (crashing, crashing_ones) = mpsc::channel(capacity);
        // One task, so that whoever aborts it ends all of it.
        let work = async {
            tokio::join!(
                self.read(queue, capacity, stop.clone()),
                self.dispatch(messages, Lanes { slow, crashing }, stop.clone()),
                self.run_slow(slow_ones, stop.clone()),
                self.run_crashing(crashing_ones, most, stop.clone()),
            );
        };
        let beside = async {
            tokio::join!(
                self.tell(),
                self.write_letters(),
                self.sweep_what_is_found()
            );
        };
        let span = tracing::info_span!(
            "consume",
            service = &*self.settler.service,
            function = %self.consumer.name,
        );
        tokio::select! {
            () = work.instrument(span.clone()) => {}
            () = beside.instrument(span) => {}
            () = self.settler.in_progress.keep(&self.nats) => {}
            () = watch(&self.nats, &self.consumer, &self.stats) => {}
        }
    }

    /// Logs news of the holds each second, and once a minute that messages are lost.
    async fn tell(&self) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        for seconds in 1_u64.. {
            interval.tick().await;
            if seconds % 60 == 1
                && let Some(warning) = self.refresh().await
            {
                tracing::error!(consumer = %self.consumer.name, "{warning}");
            }
            if self.settler.evidence.ends_by_itself() {
                self.settler.holds.release(Cause::NoSuccess);
            }
            self.settler.holds.tell();
        }
    }

    pub(crate) fn nats(&self) -> &Nats {
        &self.nats
    }

    /// How often its connections were made: tells a connection from the one before.
    fn connects(&self) -> u64 {
        self.nats.statistics().connects.load(Relaxed) + self.intake.connects()
    }

    fn observe(&self, info: &ConsumerInfo) {
        let waits = info.ack_wait().unwrap_or(self.consumer.ack_wait);
        self.settler.in_progress.server_waits(waits);
        self.stats.pending.store(info.num_pending, Relaxed);
        self.stats.ack_pending.store(info.num_ack_pending, Relaxed);
        self.stats.redelivered.store(info.num_redelivered, Relaxed);
        self.stats.pause(info.paused.then(|| {
            let (stream, durable) = (self.consumer.stream.name(), self.consumer.durable_name());
            format!(
                "the consumer is paused; `nats consumer resume {stream} {durable}` lets it go on"
            )
        }));
    }

    /// Reads the consumer's counts for STATS, since nobody else does while it is idle, and checks whether
    /// somebody has changed the stream or the consumer so that messages are lost: that is the `warning` in
    /// STATS. The function goes on, since messages that it does not fetch may be lost too.
    pub(crate) async fn refresh(&self) -> Option<String> {
        let (stream, durable) = (&self.consumer.stream, self.consumer.durable_name());
        let (stream, letters, consumer) = tokio::join!(
            stream.check(&self.nats),
            tokio::time::timeout(LETTERS_TIMEOUT, dead_letter::check(&self.nats)),
            consumer_info(&self.nats, stream.name(), &durable),
        );
        let mut warnings = Vec::new();
        let holds = &self.settler.holds;
        match letters {
            Ok(Err(error)) if error.kind() == Kind::Halt => {
                holds.hold(Cause::DeadLetters, &error);
                warnings.push(error.to_string());
            }
            Ok(Ok(())) if self.settler.unwritten.is_empty() => holds.release(Cause::DeadLetters),
            _ => {}
        }
        match stream {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Halt => warnings.push(error.to_string()),
            // The consumer's own hold says what is away.
            Err(_) => return None,
        }
        if let Ok(consumer) = consumer {
            self.observe(&consumer);
            if let Some(found) = self.current()
                && self.is_same(&found, &consumer)
            {
                self.remember(found.stream_created, &consumer);
            }
            warnings.extend(self.consumer.passes_over(&consumer));
            warnings.extend(self.consumer.is_full(&consumer));
        }
        let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
        self.stats
            .show("warning", warning.as_deref().map(one_line).into());
        warning
    }
}

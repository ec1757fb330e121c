//! The path of a consumer: fetch, decode, invoke, settle. One feed is one consumer in one instance.

mod dispatch;
mod locate;
mod reader;
mod sweep;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use async_nats::Client;
use tokio::sync::{Notify, mpsc, watch};
use tracing::Instrument;

use crate::attempt::Attempt;
use crate::consumer::Consumer;
use crate::effect::Database;
use crate::event::Delivery;
use crate::extract::Decode;
use crate::handler::Call;
use crate::jetstream::{ConsumerInfo, consumer_info};
use crate::settle::Settler;
use crate::stats::Stats;
use crate::telemetry::Source;
use crate::telemetry::measure::{self, Means};
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
        measure::watch(service, &consumer.name, Means::Stream, &stats);
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

    pub(crate) fn nats(&self) -> &Client {
        &self.nats
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

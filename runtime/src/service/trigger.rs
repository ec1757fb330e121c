//! What calls a function: requests, a stream. The runtime knows each kind through these traits alone.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::Message;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::background::StreamFunction;
use super::consumer::Consumer;
#[cfg(feature = "testing")]
use super::failpoint::Failpoints;
use crate::function::database::Database;
use crate::function::extract::Needs;
use crate::function::handler::layer::Layers;
use crate::nats::client::Client;
use crate::nats::client::access::Access;
use crate::nats::connections::Connector;
use crate::nats::intake::Intake;
use crate::telemetry::stats::{State, Stats};
use crate::telemetry::unheard::Unheard;

/// A registered function, with what calls it.
pub(crate) trait Trigger: Any + Send + Sync {
    fn name(&self) -> &str;

    /// What a person calls such a function: "an endpoint".
    fn kind(&self) -> &'static str;

    /// What the function's arguments need.
    fn needs(&self) -> Needs;

    /// The template of the subject on which it answers requests. A function without one answers its
    /// state, on [`state_subject`].
    fn subject(&self) -> Option<&str> {
        None
    }

    /// The durable consumer that feeds it; `setup` makes it and its stream.
    fn consumer(&self) -> Option<&Consumer> {
        None
    }

    /// What the function declares that it does with its connection by hand.
    fn uses(&self) -> &[Access];

    /// The same with what its arguments say.
    fn accesses(&self) -> Vec<Access> {
        let buckets = self.needs().buckets;
        let buckets = buckets.into_iter().map(Access::bucket);
        self.uses().iter().cloned().chain(buckets).collect()
    }

    /// Whether the server must say who asks.
    fn wants_caller(&self) -> bool {
        self.needs().caller
    }

    /// The queue group in which it answers requests, with that of its service.
    fn queue_group<'a>(&'a self, service: Option<&'a str>) -> Option<&'a str> {
        service
    }

    /// The subjects of its answers to requests from other accounts.
    fn answers(&self) -> &'static str {
        "_R_.>"
    }

    /// Puts the service's layers around it, outside its own.
    fn surround(&mut self, layers: &Layers);

    /// Adds the mistakes in its own definition, a sentence each.
    fn check(&self, problems: &mut Vec<String>);

    /// Makes the function that runs in this process. Nothing is called before everything is subscribed.
    ///
    /// # Errors
    /// A mistake that [`Trigger::check`] reports too.
    fn start(&self, process: &mut Process<'_>) -> Result<Arc<dyn RunningFunction>, String>;
}

impl dyn Trigger {
    /// The subjects, or templates of subjects, that a message or request for it is sent to.
    #[cfg(feature = "cli")]
    pub(crate) fn subjects(&self) -> Vec<String> {
        let asked = self.subject().map(str::to_owned);
        let fed = self.consumer().map(Consumer::subjects);
        asked.into_iter().chain(fed.into_iter().flatten()).collect()
    }
}

/// A function at work in this process.
pub(crate) trait RunningFunction: Send + Sync {
    fn name(&self) -> &str;

    fn stats(&self) -> &Stats;

    /// Its metadata in discovery.
    fn metadata(&self) -> BTreeMap<String, String>;

    /// The `data` of STATS, without what is there for every function.
    fn data(&self) -> Value;

    /// What keeps it from its work and does not show in its state.
    fn obstacle(&self) -> Option<&'static str> {
        None
    }

    /// Brings up to date what `data` is made of.
    fn refresh(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    /// The subscription on which it answers requests, where it does.
    fn subscription(self: Arc<Self>) -> Option<Subscription> {
        None
    }

    /// Every subscription of the service is open.
    fn subscribed(&self) {
        self.stats().enter(State::Running);
    }

    /// Its work beside the subscription, until `stop` is true and what it has begun is finished.
    fn run(self: Arc<Self>, stop: watch::Receiver<bool>) -> Option<BoxFuture<'static, ()>> {
        let _ = stop;
        None
    }

    /// Gives back what is left once that work has ended, or was aborted at the drain deadline.
    fn give_back(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    /// As background work sees it, where a stream feeds it.
    fn stream_function(self: Arc<Self>) -> Option<Arc<dyn StreamFunction>> {
        None
    }
}

/// What a process has for its functions.
pub(crate) struct Process<'a> {
    pub(crate) service: Arc<str>,
    /// The service's queue group.
    pub(crate) queue_group: Option<&'a str>,
    pub(crate) client: Client,
    pub(crate) connector: Option<&'a Arc<Connector>>,
    pub(crate) unheard: Arc<Unheard>,
    /// The connections to the database that requests share.
    pub(crate) database: Option<Arc<dyn Database>>,
    /// Those of everything else, so that requests cannot keep it waiting.
    pub(crate) stores: Option<Arc<dyn Database>>,
    /// The number of the last intake, which tells it from the service's other connections.
    pub(crate) last_intake: usize,
    #[cfg(feature = "testing")]
    pub(crate) failpoints: Failpoints,
}

impl Process<'_> {
    /// A connection of its own for what a stream sends.
    pub(crate) fn intake(&mut self, purpose: String) -> Intake {
        self.last_intake += 1;
        let (nats, number) = (self.client.nats(), self.last_intake);
        Intake::new(nats, self.connector, purpose, &self.unheard, number)
    }
}

/// Handles a message that arrived at this time.
type Handle = dyn Fn(Message, Instant) -> BoxFuture<'static, ()> + Send + Sync;

/// A subject, and what handles its messages.
pub(crate) struct Subscription {
    pub(crate) subject: String,
    /// None is a plain subscription: one connection alone may have it, or everything came several
    /// times.
    pub(crate) group: Option<String>,
    pub(crate) handle: Box<Handle>,
}

impl Subscription {
    /// Handles every message by a future of its own.
    pub(crate) fn new<F, Fut>(subject: String, group: Option<String>, handle: F) -> Self
    where
        F: Fn(Message, Instant) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self {
            subject,
            group,
            handle: Box::new(move |message, arrived| Box::pin(handle(message, arrived))),
        }
    }
}

/// Where a function that answers no requests answers its state.
pub(crate) fn state_subject(service: &str, function: &str) -> String {
    format!("fn.{service}.{function}")
}

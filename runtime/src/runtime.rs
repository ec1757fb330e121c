//! The life of a service in one process: connect, start, ready, drain, stop.

use std::sync::Arc;

use std::time::{Duration, SystemTime};

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::attempt::Attempt;
use crate::background::Background;
use crate::consumer::Consumer;
use crate::discovery::{Discovered, Discovery};
use crate::effect::{Database, Schema};
use crate::endpoint::EndpointRuntime;
use crate::error::{Error, Kind, Result};
use crate::event::Delivery;
use crate::feed::Feed;
use crate::handler::Call;
use crate::invoke;
use crate::run_error::RunError;
use crate::service::{Definition, Function, Task};
use crate::settle::{Settler, backoff};
use crate::stats::{State, Stats};

/// Older servers have known holes in what this runtime builds on.
const OLDEST: semver::Version = semver::Version::new(2, 14, 0);

/// A service at work. Dropping it does not drain: call [`Running::stop`].
#[must_use = "a running service is stopped with stop(), which drains it"]
pub struct Running {
    nats: Client,
    discovery: Arc<Discovery>,
    stop: watch::Sender<bool>,
    tracker: TaskTracker,
    feeds: Vec<(Arc<Feed>, JoinHandle<()>)>,
    tasks: Vec<JoinHandle<()>>,
    endpoints: Vec<JoinHandle<()>>,
    silence: watch::Sender<bool>,
    answers: TaskTracker,
    database: Option<Arc<dyn Database>>,
}

/// Starts a service on a connection, and returns when every function is subscribed: a request sent
/// after that finds it.
///
/// A database or a stream that is away does not keep it from starting: requests get a 503 and
/// consumers hold until it is back.
///
/// # Errors
/// A server that is too old, a database schema that this program does not know, a stream that
/// would lose messages, a connection that is closed.
pub async fn start(
    definition: Definition,
    nats: Client,
    database_url: Option<&str>,
) -> Result<Running, RunError> {
    check_server(&nats, definition.min_server.as_ref())?;
    let database = open(&definition, database_url).await?;
    for stream in definition.consumers().map(|consumer| &consumer.stream) {
        match stream.check(&nats).await {
            Err(error) if error.kind() == Kind::Halt => {
                return Err(RunError::new(error.to_string()));
            }
            _ => {}
        }
    }
    let service: Arc<str> = definition.name.as_str().into();
    let (stop, stopping) = watch::channel(false);
    let tracker = TaskTracker::new();
    let mut discovered = Vec::new();
    let mut endpoints = Vec::new();
    let mut feeds = Vec::new();
    let above = definition.queue_group.or(Some("q"));
    #[cfg(feature = "testing")]
    let failpoints = definition.failpoints.clone();

    for function in definition.functions {
        match function {
            Function::Endpoint(endpoint, call) => {
                let queue_group = endpoint.queue_group.or(above).map(str::to_owned);
                let runtime = EndpointRuntime::new(
                    service.clone(),
                    endpoint,
                    call,
                    Some(nats.clone()),
                    database.clone(),
                )
                .map_err(RunError::new)?;
                let runtime = Arc::new(runtime);
                let subject = runtime.template.subject();
                let subscriber = subscribe(&nats, subject, queue_group.as_deref()).await?;
                discovered.push(Discovered {
                    name: runtime.endpoint.name.clone(),
                    subject: subject.to_owned(),
                    queue_group,
                    metadata: runtime.endpoint.metadata.clone(),
                    stats: runtime.stats.clone(),
                    feed: None,
                });
                let runtime = runtime.clone();
                endpoints.push(tokio::spawn(serve(
                    subscriber,
                    stopping.clone(),
                    tracker.clone(),
                    move |message, arrived| {
                        let runtime = runtime.clone();
                        Stats::add(&runtime.stats.requests, 1);
                        async move { runtime.handle(message, arrived).await }
                    },
                )));
            }
            Function::Consumer(consumer, call) => {
                let feed = feed(
                    &service,
                    *consumer,
                    call,
                    &nats,
                    database.clone(),
                    #[cfg(feature = "testing")]
                    failpoints.clone(),
                )?;
                let subject = format!("fn.{service}.{}", feed.consumer.name);
                let queue_group = above.map(str::to_owned);
                let subscriber = subscribe(&nats, &subject, queue_group.as_deref()).await?;
                let mut metadata = feed.consumer.metadata.clone();
                metadata.insert("stream".into(), feed.consumer.stream.name().into());
                metadata.insert("consumer".into(), feed.consumer.name.clone());
                metadata.insert("filter".into(), feed.consumer.subjects().join(" "));
                let state = |feed: Option<Arc<Feed>>| Discovered {
                    name: feed
                        .as_ref()
                        .map_or(String::new(), |feed| feed.consumer.name.clone()),
                    subject: subject.clone(),
                    queue_group: queue_group.clone(),
                    metadata: metadata.clone(),
                    stats: feed
                        .as_ref()
                        .map_or_else(Arc::default, |feed| feed.stats.clone()),
                    feed,
                };
                discovered.push(state(Some(feed.clone())));
                let told = Arc::new(state(Some(feed.clone())));
                let answers = nats.clone();
                endpoints.push(tokio::spawn(serve(
                    subscriber,
                    stopping.clone(),
                    tracker.clone(),
                    move |message, _| tell(answers.clone(), told.clone(), message),
                )));
                feeds.push(feed);
            }
        }
    }

    let discovery = Arc::new(Discovery {
        name: definition.name,
        id: nuid::next().to_string(),
        version: definition.version,
        description: definition.description,
        metadata: definition.metadata,
        started: SystemTime::now(),
        endpoints: discovered,
    });
    // Discovery drains last, so it has a word to stop, and a tracker, of its own.
    let (silence, silent) = watch::channel(false);
    let answers = TaskTracker::new();
    for (verb, subscriber) in discovery.subscribe(&nats).await.map_err(started)? {
        let (discovery, nats) = (discovery.clone(), nats.clone());
        answers.spawn(serve(
            subscriber,
            silent.clone(),
            answers.clone(),
            move |message, _| discovery.clone().answer(nats.clone(), verb, message),
        ));
    }
    round_trip(&nats).await.map_err(started)?;
    for endpoint in &discovery.endpoints {
        if endpoint.feed.is_none() {
            endpoint.stats.enter(State::Running);
        }
    }

    let tasks = definition
        .tasks
        .into_iter()
        .map(|task| {
            let background = Background {
                client: crate::Client::new(nats.clone()),
                database: database.as_ref().map(|database| database.handle()),
                stop: stopping.clone(),
            };
            tokio::spawn(work(task, background))
        })
        .collect();
    let feeds = feeds
        .into_iter()
        .map(|feed| (feed.clone(), tokio::spawn(feed.run(stopping.clone()))))
        .collect();
    Ok(Running {
        nats,
        discovery,
        stop,
        tracker,
        feeds,
        tasks,
        endpoints,
        silence,
        answers,
        database,
    })
}

impl Running {
    /// This instance's id in discovery.
    pub fn id(&self) -> &str {
        &self.discovery.id
    }

    /// What STATS would answer now.
    pub fn stats(&self) -> Value {
        self.discovery.stats(usize::MAX)
    }

    /// The connection.
    pub fn nats(&self) -> &Client {
        &self.nats
    }

    /// Drains: nothing new is taken, what is in flight is finished for at most `deadline`, the rest
    /// is given back. Then discovery falls silent and the connection is flushed.
    pub async fn stop(self, deadline: Duration) {
        let until = Instant::now() + deadline;
        for endpoint in &self.discovery.endpoints {
            endpoint.stats.enter(State::Draining);
        }
        self.stop.send_replace(true);
        for endpoint in self.endpoints {
            // What the server had sent before it heard of the drain is in the tracker after this.
            let _ = tokio::time::timeout_at(until, endpoint).await;
        }
        self.tracker.close();
        if tokio::time::timeout_at(until, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                requests = self.tracker.len(),
                "requests were not finished before the deadline"
            );
        }
        for (feed, run) in self.feeds {
            let abort = run.abort_handle();
            if tokio::time::timeout_at(until, run).await.is_err() {
                abort.abort();
            }
            let left = feed.settler.give_back().await;
            if left > 0 {
                tracing::info!(messages = left, consumer = %feed.consumer.name, "given back unfinished");
            }
        }
        for task in self.tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout_at(until, task).await.is_err() {
                abort.abort();
            }
        }
        for endpoint in &self.discovery.endpoints {
            endpoint.stats.enter(State::Stopped);
        }
        self.silence.send_replace(true);
        self.answers.close();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.answers.wait()).await;
        // The answers and acks of the last functions are still in the connection's buffer.
        let _ = tokio::time::timeout(Duration::from_secs(2), round_trip(&self.nats)).await;
        if let Some(database) = self.database {
            let _ = tokio::time::timeout(Duration::from_secs(2), database.close()).await;
        }
    }
}

/// Reads a subscription until it is drained. Each message has a task of its own.
async fn serve<F, Fut>(
    mut subscriber: Subscriber,
    mut stop: watch::Receiver<bool>,
    tracker: TaskTracker,
    handle: F,
) where
    F: Fn(Message, Instant) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut draining = false;
    loop {
        let next = if draining {
            subscriber.next().await
        } else {
            tokio::select! {
                next = subscriber.next() => next,
                () = told(&mut stop) => {
                    draining = true;
                    if let Err(error) = subscriber.drain().await {
                        tracing::warn!(%error, "a subscription was not drained");
                        return;
                    }
                    continue;
                }
            }
        };
        let Some(message) = next else { return };
        tracker.spawn(handle(message, Instant::now()));
    }
}

/// Returns at the word to stop, or when the runtime that could give it is gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Answers `fn.<service>.<function>` with the function's state.
async fn tell(nats: Client, function: Arc<Discovered>, message: Message) {
    if let Some(feed) = &function.feed {
        let _ = tokio::time::timeout(Duration::from_millis(250), feed.refresh()).await;
    }
    if let Some(reply) = message.reply.filter(|reply| !reply.starts_with('$'))
        && let Err(error) = nats
            .publish(reply, function.data().to_string().into())
            .await
    {
        tracing::warn!(%error, "a function's state was not sent");
    }
}

async fn work(task: Task, mut background: Background) {
    let mut failures = 0;
    loop {
        match invoke::background((task.run)(background.clone())).await {
            Ok(()) => return,
            Err(error) => {
                failures += 1;
                tracing::warn!(function = task.function, %error, "background work failed and begins again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff(failures)) => {}
            () = background.stopped() => return,
        }
    }
}

fn started(error: Error) -> RunError {
    RunError::while_doing("the service cannot start", error)
}

async fn subscribe(
    nats: &Client,
    subject: &str,
    group: Option<&str>,
) -> Result<Subscriber, RunError> {
    let subscribed = match group {
        Some(group) => {
            nats.queue_subscribe(subject.to_owned(), group.to_owned())
                .await
        }
        None => nats.subscribe(subject.to_owned()).await,
    };
    subscribed.map_err(|error| RunError::while_doing(format!("subscribing {subject:?}"), error))
}

/// A message to ourselves and back: everything sent before it on this connection has arrived.
///
/// A subscription is only sent when `subscribe` returns; the server may hear of it after a request
/// of somebody else that was sent later.
pub(crate) async fn round_trip(nats: &Client) -> Result<()> {
    let inbox = nats.new_inbox();
    let mut subscriber = nats.subscribe(inbox.clone()).await.map_err(Error::from)?;
    nats.publish(inbox, "ready".into())
        .await
        .map_err(Error::from)?;
    let answer = tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await;
    match answer {
        Ok(Some(_)) => Ok(()),
        _ => Err(Error::unavailable(
            "the server does not answer on this connection; may its user publish and subscribe its own inbox?",
        )),
    }
}

fn check_server(nats: &Client, wanted: Option<&semver::Version>) -> Result<(), RunError> {
    let Some(info) = nats.try_server_info() else {
        return Ok(());
    };
    let Ok(found) = semver::Version::parse(&info.version) else {
        return Ok(());
    };
    // A pre-release of a good version is good.
    let found = semver::Version::new(found.major, found.minor, found.patch);
    match wanted {
        Some(wanted) if found < *wanted => Err(RunError::new(format!(
            "nats-server {found} is too old: this service needs {wanted} or newer; upgrade the server"
        ))),
        _ => {
            if found < OLDEST {
                tracing::warn!(
                    "nats-server {found} is older than {OLDEST}, and has known holes in what keeps messages safe; upgrade it"
                );
            }
            Ok(())
        }
    }
}

async fn open(
    definition: &Definition,
    url: Option<&str>,
) -> Result<Option<Arc<dyn Database>>, RunError> {
    let Some(database) = &definition.database else {
        return Ok(None);
    };
    let Some(url) = url else {
        return Err(RunError::misuse([format!(
            "database.url is missing: {} keeps its data in a database",
            definition.name
        )]));
    };
    let database = database.open(url)?;
    match tokio::time::timeout(Duration::from_secs(5), database.schema()).await {
        Ok(Ok(Schema::Known)) => {}
        Ok(Ok(Schema::Other(why))) => return Err(RunError::new(why)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database is away; functions that need it wait")
        }
        Err(_) => tracing::warn!("the database does not answer; functions that need it wait"),
    }
    Ok(Some(database))
}

fn feed(
    service: &Arc<str>,
    consumer: Consumer,
    call: Call<Delivery>,
    nats: &Client,
    database: Option<Arc<dyn Database>>,
    #[cfg(feature = "testing")] failpoints: crate::failpoint::Failpoints,
) -> Result<Arc<Feed>, RunError> {
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
    let attempt = Attempt {
        service: service.clone(),
        function: consumer.name.clone(),
        templates: consumer.templates().map_err(RunError::new)?.into(),
        deadline: consumer.deadline,
        inbox: !consumer.natural_key,
        client: Some(crate::Client::new(nats.clone())),
        call,
        database,
        stats: stats.clone(),
        settler: Some(settler.clone()),
        wake: wake.clone(),
        #[cfg(feature = "testing")]
        failpoints,
    };
    Ok(Arc::new(Feed {
        consumer,
        decode,
        nats: nats.clone(),
        stats,
        settler,
        attempt: Arc::new(attempt),
        life: watch::channel(None).0,
        wake,
    }))
}

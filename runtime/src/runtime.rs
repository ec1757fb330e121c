//! The life of a service in one process: connect, start, ready, drain, stop.

use std::sync::Arc;

use std::time::{Duration, SystemTime};

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::background::Background;
use crate::discovery::{Discovered, Discovery};
use crate::effect::{Database, Schema};
use crate::endpoint::EndpointRuntime;
use crate::error::{Error, Kind, Result};
use crate::feed::Feed;
use crate::invoke;
use crate::listener::Listener;
use crate::run_error::RunError;
use crate::service::{Definition, Function, Task};
use crate::settle::backoff;
use crate::stats::{State, Stats};

/// Older servers have known holes in what this runtime builds on.
const OLDEST: semver::Version = semver::Version::new(2, 14, 0);

/// A service at work. Dropping it does not drain: call [`Running::stop`].
#[must_use = "a running service is stopped with stop(), which drains it"]
pub struct Running {
    nats: Client,
    discovery: Arc<Discovery>,
    functions: Listener,
    verbs: Listener,
    feeds: Vec<(Arc<Feed>, JoinHandle<()>)>,
    tasks: Vec<JoinHandle<()>>,
    /// The word to background work, given once its functions are finished.
    finished: watch::Sender<bool>,
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
    let group = definition.queue_group.or(Some("q"));
    let mut functions = Listener::new(nats.clone());
    let mut discovered = Vec::new();
    let mut feeds = Vec::new();
    for function in definition.functions {
        let told = match function {
            Function::Endpoint(endpoint, call) => {
                let database = database.clone();
                let runtime = EndpointRuntime::new(&service, endpoint, call, Some(&nats), database);
                request_endpoint(
                    Arc::new(runtime.map_err(RunError::new)?),
                    group,
                    &nats,
                    &mut functions,
                )
                .await?
            }
            Function::Consumer(consumer, call) => {
                let feed = Feed::new(
                    &service,
                    *consumer,
                    call,
                    &nats,
                    database.clone(),
                    #[cfg(feature = "testing")]
                    definition.failpoints.clone(),
                );
                let feed = Arc::new(feed.map_err(RunError::new)?);
                feeds.push(feed.clone());
                state_endpoint(&service, feed, group, &nats, &mut functions).await?
            }
        };
        discovered.push(told);
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
    // Discovery drains last, so it listens on its own.
    let mut verbs = Listener::new(nats.clone());
    for (verb, subscriber) in discovery.subscribe(&nats).await.map_err(unready)? {
        let (discovery, nats) = (discovery.clone(), nats.clone());
        verbs.listen(subscriber, move |message, _| {
            discovery.clone().answer(nats.clone(), verb, message)
        });
    }
    round_trip(&nats).await.map_err(unready)?;
    for function in discovery
        .endpoints
        .iter()
        .filter(|function| function.feed.is_none())
    {
        function.stats.enter(State::Running);
    }

    let finished = watch::channel(false).0;
    let background = Background {
        client: crate::Client::new(nats.clone()),
        database: database.as_ref().map(|database| database.handle()),
        stop: finished.subscribe(),
    };
    let tasks = definition.tasks.into_iter();
    let tasks = tasks
        .map(|task| tokio::spawn(work(task, background.clone())))
        .collect();
    let feeds = feeds
        .into_iter()
        .map(|feed| (feed.clone(), tokio::spawn(feed.run(functions.stopping()))))
        .collect();
    Ok(Running {
        nats,
        discovery,
        functions,
        verbs,
        feeds,
        tasks,
        finished,
        database,
    })
}

/// Subscribes a function that answers requests.
async fn request_endpoint(
    runtime: Arc<EndpointRuntime>,
    group: Option<&str>,
    nats: &Client,
    listener: &mut Listener,
) -> Result<Arc<Discovered>, RunError> {
    let subject = runtime.template.subject().to_owned();
    let queue_group = runtime.endpoint.queue_group.or(group).map(str::to_owned);
    let subscriber = subscribe(nats, &subject, queue_group.as_deref()).await?;
    let discovered = Discovered {
        name: runtime.endpoint.name.clone(),
        subject,
        queue_group,
        metadata: runtime.endpoint.metadata.clone(),
        stats: runtime.stats.clone(),
        feed: None,
    };
    listener.listen(subscriber, move |message, arrived| {
        let runtime = runtime.clone();
        Stats::add(&runtime.stats.requests, 1);
        async move { runtime.handle(message, arrived).await }
    });
    Ok(Arc::new(discovered))
}

/// Subscribes `fn.<service>.<function>`, on which a stream function answers its state.
async fn state_endpoint(
    service: &str,
    feed: Arc<Feed>,
    group: Option<&str>,
    nats: &Client,
    listener: &mut Listener,
) -> Result<Arc<Discovered>, RunError> {
    let subject = format!("fn.{service}.{}", feed.consumer.name);
    let subscriber = subscribe(nats, &subject, group).await?;
    let mut metadata = feed.consumer.metadata.clone();
    metadata.insert("stream".into(), feed.consumer.stream.name().into());
    metadata.insert("consumer".into(), feed.consumer.name.clone());
    metadata.insert("filter".into(), feed.consumer.subjects().join(" "));
    let discovered = Arc::new(Discovered {
        name: feed.consumer.name.clone(),
        subject,
        queue_group: group.map(str::to_owned),
        metadata,
        stats: feed.stats.clone(),
        feed: Some(feed),
    });
    let (nats, function) = (nats.clone(), discovered.clone());
    listener.listen(subscriber, move |message, _| {
        tell(nats.clone(), function.clone(), message)
    });
    Ok(discovered)
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

    /// Returns when the connection is gone for good, with the reason: the client's own task has
    /// ended and nothing can be received any more. The host connects and starts again. A server
    /// that is away is no such case: the client reconnects by itself.
    pub async fn lost(&self) -> RunError {
        tokio::select! {
            () = self.functions.lost() => {}
            () = self.verbs.lost() => {}
        }
        RunError::new("the connection's own task has ended: nothing is received any more")
    }

    /// Drains: nothing new is taken, what is in flight is finished for at most `deadline`, the rest
    /// is given back. Then discovery falls silent and the connection is flushed.
    pub async fn stop(self, deadline: Duration) {
        let until = Instant::now() + deadline;
        for endpoint in &self.discovery.endpoints {
            endpoint.stats.enter(State::Draining);
        }
        self.functions.drain(until).await;
        for (feed, run) in self.feeds {
            finish(run, until).await;
            let left = feed.settler.give_back().await;
            if left > 0 {
                tracing::info!(messages = left, consumer = %feed.consumer.name, "given back unfinished");
            }
        }
        self.finished.send_replace(true);
        for task in self.tasks {
            finish(task, until).await;
        }
        for endpoint in &self.discovery.endpoints {
            endpoint.stats.enter(State::Stopped);
        }
        self.verbs
            .drain(until.max(Instant::now() + Duration::from_secs(1)))
            .await;
        // The answers and acks of the last functions are still in the connection's buffer.
        let _ = tokio::time::timeout(Duration::from_secs(2), round_trip(&self.nats)).await;
        if let Some(database) = self.database {
            let _ = tokio::time::timeout(Duration::from_secs(2), database.close()).await;
        }
    }
}

async fn finish(task: JoinHandle<()>, until: Instant) {
    let abort = task.abort_handle();
    if tokio::time::timeout_at(until, task).await.is_err() {
        abort.abort();
    }
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

fn unready(error: Error) -> RunError {
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
            tracing::warn!(%error, "the database is away; functions that need it wait");
        }
        Err(_) => tracing::warn!("the database does not answer; functions that need it wait"),
    }
    Ok(Some(database))
}

//! Starts a service: every function subscribed, discovery answering, then the round trip.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::{Client, Message, Subscriber};
use tokio::sync::watch;

use crate::background::Background;
use crate::discovery::{Discovered, Discovery};
use crate::endpoint::EndpointRuntime;
use crate::error::{Error, Kind};
use crate::feed::Feed;
use crate::invoke;
use crate::listener::Listener;
use crate::ready::{check_server, open, round_trip};
use crate::run_error::RunError;
use crate::running::Running;
use crate::service::{Definition, Function, Task};
use crate::settle::backoff;
use crate::stats::{State, Stats};
use crate::telemetry::Broker;

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
    let client = crate::Client::to(nats.clone(), Broker::of(&nats, &definition));
    let group = definition.queue_group.or(Some("q"));
    let mut functions = Listener::new(nats.clone());
    let mut discovered = Vec::new();
    let mut feeds = Vec::new();
    for function in definition.functions {
        let told = match function {
            Function::Endpoint(endpoint, call) => {
                let database = database.clone();
                let client = Some(client.clone());
                let runtime =
                    EndpointRuntime::new(&service, endpoint, call, client, group, database);
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
                    client.clone(),
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
        client,
        database: database.as_ref().map(|database| database.handle()),
        stop: finished.subscribe(),
        dev_page: definition.dev_page,
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

//! Starts a service: every function subscribed, discovery answering, then the round trip.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::Client;
use tokio::sync::watch;

use super::discovery::{Discovered, Discovery};
use super::listener::{Listener, Share};
use super::on_panic::OnPanic;
use super::ready::{check_server, open, round_trip};
use super::request::EndpointRuntime;
use super::running::Running;
use super::work::work;
use crate::error::run_error::{Reason, RunError};
use crate::error::{Error, Kind};
use crate::nats::client;
use crate::nats::connections::Connections;
use crate::nats::intake::Intake;
use crate::nats::link::Link;
use crate::run::consumer::feed::Feed;
use crate::service::background::{Background, StreamFunction};
use crate::service::definition::{Definition, Function};
use crate::telemetry::Broker;
use crate::telemetry::stats::{State, Stats};
use crate::telemetry::unheard::Unheard;

/// How long a start waits for the consumers' first connection to the database; one that is away is
/// waited for later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts a service on its connections, or on one [`Client`] for everything, and returns when every
/// function is subscribed: a request sent after that finds it.
///
/// A database or a stream that is away does not keep it from starting: requests get a 503 and
/// consumers hold until it is back.
///
/// ```no_run
/// use natsfn::config::NatsConfig;
/// use natsfn::{Connections, Service};
///
/// # async fn serve(stopped: impl Future<Output = ()>) -> Result<(), natsfn::RunError> {
/// let definition = Service::new("shop", "1.0.0").build()?;
/// let connections = Connections::open(&NatsConfig::default(), "shop").await?;
/// let running = natsfn::start(definition, connections, None).await?;
/// stopped.await;
/// running.stop(std::time::Duration::from_secs(10)).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// A server that is too old, a database schema that this program does not know, a stream that
/// would lose messages, a connection that is closed, a subscription that the server refuses.
pub async fn start(
    definition: Definition,
    connections: impl Into<Connections>,
    database_url: Option<&str>,
) -> Result<Running, RunError> {
    let connections = connections.into();
    let nats = connections.main.nats.clone();
    check_server(&nats, definition.min_server.as_ref())?;
    let database = open(&definition, database_url).await?;
    let stores = database.as_ref().map(|database| database.for_consumers());
    if let Some(stores) = &stores
        && definition.consumers().next().is_some()
    {
        // Connected before requests can take every connection that the server has.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, stores.check()).await;
    }
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
    let unheard = Arc::<Unheard>::default();
    let intake = |purpose, number| {
        Intake::new(
            &nats,
            connections.connector.as_ref(),
            purpose,
            &unheard,
            number,
        )
    };
    let reads = Arc::new(intake("reading".to_owned(), 1));
    let client = client::Client::to(
        nats.clone(),
        Broker::of(&nats, definition.templates()),
        reads,
    );
    let mut functions = Listener::new();
    let mut discovered = Vec::new();
    let mut feeds = Vec::new();
    for function in definition.functions {
        let told = match function {
            Function::Endpoint(endpoint, call) => {
                let database = database.clone();
                let client = Some(client.clone());
                let runtime =
                    EndpointRuntime::new(&service, endpoint, call, client, group, database);
                let runtime = Arc::new(runtime.map_err(RunError::new)?);
                let told = request_endpoint(runtime, group, &mut functions);
                told.stats.listens_on(&unheard, told.subject.clone());
                told
            }
            Function::Consumer(consumer, call) => {
                let messages = format!("messages of {}", consumer.name);
                let feed = Feed::new(
                    &service,
                    *consumer,
                    call,
                    client.clone(),
                    intake(messages, 2 + feeds.len()),
                    stores.clone(),
                    #[cfg(feature = "testing")]
                    definition.failpoints.clone(),
                );
                let feed = Arc::new(feed.map_err(RunError::new)?);
                feed.stats.listens_on(&unheard, Link::inboxes(&nats));
                feeds.push(feed.clone());
                state_endpoint(&service, feed, group, &nats, &mut functions)
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
    let mut verbs = Listener::new();
    for (verb, subject) in discovery.subjects() {
        let (discovery, nats) = (discovery.clone(), nats.clone());
        verbs.listen(subject, None, move |message, _| {
            discovery.clone().answer(nats.clone(), verb, message)
        });
    }
    let several = connections.connector.as_ref();
    let requests = Share {
        purpose: "requests",
        connections: several.map_or(1, |connector| connector.for_requests()),
    };
    let questions = Share {
        purpose: "discovery",
        connections: 1,
    };
    tokio::try_join!(
        functions.open(&connections, requests, &unheard),
        verbs.open(&connections, questions, &unheard),
    )?;
    round_trip(&nats).await.map_err(unready)?;
    for function in discovery
        .endpoints
        .iter()
        .filter(|function| function.feed.is_none())
    {
        function.stats.enter(State::Running);
    }

    let (over, ended) = watch::channel(false);
    let (main, mut stop) = (connections.main, functions.stopping());
    let refused = unheard.clone();
    tokio::spawn(async move {
        let over = OnPanic(over);
        tokio::select! {
            () = main.watch(&refused, 0) => {
                over.0.send_replace(true);
            }
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    let finished = watch::channel(false).0;
    let background = Background {
        unheard: unheard.clone(),
        client,
        database: stores.as_ref().map(|stores| stores.handle()),
        stop: finished.subscribe(),
        dev_listener: definition.dev_listener,
        feeds: feeds
            .iter()
            .map(|feed| feed.clone() as Arc<dyn StreamFunction>)
            .collect(),
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
        unheard,
        ended,
        discovery,
        functions,
        verbs,
        feeds,
        tasks,
        finished,
        database,
    })
}

/// Lets a function answer requests.
fn request_endpoint(
    runtime: Arc<EndpointRuntime>,
    group: Option<&str>,
    listener: &mut Listener,
) -> Arc<Discovered> {
    let subject = runtime.template.subject().to_owned();
    let queue_group = runtime.endpoint.queue_group.or(group).map(str::to_owned);
    let discovered = Discovered {
        name: runtime.endpoint.name.clone(),
        subject,
        queue_group,
        metadata: runtime.endpoint.metadata.clone(),
        stats: runtime.stats.clone(),
        feed: None,
    };
    let (subject, group) = (discovered.subject.clone(), discovered.queue_group.clone());
    listener.listen(subject, group, move |message, arrived| {
        let runtime = runtime.clone();
        Stats::add(&runtime.stats.requests, 1);
        async move { runtime.handle(message, arrived).await }
    });
    Arc::new(discovered)
}

/// Listens on `fn.<service>.<function>`, on which a stream function answers its state.
fn state_endpoint(
    service: &str,
    feed: Arc<Feed>,
    group: Option<&str>,
    nats: &Client,
    listener: &mut Listener,
) -> Arc<Discovered> {
    let subject = format!("fn.{service}.{}", feed.consumer.name);
    let mut metadata = feed.consumer.metadata.clone();
    metadata.insert("stream".into(), feed.consumer.stream.name().into());
    metadata.insert("consumer".into(), feed.consumer.durable_name());
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
    let (subject, group) = (discovered.subject.clone(), discovered.queue_group.clone());
    listener.listen(subject, group, move |message, _| {
        function.clone().answer(nats.clone(), message)
    });
    discovered
}

fn unready(error: Error) -> RunError {
    RunError::of(
        Reason::Passing,
        format!("the service cannot start: {error}"),
    )
}

//! Starts a service: every function subscribed, discovery answering, then the round trip.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::discovery::{Discovered, Discovery};
use super::listener::on_panic::OnPanic;
use super::listener::{Listener, Share};
use super::ready::{check_acks, check_jetstream, check_server, open, round_trip};
use super::rights::{Right, Rights};
use super::running::Running;
use super::running::readiness::{Needs, Readiness, Watched};
use super::running::stores;
use super::work::{Failure, work};
use crate::error::run_error::{Reason, RunError};
use crate::error::{Error, Kind};
use crate::nats::client::Client;
use crate::nats::client::access::Allowed;
use crate::nats::connections::Connections;
use crate::nats::intake::Intake;
use crate::service::background::Background;
use crate::service::definition::Definition;
use crate::service::trigger::{Process, Subscription};
use crate::telemetry::Broker;
use crate::telemetry::unheard::Unheard;

/// How long a start waits for the consumers' first connection to the database; one that is away is
/// waited for later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of the connection on which functions read streams. The main one is 0, those of the stream
/// functions follow.
const READS: usize = 1;

/// Starts a service on its connections, or on one [`Nats`](crate::Nats) or [`async_nats::Client`] for everything,
/// and returns when every function is subscribed: a request sent after that finds it.
///
/// A database or a stream that is away does not keep it from starting, nor does a JetStream of another domain: requests
/// get a 503 and consumers hold until it is back.
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
/// A service with others beside it, a server that is too old, a database schema that this program does not know, a
/// stream that would lose messages, a consumer that the server's own JetStream has too where another one is meant, a
/// connection that is closed, a subscription that the server refuses.
pub async fn start(
    definition: Definition,
    connections: impl Into<Connections>,
    database_url: Option<&str>,
) -> Result<Running, RunError> {
    if let Some(beside) = definition.beside.first() {
        return Err(RunError::misuse([format!(
            "{} is beside {}, and each service is started on its own: Definition::into_services",
            beside.name, definition.name
        )]));
    }
    let connections = connections.into();
    let nats = connections.main.nats.clone();
    check_server(&nats, definition.min_server.as_ref())?;
    if let Err(error) = check_jetstream(&nats).await {
        tracing::warn!("{error}");
    }
    check_acks(&definition, &nats).await?;
    let database = open(&definition, database_url).await?;
    let stores = database.as_ref().map(|database| database.for_consumers());
    let has_consumers = definition.consumers().next().is_some();
    if let Some(stores) = &stores
        && has_consumers
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
    let unheard = Arc::<Unheard>::default();
    let connector = connections.connector.as_ref();
    let purpose = "reading".to_owned();
    let reads = Arc::new(Intake::new(&nats, connector, purpose, &unheard, READS));
    let gathered = definition.all_streams().into_iter();
    let gathered = gathered.filter(|stream| stream.gathers()).map(|stream| {
        let subjects = stream.subjects().map(str::to_owned);
        (
            subjects.collect(),
            stream.largest_message(nats.max_payload()),
        )
    });
    let mut process = Process {
        service: definition.name.as_str().into(),
        queue_group: definition.queue_group.or(Some("q")),
        client: Client::to(
            nats.clone(),
            Broker::of(&nats, definition.templates()),
            reads,
        )
        .gathering(gathered),
        connector,
        unheard: unheard.clone(),
        database: database.clone(),
        stores: stores.clone(),
        last_intake: READS,
        #[cfg(feature = "testing")]
        failpoints: definition.failpoints.clone(),
    };
    let mut functions = Listener::new();
    let mut endpoints = Vec::new();
    let client = process.client.clone();
    for trigger in &definition.functions {
        process.client = client.clone().only(allowed(&definition, trigger.name()));
        let function = trigger.start(&mut process).map_err(RunError::new)?;
        let (discovered, subscription) =
            Discovered::new(function, &process.service, process.queue_group, &nats);
        functions.listen(subscription);
        endpoints.push(discovered);
    }
    let limits = definition.tasks.iter();
    let limits: Vec<_> = limits
        .map(|task| allowed(&definition, &task.function))
        .collect();
    let mut watched = watched(&definition, &endpoints);

    let discovery = Arc::new(Discovery {
        name: definition.name.clone(),
        id: nuid::next().to_string(),
        version: definition.version,
        description: definition.description,
        metadata: definition.metadata,
        started: SystemTime::now(),
        endpoints,
    });
    // Discovery drains last, so it listens on its own.
    let mut verbs = Listener::new();
    for (verb, subject) in discovery.subjects() {
        let (discovery, nats) = (discovery.clone(), nats.clone());
        verbs.listen(Subscription::new(subject, None, move |message, _| {
            discovery.clone().answer(nats.clone(), verb, message)
        }));
    }
    let requests = Share {
        purpose: "requests",
        connections: connector.map_or(1, |connector| connector.for_requests()),
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
    let running = || discovery.endpoints.iter().map(|it| it.function.clone());
    for function in running() {
        function.subscribed();
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
        client,
        database: stores.as_ref().map(|stores| stores.handle()),
        stop: finished.subscribe(),
        dev_listener: definition.dev_listener,
        feeds: running().filter_map(|it| it.stream_function()).collect(),
    };
    let mut tasks = Vec::new();
    for (task, limit) in definition.tasks.into_iter().zip(limits) {
        let mut background = background.clone();
        background.client = background.client.only(limit);
        let failure = Failure::default();
        let mut of_task = watched.iter_mut();
        if let Some(watched) = of_task.find(|it| it.name == task.function) {
            watched.failures.push(failure.clone());
        }
        tasks.push(tokio::spawn(work(task, background, failure)));
    }
    let runs = running().filter_map(|function| {
        let run = function.clone().run(functions.stopping())?;
        Some((function, tokio::spawn(run)))
    });
    let runs = runs.collect();
    let needs = Needs {
        service: definition.name,
        nats: nats.clone(),
        connector: connections.connector,
        links: functions.links(),
        unheard: unheard.clone(),
        // Requests cannot keep those of the consumers busy; without any, they are not connected.
        database: if has_consumers {
            stores
        } else {
            database.clone()
        },
        functions: watched,
        stop: functions.stopping(),
    };
    needs.warn().await;
    let readiness = Readiness(Arc::new(needs));
    Ok(Running {
        nats,
        unheard,
        ended,
        discovery,
        functions,
        verbs,
        runs,
        tasks,
        finished,
        database,
        readiness,
    })
}

/// What the service has to do, by name.
fn watched(definition: &Definition, endpoints: &[Arc<Discovered>]) -> Vec<Watched> {
    let triggers = definition.functions.iter().zip(endpoints);
    let mut watched: Vec<Watched> = triggers
        .map(|(trigger, discovered)| Watched {
            name: trigger.name().to_owned(),
            function: Some(discovered.function.clone()),
            in_a_group: trigger.subject().map(|_| discovered.queue_group.is_some()),
            needs_database: definition.needs_database_for(&**trigger),
            stores: stores::of(definition, trigger.name()),
            failures: Vec::new(),
        })
        .collect();
    for task in &definition.tasks {
        if watched.iter().all(|it| it.name != task.function) {
            watched.push(Watched {
                name: task.function.clone(),
                function: None,
                in_a_group: None,
                needs_database: false,
                stores: stores::of(definition, &task.function),
                failures: Vec::new(),
            });
        }
    }
    watched
}

fn unready(error: Error) -> RunError {
    RunError::of(
        Reason::Passing,
        format!("the service cannot start: {error}"),
    )
}

/// What a function may publish and subscribe; none where everything.
fn allowed(service: &Definition, function: &str) -> Option<Arc<Allowed>> {
    service.checks_access.then(|| {
        let rights = Rights::of_functions(&service.alone(function), "_INBOX");
        let subjects = |rights: Vec<Right>| rights.into_iter().map(|right| right.subject).collect();
        Arc::new(Allowed {
            function: function.to_owned(),
            publish: subjects(rights.publish),
            subscribe: subjects(rights.subscribe),
        })
    })
}

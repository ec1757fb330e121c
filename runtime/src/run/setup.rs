//! Sets up what a service needs: schema, streams, consumers. Running functions lack these rights.

mod begin;
mod identity;
mod lint;
mod options;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::dead_letter;
use super::ready::check_jetstream;
use crate::error::run_error::{Reason, RunError};
use crate::error::{Error, Kind};
use crate::function::database::{Database, Schema};
use crate::function::event::StreamId;
use crate::nats::client;
use crate::nats::jetstream::{ConsumerInfo, Nats, stream_info};
use crate::service::background::Background;
use crate::service::consumer::{Consumer, Wanted};
use crate::service::definition::Definition;
use crate::service::stream::{Stream, StreamPlan, Wish};
use begin::begin;
use lint::lint;

pub use options::Options;

/// Makes, or brings to this version, everything that the service needs. It may run again at any
/// time, and two at once are safe.
///
/// ```no_run
/// # async fn run(definition: natsfn::Definition) -> Result<(), natsfn::RunError> {
/// let config = natsfn::config::NatsConfig::default();
/// let nats = natsfn::connect(&config, "shop setup").await?;
/// if let Err(error) = natsfn::setup::setup(&definition, &nats, Some("sqlite://shop.db")).await {
///     eprintln!("{error}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`setup_with`].
pub async fn setup(
    service: &Definition,
    nats: &Nats,
    database_url: Option<&str>,
) -> Result<(), RunError> {
    let lines = setup_with(service, nats, database_url, &Options::default()).await;
    lines.map(drop)
}

/// As [`setup`], with what an operator allows beyond. Returns what was done, or with
/// [`Options::only_plan`] what would be, a line each.
///
/// By itself it changes no stream and no consumer that another service made, and of its own streams
/// it removes no subject, shortens no limit and lowers no replicas.
///
/// # Errors
/// A domain or prefix that nobody answers; what the lint finds: a function's subject that some stream of the account
/// captures, with another domain or prefix a stream of the server's own that captures what ours do, or a consumer of the
/// same name there; a stream that would lose messages; what is somebody else's and differs, with the two ways out; and
/// whatever the server or the database refuses. Nothing is changed before all of it was looked at.
pub async fn setup_with(
    service: &Definition,
    nats: &Nats,
    database_url: Option<&str>,
    options: &Options,
) -> Result<Vec<String>, RunError> {
    if service.database.is_some() && database_url.is_none() {
        return Err(RunError::misuse([format!(
            "database.url is missing: {} keeps its data in a database",
            service.name
        )]));
    }
    check_jetstream(nats).await?;
    let streams = plan_streams(service, nats, options).await?;
    let mut told: Vec<String> = streams.iter().flat_map(|plan| plan.lines.clone()).collect();
    let mut consumers = Vec::new();
    for consumer in service.consumers() {
        let take_over = options.takes_over(&consumer.durable_name());
        let found = consumer.look(nats, take_over).await.map_err(wrong)?;
        consumers.push((consumer, found));
    }
    let noted = consumers.iter().filter_map(|(_, found)| found.as_ref());
    let noted: BTreeSet<String> = noted
        .filter_map(|found| found.database().map(str::to_owned))
        .collect();
    if options.only_plan {
        let (id, lost) = identity(service, database_url, &noted).await?;
        // One without the runtime's tables knows no place.
        let database = match id {
            Some(_) => open(service, database_url)?,
            None => None,
        };
        told.extend(lost.as_deref().map(identity::line));
        for (consumer, found) in consumers {
            let id = id.as_deref().or(lost.as_deref());
            let begin = match found {
                None => begin(service, consumer, nats, database.as_ref()).await?,
                Some(_) => None,
            };
            told.extend(consumer.plan(found.as_ref(), id, begin).map_err(wrong)?);
        }
    } else {
        let kept = consumers.iter().filter_map(|(consumer, found)| {
            found.as_ref().and_then(|found| consumer.keeps_start(found))
        });
        told.extend(kept);
    }
    told.extend(lint(service, nats).await?);
    if options.only_plan {
        told.extend(schema(service, database_url).await?);
        return Ok(told);
    }
    if let (Some(database), Some(url)) = (&service.database, database_url) {
        database.migrate(url, &service.tables).await?;
    }
    for plan in streams {
        plan.apply(nats).await?;
    }
    let consumed = service.consumers().map(|consumer| &consumer.stream);
    let letters = service.consumers().next().map(|_| Stream::dead_letters());
    for stream in consumed.chain(&service.streams).chain(&letters) {
        stream.check(nats).await.map_err(wrong)?;
    }
    let database = open(service, database_url)?;
    if let Some(database) = &database
        && let Some(id) = identity::lost(&**database, &noted).await.map_err(wrong)?
    {
        database.identify(&id).await.map_err(wrong)?;
        told.push(identity::line(&id));
    }
    for consumer in service.consumers() {
        let take_over = options.takes_over(&consumer.durable_name());
        let database = database.as_ref();
        told.extend(set_up(service, consumer, nats, database, take_over).await?);
    }
    for line in &told {
        tracing::info!("{line}");
    }
    Ok(told)
}

/// Looks at every stream before any is changed, and tells everything that is wrong at once.
async fn plan_streams(
    service: &Definition,
    nats: &Nats,
    options: &Options,
) -> Result<Vec<StreamPlan>, RunError> {
    let streams = service.all_streams();
    let names: Vec<&str> = streams.iter().map(|stream| stream.name()).collect();
    let durables: Vec<String> = service.consumers().map(Consumer::durable_name).collect();
    let mut mistakes = options.unknown(&names, &durables);
    let mut plans = Vec::new();
    for stream in streams {
        let wish = Wish {
            owner: &service.name,
            take_over: options.takes_over(stream.name()),
            adopt: options.adopt,
            shrink: options.shrinks(stream.name()),
        };
        match stream.plan(nats, wish).await {
            Ok(plan) => plans.push(plan),
            Err(error) if error.reason() == Reason::Misuse => {
                mistakes.extend_from_slice(error.lines());
            }
            Err(error) => return Err(error),
        }
    }
    if service.consumers().next().is_some() && mistakes.is_empty() {
        let replicas = plans.iter().map(|plan| plan.replicas).max().unwrap_or(1);
        plans.push(dead_letter::plan(nats, replicas).await?);
    }
    if mistakes.is_empty() {
        Ok(plans)
    } else {
        Err(RunError::misuse(mistakes))
    }
}

/// Makes a consumer, or brings it to this version, and to the service's own database. Returns where a new
/// one begins.
async fn set_up(
    service: &Definition,
    consumer: &Consumer,
    nats: &Nats,
    database: Option<&Arc<dyn Database>>,
    take_over: bool,
) -> Result<Option<String>, RunError> {
    let mut told = None;
    let stop = watch::channel(false).1;
    let context = Background::of_store(client::Client::new(nats.clone()), database, stop);
    let stream = stream_info(nats, consumer.stream.name())
        .await
        .map_err(wrong)?;
    let mut id = StreamId {
        name: consumer.stream.name().to_owned(),
        created: stream.created,
        ack_floor: 0,
    };
    let id_of_database = match database {
        Some(database) => database.identity().await.map_err(wrong)?,
        None => None,
    };
    let mut wanted = Wanted {
        begin: None,
        database: id_of_database.as_deref(),
        take_over,
    };
    let found = consumer.look(nats, take_over).await.map_err(wrong)?;
    let is_of_another = |info: &ConsumerInfo| consumer.feeds_another(info, wanted.database);
    let info = match found {
        Some(found) if is_of_another(&found) => {
            let missing = consumer.first_missing(&context, &id).await.map_err(wrong)?;
            let next = consumer.beside(nats, &found, stream.state.last_seq).await;
            wanted.begin = missing.or(next.map_err(wrong)?);
            tracing::warn!(
                consumer = consumer.durable_name(),
                "the consumer fed another database (id {}), which gets nothing any more; from now on it feeds this one (id {}), and handles again what the stream still holds and this one lacks",
                found.database().unwrap_or_default(),
                wanted.database.unwrap_or_default(),
            );
            consumer.recreate_for(nats, wanted).await.map_err(wrong)?
        }
        None => {
            let missing = consumer.first_missing(&context, &id).await.map_err(wrong)?;
            let next = begin(service, consumer, nats, database).await?;
            wanted.begin = missing.or(next);
            if let Some(begins) = consumer.begins(next) {
                let (durable, stream) = (consumer.durable_name(), consumer.stream.name());
                told = Some(format!("consumer {durable} of {stream}: made; it {begins}"));
            }
            consumer.set_up(nats, wanted).await.map_err(wrong)?
        }
        Some(_) => consumer.set_up(nats, wanted).await.map_err(wrong)?,
    };
    id.ack_floor = info.ack_floor.stream_seq;
    let caught_up = consumer.catch_up(Some(context), id, info).await;
    caught_up.map(|_| told).map_err(wrong)
}

fn open(service: &Definition, url: Option<&str>) -> Result<Option<Arc<dyn Database>>, RunError> {
    match (&service.database, url) {
        (Some(database), Some(url)) => {
            let opened = database.open(url, &service.tables, service.pool_sizes)?;
            // Nobody waits for an answer, as for that of a request.
            Ok(Some(opened.for_consumers()))
        }
        _ => Ok(None),
    }
}

/// The id of the service's database, where it has one already, and the one that it gets again where
/// it has lost it.
async fn identity(
    service: &Definition,
    url: Option<&str>,
    noted: &BTreeSet<String>,
) -> Result<(Option<String>, Option<String>), RunError> {
    let Some(database) = open(service, url)? else {
        return Ok((None, None));
    };
    let id = match database.schema().await.map_err(wrong)? {
        Schema::Known => database.identity().await.map_err(wrong)?,
        Schema::Other(_) => None,
    };
    let lost = identity::lost(&*database, noted).await.map_err(wrong)?;
    Ok((id, lost))
}

/// What would become of the schema.
async fn schema(service: &Definition, url: Option<&str>) -> Result<Option<String>, RunError> {
    match open(service, url)? {
        Some(database) => Ok(Some(match database.schema().await.map_err(wrong)? {
            Schema::Known => "schema: stays as it is".to_owned(),
            Schema::Other(why) => format!("schema: {why}"),
        })),
        None => Ok(None),
    }
}

/// What belongs to somebody else is a mistake of the definition or of the operator.
fn wrong(error: Error) -> RunError {
    match error.kind() {
        Kind::Conflict => RunError::misuse([error.to_string()]),
        _ => RunError::new(error.to_string()),
    }
}

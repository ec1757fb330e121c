//! What must hold before a service counts as started: the server's version, the schema, a round
//! trip.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;

use crate::error::run_error::{Reason, RunError};
use crate::error::{Error, Kind, Result};
use crate::function::database::{Database, Schema};
use crate::nats::jetstream::{Nats, calls, consumer_info, is_without_jetstream};
use crate::service::definition::Definition;

/// Older servers have known faults in features that this runtime relies on.
const OLDEST: semver::Version = semver::Version::new(2, 14, 0);

/// A message to ourselves and back: everything sent before it on this connection has arrived.
///
/// `subscribe` only writes to the connection; the server may read it after another client's later
/// request.
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

pub(crate) fn check_server(
    nats: &Client,
    wanted: Option<&semver::Version>,
) -> Result<(), RunError> {
    let Some(info) = nats.try_server_info() else {
        return Ok(());
    };
    let Ok(found) = semver::Version::parse(&info.version) else {
        return Ok(());
    };
    // A pre-release of an accepted version is accepted.
    let found = semver::Version::new(found.major, found.minor, found.patch);
    match wanted {
        Some(wanted) if found < *wanted => Err(RunError::new(format!(
            "nats-server {found} is too old: this service needs {wanted} or newer; upgrade the server"
        ))),
        _ => {
            if found < OLDEST {
                tracing::warn!(
                    "nats-server {found} is older than {OLDEST}, and has known faults that can lose messages; upgrade it"
                );
            }
            Ok(())
        }
    }
}

/// Whether the JetStream of the configured domain or prefix is there. The way to it may be broken for a while.
pub(crate) async fn check_jetstream(nats: &Nats) -> Result<(), RunError> {
    let api = nats.api();
    if api.is_own() {
        return Ok(());
    }
    match nats.domain().await {
        Err(error) if is_without_jetstream(&error) => Err(RunError::of(
            Reason::Passing,
            format!(
                "{api} does not answer ({}): is nats.domain or nats.api_prefix right, and is its server, or the leaf node's connection to it, there?",
                api.subject(&calls::whole(calls::INFO))
            ),
        )),
        _ => Ok(()),
    }
}

/// The consumers that the server's own JetStream has as well, where ours is another one. An ack says neither domain nor
/// account, and each of the two takes it for its own message of that sequence.
pub(crate) async fn shared_acks(service: &Definition, nats: &Nats) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    if nats.api().is_own() {
        return Ok(problems);
    }
    let own = nats.with_own_jetstream();
    for consumer in service.consumers() {
        let (stream, durable) = (consumer.stream.name(), consumer.durable_name());
        let beside = match consumer_info(&own, stream, &durable).await {
            Ok(beside) => beside,
            Err(error) if error.kind() == Kind::NotFound => continue,
            Err(error) if is_without_jetstream(&error) => break,
            Err(error) => return Err(error),
        };
        // The domain may be the server's own.
        match consumer_info(nats, stream, &durable).await {
            Ok(ours) if ours.created == beside.created => continue,
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
        problems.push(format!(
            "the server's own JetStream has a consumer {durable} of a stream {stream} too, beside that of {}: what acknowledges a message of the one does so for the other's, so that messages would be lost; delete the one there, if nobody uses it, or give the consumer another name here (`Consumer::durable`)",
            nats.api()
        ));
    }
    Ok(problems)
}

/// Refuses a start with what [`shared_acks`] finds: somebody may have made it after `setup`.
pub(crate) async fn check_acks(service: &Definition, nats: &Nats) -> Result<(), RunError> {
    match shared_acks(service, nats).await {
        Ok(problems) if problems.is_empty() => {}
        Ok(problems) => return Err(RunError::misuse(problems)),
        Err(error) => tracing::warn!(
            %error,
            "nobody knows whether the server's own JetStream has a consumer of the same name, which would take acks"
        ),
    }
    Ok(())
}

pub(crate) async fn open(
    definition: &Definition,
    url: Option<&str>,
) -> Result<Option<Arc<dyn Database>>, RunError> {
    let Some(database) = &definition.database else {
        return Ok(None);
    };
    let Some(url) = url else {
        if !definition.needs_database() {
            return Ok(None);
        }
        return Err(RunError::misuse([format!(
            "database.url is missing: {} keeps its data in a database",
            definition.name
        )]));
    };
    let database = database.open(url, &definition.tables, definition.pool_sizes)?;
    match tokio::time::timeout(Duration::from_secs(5), database.schema()).await {
        Ok(Ok(Schema::Known)) => {}
        Ok(Ok(Schema::Other(why))) => return Err(RunError::new(why)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database cannot be reached; functions that need it wait");
        }
        Err(_) => tracing::warn!("the database does not answer; functions that need it wait"),
    }
    Ok(Some(database))
}

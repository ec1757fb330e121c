//! Sets up what a service needs: schema, streams, consumers. Running functions lack these rights.

use async_nats::Client;
use serde::Deserialize;
use tokio::sync::watch;

use crate::background::Background;
use crate::dead_letter;
use crate::error::Error;
use crate::event::StreamId;
use crate::jetstream::{call, stream_info};
use crate::run_error::RunError;
use crate::service::{Definition, Function};
use crate::template::{Template, overlap};

/// Makes, or brings to this version, everything that the service needs. It may run again at any
/// time, and two at once are safe.
///
/// # Errors
/// What the lint finds: a function's subject that some stream of the account captures, a stream
/// that would lose messages; and whatever the server or the database refuses.
pub async fn setup(
    service: &Definition,
    nats: &Client,
    database_url: Option<&str>,
) -> Result<(), RunError> {
    if let Some(database) = &service.database {
        let url = database_url.ok_or_else(|| {
            RunError::misuse([format!(
                "database.url is missing: {} keeps its data in a database",
                service.name
            )])
        })?;
        database.migrate(url).await?;
    }
    if service.consumers().next().is_some() {
        dead_letter::stream().set_up(nats).await?;
    }
    for stream in service.all_streams() {
        stream.set_up(nats).await?;
        let info = stream.check(nats).await.map_err(wrong)?;
        tracing::debug!(
            stream = stream.name(),
            messages = info.state.messages,
            "checked"
        );
    }
    let reach = reach(service, nats, database_url)?;
    for consumer in service.consumers() {
        let info = consumer.set_up(nats, None).await.map_err(wrong)?;
        let stream = stream_info(nats, consumer.stream.name())
            .await
            .map_err(wrong)?;
        let stream = StreamId {
            name: consumer.stream.name().to_owned(),
            created: stream.created,
            ack_floor: info.ack_floor.stream_seq,
        };
        let caught_up = consumer.catch_up(Some(reach.clone()), stream, info).await;
        caught_up.map_err(wrong)?;
    }
    lint(service, nats).await
}

/// What a service is asked with about its own store.
fn reach(service: &Definition, nats: &Client, url: Option<&str>) -> Result<Background, RunError> {
    let database = match (&service.database, url) {
        (Some(database), Some(url)) => Some(database.open(url)?.handle()),
        _ => None,
    };
    Ok(Background {
        client: crate::Client::new(nats.clone()),
        database,
        stop: watch::channel(false).1,
        dev_page: None,
    })
}

fn wrong(error: Error) -> RunError {
    RunError::new(error.to_string())
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    streams: Option<Vec<Listed>>,
    total: usize,
}

#[derive(Deserialize)]
struct Listed {
    config: async_nats::jetstream::stream::Config,
}

/// No stream of the account may capture a function's subject: it would answer the request itself,
/// with a PubAck, and keep it.
async fn lint(service: &Definition, nats: &Client) -> Result<(), RunError> {
    let mut subjects: Vec<(String, String)> = Vec::new();
    for function in &service.functions {
        match function {
            Function::Endpoint(endpoint, _) => {
                let template = Template::parse(&endpoint.subject).map_err(RunError::new)?;
                subjects.push((endpoint.name.clone(), template.subject().to_owned()));
            }
            Function::Consumer(consumer, _) => {
                subjects.push((
                    consumer.name.clone(),
                    format!("fn.{}.{}", service.name, consumer.name),
                ));
            }
        }
    }
    let mut problems = Vec::new();
    let mut seen = 0;
    loop {
        let page: Page = call(nats, "STREAM.LIST", &serde_json::json!({ "offset": seen }))
            .await
            .map_err(wrong)?;
        let streams = page.streams.unwrap_or_default();
        if streams.is_empty() {
            break;
        }
        seen += streams.len();
        for Listed { config } in streams {
            for captured in &config.subjects {
                for (function, subject) in &subjects {
                    if overlap(captured, subject) {
                        problems.push(format!(
                            "the stream {} captures {captured:?}, and with it {subject:?} of the function {function:?}: it would answer requests itself",
                            config.name
                        ));
                    }
                }
            }
        }
        if seen >= page.total {
            break;
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(RunError::misuse(problems))
    }
}

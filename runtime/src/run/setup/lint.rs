//! No stream of the account may capture a function's subject: it would answer the request itself,
//! with a PubAck, and keep it. None should capture what a stream republishes from batches. With `nats.domain`, no stream
//! of the server's own JetStream may capture what is for ours, and it may have none of our consumers.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;

use crate::error::Result;
use crate::error::run_error::RunError;
use crate::function::template::{Template, overlap};
use crate::nats::jetstream::{Nats, call, calls, is_without_jetstream};
use crate::run::ready::shared_acks;
use crate::service::definition::Definition;
use crate::service::stream::Stream;
use crate::service::trigger::state_subject;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Option<Vec<Listed>>,
    total: usize,
}

#[derive(Deserialize)]
struct Listed {
    config: async_nats::jetstream::stream::Config,
    created: String,
}

/// Looks at every stream of the account, and of the server's own JetStream. Returns what somebody should see to, a
/// line each.
pub(super) async fn lint(service: &Definition, nats: &Nats) -> Result<Vec<String>, RunError> {
    let own = service.all_streams();
    let mut warnings = Vec::new();
    let mut subjects: Vec<(String, String)> = Vec::new();
    for function in &service.functions {
        let subject = match function.subject() {
            Some(text) => {
                let template = Template::parse(text).map_err(RunError::new)?;
                template.subject().to_owned()
            }
            None => state_subject(&service.name, function.name()),
        };
        subjects.push((function.name().to_owned(), subject));
    }
    let mut problems = Vec::new();
    let mut capturing = |Listed { config, .. }: &Listed| {
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
    };
    let streams = streams(nats).await;
    let streams = streams.map_err(|error| RunError::new(error.to_string()))?;
    streams.iter().for_each(&mut capturing);
    for Listed { config, .. } in &streams {
        if own.iter().all(|stream| stream.name() != config.name) {
            let captured = || config.subjects.iter().map(String::as_str);
            warnings.extend(
                own.iter()
                    .filter_map(|stream| stream.republishes_batches_to(&config.name, captured())),
            );
        }
    }
    match beside(nats, &streams).await {
        Ok(beside) => {
            beside.iter().for_each(&mut capturing);
            problems.extend(taken(service, nats, &streams, &beside));
        }
        Err(error) => warnings.push(format!(
            "nobody knows whether the server's own JetStream captures what is for {}: {error}",
            nats.api()
        )),
    }
    match shared_acks(service, nats).await {
        Ok(shared) => problems.extend(shared),
        Err(error) => warnings.push(format!(
            "nobody knows whether the server's own JetStream has a consumer of the same name, which would take acks: {error}"
        )),
    }
    if problems.is_empty() {
        Ok(warnings)
    } else {
        Err(RunError::misuse(problems))
    }
}

/// Every stream of the account.
async fn streams(nats: &Nats) -> Result<Vec<Listed>> {
    let mut streams = Vec::new();
    loop {
        let body = json!({ "offset": streams.len() });
        let answer: Answer = call(nats, calls::LIST_STREAMS, &body).await?;
        let more = answer.streams.unwrap_or_default();
        let is_last = more.is_empty();
        streams.extend(more);
        if is_last || streams.len() >= answer.total {
            return Ok(streams);
        }
    }
}

/// The streams of the server's own JetStream, where ours is another; none where the domain leads to the same.
async fn beside(nats: &Nats, ours: &[Listed]) -> Result<Vec<Listed>> {
    if nats.api().is_own() {
        return Ok(Vec::new());
    }
    let is_ours = |it: &Listed| {
        let mut ours = ours.iter();
        ours.any(|our| our.config.name == it.config.name && our.created == it.created)
    };
    match streams(&nats.with_own_jetstream()).await {
        Ok(streams) => Ok(streams.into_iter().filter(|it| !is_ours(it)).collect()),
        Err(error) if is_without_jetstream(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What the server's own streams capture as well, and would acknowledge before ours do. A bucket is written by its
/// JetStream's own subjects, and a stream of somebody else's captures what it captures: one that has a leaf node's
/// messages from that one's stream nothing.
fn taken(service: &Definition, nats: &Nats, ours: &[Listed], beside: &[Listed]) -> Vec<String> {
    let letters = service.consumers().next().map(|_| Stream::dead_letters());
    let consumed = service.consumers().map(|consumer| &consumer.stream);
    let mut subjects = BTreeSet::new();
    for stream in service
        .all_streams()
        .into_iter()
        .chain(consumed)
        .chain(&letters)
    {
        let live = ours.iter().filter(|it| it.config.name == stream.name());
        let live = live.flat_map(|it| it.config.subjects.iter().map(String::as_str));
        let defined = stream.subjects().filter(|_| !stream.is_existing());
        subjects.extend(defined.chain(live).map(|it| (stream.name(), it)));
    }
    subjects.retain(|(_, subject)| !subject.starts_with("$KV."));
    let mut problems = Vec::new();
    for Listed { config, .. } in beside {
        for captured in &config.subjects {
            for (stream, subject) in &subjects {
                if overlap(captured, subject) {
                    problems.push(format!(
                        "the stream {} of the server's own JetStream captures {captured:?}, and with it {subject:?}, which is for {stream} of {}: it would acknowledge the messages; take the subject out of it, or name the subject differently here",
                        config.name,
                        nats.api()
                    ));
                }
            }
        }
    }
    problems
}

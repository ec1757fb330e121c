//! Checks a service's definition before anything starts, and reports every mistake at once.

use super::consumer::Consumer;
use super::definition::{Definition, Function};
use super::endpoint::Endpoint;
use super::name::{NAME_RULE, is_name};
use super::queue_group::QueueGroup;
use super::stream::Stream;
use crate::function::extract::Needs;
use crate::function::template::{Template, overlap};

/// Every mistake, a sentence each; empty for a good definition.
pub(crate) fn problems(service: &Definition) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_name(&service.name) {
        problems.push(format!("service name {:?}: {NAME_RULE}", service.name));
    }
    if let Err(error) = semver::Version::parse(&service.version) {
        problems.push(format!(
            "service version {:?}: must be a full SemVer version such as 1.0.0 ({error})",
            service.version
        ));
    }
    queue_group(&service.name, &service.queue_group, &mut problems);
    for name in service.function_names().filter(|name| !is_name(name)) {
        problems.push(format!("function {name:?}: its name {NAME_RULE}"));
    }
    for function in &service.functions {
        match function {
            Function::Endpoint(what, call) => endpoint(service, what, call.needs, &mut problems),
            Function::Consumer(what, call) => {
                consumer(service, what, call.needs, &mut problems);
            }
        }
    }
    shared(service, &mut problems);
    for stream in service.all_streams() {
        let differs = |other: &Stream| other.name() == stream.name() && !other.agrees(stream);
        if service.described_streams().any(differs) {
            problems.push(format!(
                "the stream {} is described twice, differently: only one of them could be made",
                stream.name()
            ));
        }
        problems.extend(stream.problems());
        for function in &service.functions {
            if let Function::Endpoint(endpoint, _) = function
                && let Ok(template) = Template::parse(&endpoint.subject)
                && let Some(subject) = stream
                    .subjects()
                    .find(|subject| overlap(subject, template.subject()))
            {
                problems.push(format!(
                    "function {:?} listens on {:?}, which the stream {} captures with {subject:?}: the stream would answer the request itself, with a PubAck",
                    endpoint.name, endpoint.subject, stream.name()
                ));
            }
        }
    }
    problems
}

fn endpoint(service: &Definition, endpoint: &Endpoint, needs: Needs, problems: &mut Vec<String>) {
    queue_group(&endpoint.name, &endpoint.queue_group, problems);
    match Template::parse(&endpoint.subject) {
        Err(problem) => problems.push(format!("function {:?}: {problem}", endpoint.name)),
        Ok(template) => path(&endpoint.name, &template, needs, problems),
    }
    if endpoint.max_in_flight == 0 {
        problems.push(format!(
            "function {:?}: max_in_flight must be at least 1",
            endpoint.name
        ));
    }
    database(service, &endpoint.name, needs, problems);
}

fn consumer(service: &Definition, consumer: &Consumer, needs: Needs, problems: &mut Vec<String>) {
    let name = &consumer.name;
    let durable = consumer.durable_name();
    if durable.is_empty()
        || durable.contains(|c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c))
    {
        problems.push(format!(
            "function {name:?}: the durable name {durable:?} must not be empty or contain a space or one of . * > / \\"
        ));
    }
    if needs.single && needs.decode.is_some() {
        problems.push(format!("function {name:?} takes a Batch and an extractor of single messages; it can be called with only one of them"));
    }
    for filter in &consumer.filter {
        if let Err(problem) = Template::parse(filter) {
            problems.push(format!("function {name:?}: filter {problem}"));
        }
    }
    let templates = consumer.templates().unwrap_or_default();
    if needs.path.is_some() && templates.is_empty() {
        problems.push(format!(
            "function {name:?} extracts a Path, and nothing names its tokens: add .template(\"...{{id}}\") to Stream::existing, or a filter"
        ));
    }
    for template in &templates {
        path(name, template, needs, problems);
    }
    if consumer.max_batch == 0 || consumer.max_in_flight == Some(0) {
        problems.push(format!(
            "function {name:?}: max_batch and max_in_flight must be at least 1"
        ));
    }
    if consumer.floor.is_some() && !consumer.natural_key {
        problems.push(format!(
            "function {name:?}: .floor(..) lets messages be handled again that the inbox has forgotten; it needs rows with a key of their own and .natural_key()"
        ));
    }
    database(service, name, needs, problems);
}

/// A `Path` of another number of values than the subject names would refuse every message.
fn path(name: &str, template: &Template, needs: Needs, problems: &mut Vec<String>) {
    let names: Vec<&str> = template.names().collect();
    if let Some(why) = needs.path.and_then(|misfit| misfit(&names)) {
        let named = match names.as_slice() {
            [] => "no token such as {id}".to_owned(),
            names => format!("{{{}}}", names.join("}, {")),
        };
        problems.push(format!(
            "function {name:?} extracts a Path that {why}, and its subject {:?} names {named}",
            template.text()
        ));
    }
}

/// What two functions may not share, each told once.
fn shared(service: &Definition, problems: &mut Vec<String>) {
    let consumers: Vec<&Consumer> = service.consumers().collect();
    for (at, consumer) in consumers.iter().enumerate() {
        let name = &consumer.name;
        let (before, after) = (&consumers[..at], &consumers[at + 1..]);
        if before.iter().any(|other| other.name == *name) {
            continue;
        }
        if after.iter().any(|other| other.name == *name) {
            problems.push(format!(
                "two stream functions are named {name:?}: they would share one durable consumer"
            ));
        }
        if service
            .functions
            .iter()
            .any(|function| matches!(function, Function::Endpoint(other, _) if other.name == *name))
        {
            problems.push(format!(
                "an endpoint and a stream function are both named {name:?}: serve, discovery and the log could not tell them apart"
            ));
        }
        let shares = |other: &&&Consumer| {
            other.name != *name
                && other.stream.name() == consumer.stream.name()
                && other.durable_name() == consumer.durable_name()
        };
        if let Some(other) = after.iter().find(shares) {
            problems.push(format!(
                "the functions {name:?} and {:?} share the durable consumer {:?} of {}: each would get a part of the messages",
                other.name,
                consumer.durable_name(),
                consumer.stream.name()
            ));
        }
    }
}

fn database(service: &Definition, name: &str, needs: Needs, problems: &mut Vec<String>) {
    if (needs.database || needs.transaction) && service.database.is_none() {
        problems.push(format!(
            "function {name:?} extracts Db or Tx, and the service has no database; add .database::<Migrator>()"
        ));
    }
}

fn queue_group(of: &str, group: &QueueGroup, problems: &mut Vec<String>) {
    if let QueueGroup::Named(name) = group
        && (name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        problems.push(format!("{of}: queue group {name:?} must not be empty or contain a space; no_queue_group() switches it off"));
    }
}

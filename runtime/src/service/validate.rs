//! Checks a service's definition before anything starts, and reports every mistake at once.

use std::sync::Arc;

use super::consumer::Consumer;
use super::definition::Definition;
use super::endpoint::queue_group::QueueGroup;
use super::name::{NAME_RULE, is_name};
use super::stream::Stream;
use super::trigger::Trigger;
use crate::function::extract::Needs;
use crate::function::template::{Template, overlap};

/// Every mistake in a service and in those beside it, a sentence each; empty for good definitions.
pub(crate) fn problems(service: &Definition) -> Vec<String> {
    let services = service.clone().into_services();
    let mut problems: Vec<String> = services.iter().flat_map(alone).collect();
    for (at, service) in services.iter().enumerate() {
        for other in &services[..at] {
            beside(other, service, &mut problems);
        }
    }
    problems
}

/// What two services of one program may not share.
fn beside(one: &Definition, other: &Definition, problems: &mut Vec<String>) {
    if one.name == other.name {
        problems.push(format!(
            "two services of the program are named {:?}: their logins could not be told apart",
            one.name
        ));
    }
    for name in other.function_names() {
        if one.function_names().any(|known| known == name) {
            problems.push(format!(
                "the services {} and {} both have a function {name:?}: serve could not tell them apart",
                one.name, other.name
            ));
        }
    }
    if one.database.is_some() && other.database.is_some() {
        problems.push(format!(
            "the services {} and {} both have a database, and database.url names one",
            one.name, other.name
        ));
    }
}

/// The mistakes in one service.
fn alone(service: &Definition) -> Vec<String> {
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
    problems.extend(service.database.iter().flat_map(|it| it.problems()));
    for name in service.function_names().filter(|name| !is_name(name)) {
        problems.push(format!("function {name:?}: its name {NAME_RULE}"));
    }
    for function in &service.functions {
        function.check(&mut problems);
        database(service, function.name(), &function.needs(), &mut problems);
    }
    for (name, access) in service.uses() {
        if let Err(problem) = access.patterns() {
            problems.push(format!("function {name:?} declares a subject: {problem}"));
        }
        let Some(store) = access.store else { continue };
        if service.streams.iter().all(|it| it.name() != store.stream()) {
            problems.push(format!(
                "function {name:?} uses the {store}, and the service has none of that name; add {}",
                store.declaration()
            ));
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
        let others = service.all_streams().into_iter();
        problems.extend(
            others
                .filter_map(|other| stream.republishes_batches_to(other.name(), other.subjects())),
        );
        for function in &service.functions {
            if let Some(text) = function.subject()
                && let Ok(template) = Template::parse(text)
                && let Some(subject) = stream
                    .subjects()
                    .find(|subject| overlap(subject, template.subject()))
            {
                problems.push(format!(
                    "function {:?} listens on {text:?}, which the stream {} captures with {subject:?}: the stream would answer the request itself, with a PubAck",
                    function.name(),
                    stream.name()
                ));
            }
        }
    }
    problems
}

/// A `Path` of another number of values than the subject names would refuse every message.
pub(crate) fn path(name: &str, template: &Template, needs: &Needs, problems: &mut Vec<String>) {
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

/// What two functions may not share, each told once. Endpoints may share a name: their subjects differ.
fn shared(service: &Definition, problems: &mut Vec<String>) {
    let all = service.functions.iter();
    let unasked: Vec<&Arc<dyn Trigger>> = all.filter(|it| it.subject().is_none()).collect();
    for (at, function) in unasked.iter().enumerate() {
        let name = function.name();
        let (before, after) = (&unasked[..at], &unasked[at + 1..]);
        if before.iter().any(|other| other.name() == name) {
            continue;
        }
        let same = service.functions.iter();
        let same = same.filter(|it| it.name() == name && !Arc::ptr_eq(it, function));
        let (fed, others): (Vec<_>, Vec<_>) =
            same.partition(|it| it.consumer().and(function.consumer()).is_some());
        if !fed.is_empty() {
            problems.push(format!(
                "two stream functions are named {name:?}: they would share one durable consumer"
            ));
        }
        if let Some(other) = others.first() {
            problems.push(format!(
                "{} and {} are both named {name:?}: serve, discovery and the log could not tell them apart",
                other.kind(),
                function.kind()
            ));
        }
        let Some(consumer) = function.consumer() else {
            continue;
        };
        let shares = |other: &&Consumer| {
            other.name != name
                && other.stream.name() == consumer.stream.name()
                && other.durable_name() == consumer.durable_name()
        };
        if let Some(other) = after.iter().filter_map(|it| it.consumer()).find(shares) {
            problems.push(format!(
                "the functions {name:?} and {:?} share the durable consumer {:?} of {}: each would get a part of the messages",
                other.name,
                consumer.durable_name(),
                consumer.stream.name()
            ));
        }
    }
}

fn database(service: &Definition, name: &str, needs: &Needs, problems: &mut Vec<String>) {
    if (needs.database || needs.transaction) && service.database.is_none() {
        problems.push(format!(
            "function {name:?} extracts Db or Tx, and the service has no database; add .database::<Migrator>()"
        ));
    }
}

pub(crate) fn queue_group(of: &str, group: &QueueGroup, problems: &mut Vec<String>) {
    if let QueueGroup::Named(name) = group
        && (name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        problems.push(format!("{of}: queue group {name:?} must not be empty or contain a space; no_queue_group() switches it off"));
    }
}

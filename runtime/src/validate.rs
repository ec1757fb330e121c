//! Checks a service's definition before anything starts, and reports every mistake at once.

use crate::consumer::Consumer;
use crate::endpoint::Endpoint;
use crate::extract::Needs;
use crate::service::{Definition, Function, QueueGroup};
use crate::template::{Template, overlap};

/// Every mistake, a sentence each; empty for a good definition.
pub(crate) fn problems(service: &Definition) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_name(&service.name) {
        problems.push(format!(
            "service name {:?}: must be one or more of A-Z, a-z, 0-9, _ and -",
            service.name
        ));
    }
    if let Err(error) = semver::Version::parse(&service.version) {
        problems.push(format!(
            "service version {:?}: must be a full SemVer version such as 1.0.0 ({error})",
            service.version
        ));
    }
    queue_group(&service.name, &service.queue_group, &mut problems);
    for name in service.function_names().filter(|name| !is_name(name)) {
        problems.push(format!(
            "function {name:?}: its name must be one or more of A-Z, a-z, 0-9, _ and -"
        ));
    }
    for function in &service.functions {
        match function {
            Function::Endpoint(what, call) => endpoint(service, what, call.needs, &mut problems),
            Function::Consumer(what, call) => {
                consumer(service, what, call.needs, &mut problems);
            }
        }
    }
    for stream in service.all_streams() {
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
        Ok(template) if needs.path && template.names().next().is_none() => {
            problems.push(format!(
                "function {:?} extracts a Path, and its subject {:?} names no token such as {{id}}",
                endpoint.name, endpoint.subject
            ));
        }
        Ok(_) => {}
    }
    database(service, &endpoint.name, needs, problems);
}

fn consumer(service: &Definition, consumer: &Consumer, needs: Needs, problems: &mut Vec<String>) {
    let name = &consumer.name;
    let same = |function: &&Function| matches!(function, Function::Consumer(other, _) if other.name == *name);
    if service.functions.iter().filter(same).count() > 1 {
        problems.push(format!(
            "two stream functions are named {name:?}: they would share one durable consumer"
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
    if consumer.max_batch == 0 || consumer.max_in_flight == Some(0) {
        problems.push(format!(
            "function {name:?}: max_batch and max_in_flight must be at least 1"
        ));
    }
    database(service, name, needs, problems);
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

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

//! `permissions`: the least that each user of NATS needs, for the server's configuration.

mod names;

use std::fmt::Write;

use serde_json::{Value, json};

use super::arguments::Permissions as Arguments;
use super::program::Program;
use super::{Exit, Job, say};
use crate::error::run_error::RunError;
use crate::run::rights::{Export, Right, Rights, exports};
use crate::service::Definition;
use names::{Names, Taken, User as Of, variable};

/// What nats.conf needs for one service.
struct Section {
    service: String,
    users: Vec<User>,
    exports: Vec<Export>,
}

struct User {
    name: String,
    /// What it is for.
    purpose: String,
    inbox: String,
    rights: Rights,
}

pub(super) fn permissions(job: Job, arguments: &Arguments) -> Result<Exit, RunError> {
    let sections = sections(job, arguments)?;
    if arguments.json {
        say(format_args!("{:#}", as_json(&sections)));
    } else {
        say(as_text(&sections).trim_end());
    }
    Ok(Exit::SUCCESS)
}

fn sections(job: Job, arguments: &Arguments) -> Result<Vec<Section>, RunError> {
    let mut job = job;
    let (names, mut given) = (Names::of(&job.program), Taken::default());
    job.program.only(&arguments.functions)?;
    let is_whole = arguments.functions.is_empty();
    let services = job.program.services().iter();
    let served = services.filter(|service| service.function_names().next().is_some());
    let sections = served.map(|service| Section {
        service: service.name().to_owned(),
        users: match (&arguments.user, is_whole) {
            (Some(user), _) => {
                let longer = format!("{}-{user}", service.name());
                vec![union(&job, service, &given.one(user, [longer]))]
            }
            (None, true) => every_user(&job, &names, service),
            (None, false) => Vec::from_iter(one_process(&job, &names, service)),
        },
        exports: exports(service),
    });
    Ok(sections.collect())
}

/// A user for each function, one for all of them, and those of the commands.
fn every_user(job: &Job, names: &Names, service: &Definition) -> Vec<User> {
    let functions = service.function_names();
    let mut users: Vec<User> = functions
        .filter_map(|function| one_process(job, names, &service.alone(function)))
        .collect();
    if users.len() > 1 {
        users.extend(one_process(job, names, service));
    }
    if let Some(name) = names.get(service, Of::Setup) {
        let purpose = "Runs `setup`. No function has this login.".to_owned();
        let rights = |inbox: &str| Rights::of_setup(service, inbox);
        users.push(user(job, name, purpose, rights));
    }
    if let Some(name) = names.get(service, Of::Dead) {
        let rights = |inbox: &str| Rights::of_dead(service, inbox);
        users.push(user(job, name, "Runs `dead`.".to_owned(), rights));
    }
    users
}

/// The user of one process that serves all of these functions.
fn one_process(job: &Job, names: &Names, service: &Definition) -> Option<User> {
    let mut functions = service.function_names();
    let of = match (functions.next(), functions.next()) {
        (Some(one), None) => Of::Function(one.to_owned()),
        _ => Of::Several,
    };
    Some(union(job, service, names.get(service, of)?))
}

fn union(job: &Job, service: &Definition, name: &str) -> User {
    let functions: Vec<&str> = service.function_names().collect();
    let rights = |inbox: &str| Rights::of_functions(service, inbox);
    user(
        job,
        name,
        format!("Serves {}.", functions.join(", ")),
        rights,
    )
}

fn user(job: &Job, name: &str, purpose: String, rights: impl Fn(&str) -> Rights) -> User {
    let login = job.config.credentials.get(name);
    let inbox = login.and_then(|login| login.inbox_prefix.clone());
    let inbox = inbox.unwrap_or_else(|| format!("_INBOX.s.{name}"));
    User {
        name: name.to_owned(),
        purpose,
        rights: rights(&inbox).with_jetstream_of(&job.config.nats),
        inbox,
    }
}

fn as_json(sections: &[Section]) -> Value {
    let allow = |rights: &[Right]| {
        let subjects: Vec<&str> = rights.iter().map(|right| &*right.subject).collect();
        json!({ "allow": subjects })
    };
    let sections = sections.iter().map(|section| {
        let users = section.users.iter().map(|user| {
            json!({
                "user": user.name,
                "inbox_prefix": user.inbox,
                "permissions": {
                    "subscribe": allow(&user.rights.subscribe),
                    "publish": allow(&user.rights.publish),
                },
            })
        });
        let account = account(section);
        let offered = section.exports.iter();
        let (exports, imports): (Vec<Value>, Vec<Value>) = offered
            .map(|export| match export {
                Export::Service { subject, stamped } => {
                    let from = json!({ "account": account, "subject": subject });
                    let mut import = json!({ "service": from });
                    if *stamped {
                        import["share"] = true.into();
                    }
                    (json!({ "service": subject }), import)
                }
                Export::Stream { subject } => {
                    let from = json!({ "account": account, "subject": subject });
                    (json!({ "stream": subject }), json!({ "stream": from }))
                }
            })
            .unzip();
        json!({
            "service": section.service,
            "users": users.collect::<Vec<_>>(),
            "exports": exports,
            "imports": imports,
        })
    });
    json!({ "services": sections.collect::<Vec<_>>() })
}

/// What the service's account is called here.
fn account(section: &Section) -> String {
    section.service.to_uppercase()
}

fn as_text(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        let account = account(section);
        let _ = writeln!(
            text,
            "# {}: the users of its account, each with its inbox prefix.",
            section.service
        );
        let _ = writeln!(text, "users: [");
        for user in &section.users {
            let password = variable(&user.name);
            let User {
                name,
                purpose,
                inbox,
                rights,
            } = user;
            let _ = writeln!(text, "  {{\n    # {purpose} inbox_prefix = \"{inbox}\"");
            let _ = writeln!(text, "    user: {name}, password: ${password}");
            let _ = writeln!(text, "    permissions: {{");
            list(&mut text, "subscribe", &rights.subscribe);
            list(&mut text, "publish", &rights.publish);
            let _ = writeln!(text, "    }}\n  }}");
        }
        let _ = writeln!(text, "]");
        if section.exports.is_empty() {
            continue;
        }
        let offered = section.exports.iter();
        let (exports, imports): (Vec<String>, Vec<String>) = offered
            .map(|export| match export {
                Export::Service { subject, stamped } => {
                    let share = if *stamped { ", share: true" } else { "" };
                    let import =
                        format!("service: {{ account: {account}, subject: {subject:?} }}{share}");
                    (format!("service: {subject:?}"), import)
                }
                Export::Stream { subject } => {
                    let import = format!("stream: {{ account: {account}, subject: {subject:?} }}");
                    (format!("stream: {subject:?}"), import)
                }
            })
            .unzip();
        let callers = "For callers in another account; name it, or every account may import them.";
        let share = "In their account. With `share` the server tells who asks.";
        for (about, name, lines) in [(callers, "exports", exports), (share, "imports", imports)] {
            let lines = lines.iter().map(|line| format!("  {{ {line} }}\n"));
            let _ = writeln!(text, "# {about}\n{name}: [\n{}]", lines.collect::<String>());
        }
    }
    text
}

/// One subject a line, with what it is for.
fn list(text: &mut String, name: &str, rights: &[Right]) {
    let _ = writeln!(text, "      {name}: [");
    let quoted: Vec<String> = rights
        .iter()
        .map(|right| format!("{:?}", right.subject))
        .collect();
    let width = quoted.iter().map(String::len).max().unwrap_or_default();
    for (subject, right) in quoted.iter().zip(rights) {
        let _ = writeln!(text, "        {subject:<width$}  # {}", right.purpose);
    }
    let _ = writeln!(text, "      ]");
}

#[cfg(test)]
mod tests;

//! `permissions`: the least that each user of NATS needs, for the server's configuration.

use std::fmt::Write;

use serde_json::{Value, json};

use super::arguments::Permissions as Arguments;
use super::{Exit, Job, say};
use crate::error::run_error::RunError;
use crate::run::rights::{Export, Right, Rights, exports};
use crate::service::Definition;

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
    let mut job = job;
    job.program.only(&arguments.functions)?;
    let is_whole = arguments.functions.is_empty();
    let user = arguments.user.as_deref();
    let services = job.program.services().iter();
    let served = services.filter(|service| service.function_names().next().is_some());
    let sections: Vec<Section> = served
        .map(|service| Section {
            service: service.name().to_owned(),
            users: match is_whole {
                true => every_user(&job, service),
                false => vec![union(&job, service, user)],
            },
            exports: exports(service),
        })
        .collect();
    if arguments.json {
        say(format_args!("{:#}", as_json(&sections)));
    } else {
        say(as_text(&sections).trim_end());
    }
    Ok(Exit::SUCCESS)
}

/// A user for each function, one for all of them, and those of the commands.
fn every_user(job: &Job, service: &Definition) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    for name in service.function_names() {
        if users.iter().all(|user| user.name != name) {
            let rights = |inbox: &str| Rights::of_functions(&service.alone(name), inbox);
            users.push(user(job, name, format!("Serves {name}."), rights));
        }
    }
    if users.len() > 1 {
        users.push(union(job, service, None));
    }
    let is_main = service.name() == job.program.main().name();
    let command = |command: &str| match is_main {
        true => command.to_owned(),
        false => format!("{}-{command}", service.name()),
    };
    if job
        .program
        .to_set_up()
        .any(|it| it.name() == service.name())
    {
        let purpose = "Runs `setup`. No function has this login.".to_owned();
        let rights = |inbox: &str| Rights::of_setup(service, inbox);
        users.push(user(job, &command("setup"), purpose, rights));
    }
    if service.consumers().next().is_some() {
        let rights = |inbox: &str| Rights::of_dead(service, inbox);
        users.push(user(
            job,
            &command("dead"),
            "Runs `dead`.".to_owned(),
            rights,
        ));
    }
    users
}

/// One process that serves all of these functions.
fn union(job: &Job, service: &Definition, name: Option<&str>) -> User {
    let mut functions: Vec<&str> = service.function_names().collect();
    functions.dedup();
    let all = functions.join(", ");
    let name = match (name, functions.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, [one]) => (*one).to_owned(),
        (None, several) if several.contains(&service.name()) => format!("{}-all", service.name()),
        _ => service.name().to_owned(),
    };
    let rights = |inbox: &str| Rights::of_functions(service, inbox);
    user(job, &name, format!("Serves {all}."), rights)
}

fn user(job: &Job, name: &str, purpose: String, rights: impl Fn(&str) -> Rights) -> User {
    let login = job.config.credentials.get(name);
    let inbox = login.and_then(|login| login.inbox_prefix.clone());
    let inbox = inbox.unwrap_or_else(|| format!("_INBOX.s.{name}"));
    User {
        name: name.to_owned(),
        purpose,
        rights: rights(&inbox),
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
            let password = user.name.to_uppercase().replace('-', "_");
            let User {
                name,
                purpose,
                inbox,
                rights,
            } = user;
            let _ = writeln!(text, "  {{\n    # {purpose} inbox_prefix = \"{inbox}\"");
            let _ = writeln!(text, "    user: {name}, password: $PASSWORD_{password}");
            let _ = writeln!(text, "    permissions: {{");
            list(&mut text, "subscribe", &rights.subscribe);
            list(&mut text, "publish", &rights.publish);
            let _ = writeln!(text, "    }}\n  }}");
        }
        let _ = writeln!(text, "]");
        if section.exports.is_empty() {
            continue;
        }
        let _ = writeln!(
            text,
            "# For callers in another account; name it, or every account may import them."
        );
        let _ = writeln!(text, "exports: [");
        for export in &section.exports {
            let _ = match export {
                Export::Service { subject, .. } => writeln!(text, "  {{ service: {subject:?} }}"),
                Export::Stream { subject } => writeln!(text, "  {{ stream: {subject:?} }}"),
            };
        }
        let _ = writeln!(text, "]");
        let _ = writeln!(
            text,
            "# In their account. With `share` the server tells who asks."
        );
        let _ = writeln!(text, "imports: [");
        for export in &section.exports {
            let _ = match export {
                Export::Service { subject, stamped } => {
                    let share = if *stamped { ", share: true" } else { "" };
                    writeln!(
                        text,
                        "  {{ service: {{ account: {account}, subject: {subject:?} }}{share} }}"
                    )
                }
                Export::Stream { subject } => {
                    writeln!(
                        text,
                        "  {{ stream: {{ account: {account}, subject: {subject:?} }} }}"
                    )
                }
            };
        }
        let _ = writeln!(text, "]");
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

//! `invoke`: one request and its answer, or one message and what becomes of it.

mod deliver;
mod login;

use async_nats::HeaderMap;
use bytes::Bytes;

use super::arguments::Invoke;
use super::program::Program;
use super::{Exit, Job, complain, say};
use crate::error::reply::check;
use crate::error::run_error::RunError;
use crate::error::{Error, Kind};
use crate::function::template::Template;
use crate::nats::client::Client;
use crate::nats::connect::{connect_as, unless_refused};
use crate::service::Definition;
use deliver::{captures, deliver};
use login::{Who, knows, login};

pub(super) async fn invoke(job: Job, arguments: Invoke) -> Result<Exit, RunError> {
    let subject = subject(&job.program, &arguments.what)?;
    let payload = Bytes::from(arguments.json.unwrap_or_default());
    let mut headers = HeaderMap::new();
    for (name, value) in arguments.headers {
        headers.append(name, value);
    }
    let user = arguments.user.as_deref();
    let takes = |service: &&Definition| {
        let mut streams = service.all_streams().into_iter();
        streams.any(|stream| captures(stream, &subject))
    };
    if let Some(service) = job.program.services().iter().find(takes) {
        let who = login(
            &job,
            user.or(Some("backend").filter(|name| knows(&job, name))),
        )?;
        deliver(&job, service, &who, &subject, headers, payload).await
    } else {
        let of_service = job
            .program
            .service_of(&arguments.what)
            .map(Definition::name);
        let own = of_service.filter(|name| knows(&job, name));
        let who = login(&job, user.or(job.config.invoke.user.as_deref()).or(own))?;
        request(&job, &who, &subject, headers, payload)
            .await
            .map_err(|error| match taken_for_a_subject(&job, &arguments.what) {
                Some(hint) => error.and(hint),
                None => error,
            })
    }
}

async fn request(
    job: &Job,
    who: &Who,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Exit, RunError> {
    let name = format!("{} invoke", job.name);
    let (client, mut refusals) = connect_as(&who.nats, &name, &who.section).await?;
    let client = Client::new(client);
    let asked = async {
        client
            .ask(subject, headers, payload)
            .await
            .map_err(|error| {
                let hint = match error.kind() {
                    Kind::Unavailable => "; does somebody serve it?",
                    _ => "",
                };
                Error::new(error.kind(), format!("{error}{hint}"))
            })
    };
    let answer = unless_refused(&mut refusals, asked).await?;
    say(String::from_utf8_lossy(&answer.payload));
    match check(&answer) {
        Ok(()) => Ok(Exit::SUCCESS),
        Err(error) => {
            complain(format_args!(
                "{}: {} {error}",
                job.name,
                error.kind().code()
            ));
            Ok(Exit::FAILURE)
        }
    }
}

/// The subject of a function, or the subject itself.
fn subject(program: &Program, what: &str) -> Result<String, RunError> {
    let named = program
        .services()
        .iter()
        .flat_map(|service| &service.functions)
        .find(|function| function.name() == what);
    let subjects = match named {
        Some(function) => function.subjects(),
        None if program.service_of(what).is_some() => Vec::new(),
        None => vec![what.to_owned()],
    };
    match subjects.as_slice() {
        [] => Err(RunError::misuse([format!(
            "{what} is background work: no request and no message reaches it"
        )])),
        [subject] if !subject.contains(['{', '*', '>']) => {
            Template::parse(subject).map_err(|problem| RunError::misuse([problem]))?;
            Ok(subject.clone())
        }
        several => Err(RunError::misuse([match named {
            None => format!("{what:?} is no subject that can be sent to: it has a wildcard"),
            Some(_) => format!(
                "{what} listens on {}; give a whole subject",
                several.join(" and ")
            ),
        }])),
    }
}

/// A name that looks like a function's and is none: most often it is misspelt.
fn taken_for_a_subject(job: &Job, what: &str) -> Option<String> {
    let names: Vec<&str> = job
        .program
        .services()
        .iter()
        .flat_map(|service| &service.functions)
        .map(|function| function.name())
        .collect();
    (!names.contains(&what) && !what.contains('.')).then(|| {
        format!(
            "{what} is no function of {}, so it was taken for a subject; its functions are: {}",
            job.name,
            names.join(", ")
        )
    })
}

//! `dead`: lists, shows, replays and drops dead letters.

use serde_json::{Value, json};

use super::arguments::Dead;
use super::{Exit, Job, complain, say};
use crate::error::run_error::RunError;
use crate::error::{Error, Kind};
use crate::nats::connect::connect_as;
use crate::nats::jetstream::Nats;
use crate::run::dead_letter::{self, DeadLetter};
use crate::service::definition::Definition;

/// How many are read at a time.
const AT_ONCE: usize = 100;

pub(super) async fn dead(job: Job, service: Option<&str>, command: Dead) -> Result<Exit, RunError> {
    let definition = match service {
        Some(name) => job.program.named(name)?,
        None => job.program.main(),
    };
    let service = definition.name();
    let (login, section) = job.program.login(&job.config, "dead", definition);
    let (nats, _) = connect_as(&login, &format!("{service} dead"), &section).await?;
    match command {
        Dead::List => {
            let letters = all(&nats, service).await?;
            if letters.is_empty() {
                complain(format_args!("{service} has no dead letters"));
            }
            for letter in &letters {
                say(line(letter));
            }
        }
        Dead::Show { id } => {
            let letter = dead_letter::show(&nats, service, id).await.map_err(wrong)?;
            say(format_args!("{:#}", whole(&letter)?));
        }
        Dead::Replay {
            mut ids,
            all: every,
            to_all,
        } => {
            if every {
                let letters = all(&nats, service).await?;
                ids = letters.iter().map(|letter| letter.id).collect();
            }
            return replay(&nats, definition, ids, to_all).await;
        }
        Dead::Drop { ids } => {
            let mut exit = Exit::SUCCESS;
            for id in ids {
                match dead_letter::drop(&nats, service, id).await {
                    Ok(()) => say(format_args!("{id} dropped")),
                    Err(error) => exit = failed(id, &error),
                }
            }
            return Ok(exit);
        }
    }
    Ok(Exit::SUCCESS)
}

async fn replay(
    nats: &Nats,
    definition: &Definition,
    ids: Vec<u64>,
    to_all: bool,
) -> Result<Exit, RunError> {
    let mut exit = Exit::SUCCESS;
    for id in ids {
        match replay_one(nats, definition, id, to_all).await {
            Ok((seq, without)) => {
                say(format_args!(
                    "{id} published again, sequence {seq}{without}"
                ));
            }
            // The other ids may work.
            Err(error) => exit = failed(id, &error),
        }
    }
    Ok(exit)
}

/// The sequence, and what the message has lost, in words.
async fn replay_one(
    nats: &Nats,
    definition: &Definition,
    id: u64,
    to_all: bool,
) -> Result<(u64, &'static str), Error> {
    let service = definition.name();
    let letter = dead_letter::show(nats, service, id).await?;
    let without = match letter.omits_headers() {
        true => ", without its headers: they did not fit into the dead letter",
        false => "",
    };
    let seq = match to_all {
        true => dead_letter::replay_to_all(nats, service, id).await,
        false => replay_to_its_function(nats, definition, &letter).await,
    };
    Ok((seq?, without))
}

/// Refuses a letter whose function the service no longer has: none would handle the message.
async fn replay_to_its_function(
    nats: &Nats,
    definition: &Definition,
    DeadLetter { id, function, .. }: &DeadLetter,
) -> Result<u64, Error> {
    let service = definition.name();
    let names: Vec<&str> = definition.consumers().map(|it| it.name.as_str()).collect();
    if names.contains(&function.as_str()) {
        return dead_letter::replay(nats, service, *id).await;
    }
    let names = names.join(", ");
    Err(Error::new(
        Kind::NotFound,
        format!(
            "it is for {function:?}, and {service} has no such function on a stream (it has {names}): `dead replay --to-all {id}` publishes it for each function of its stream"
        ),
    ))
}

async fn all(nats: &Nats, service: &str) -> Result<Vec<DeadLetter>, RunError> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    loop {
        let after = letters.last().map_or(0, |letter| letter.id);
        let read = dead_letter::list(nats, service, after, AT_ONCE)
            .await
            .map_err(wrong)?;
        let is_last = read.len() < AT_ONCE;
        letters.extend(read);
        if is_last {
            return Ok(letters);
        }
    }
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter {
        id,
        time,
        function,
        subject,
        reason,
        ..
    } = letter;
    format!("{id}  {time}  {function}  {subject}  {reason}")
}

/// The whole letter; its payload as JSON if it is JSON, else as text.
fn whole(letter: &DeadLetter) -> Result<Value, RunError> {
    let mut whole = serde_json::to_value(letter)?;
    let text = || json!(String::from_utf8_lossy(&letter.payload));
    whole["payload"] = serde_json::from_slice(&letter.payload).unwrap_or_else(|_| text());
    Ok(whole)
}

fn failed(id: u64, error: &Error) -> Exit {
    complain(format_args!("{id}: {error}"));
    Exit::FAILURE
}

fn wrong(error: Error) -> RunError {
    RunError::new(error.to_string())
}

//! `dead`: the dead letters, for the person who decides about them.

use serde_json::{Value, json};

use super::arguments::Dead;
use super::{Exit, Job, complain, say};
use crate::connect::connect_as;
use crate::dead_letter::{self, DeadLetter};
use crate::{Kind, RunError};

/// How many are read at a time.
const PAGE: usize = 100;

pub(super) async fn dead(job: Job, command: Dead) -> Result<Exit, RunError> {
    let config = &job.config;
    let section = config.section_of("dead");
    let name = format!("{} dead", job.name);
    let (nats, _) = connect_as(&config.nats_as("dead"), &name, &section).await?;
    let service = job.definition.name();
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
        Dead::Replay { ids, all: false } => return replay(&nats, service, ids).await,
        Dead::Replay { all: true, .. } => {
            let ids = all(&nats, service)
                .await?
                .iter()
                .map(|letter| letter.id)
                .collect();
            return replay(&nats, service, ids).await;
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

async fn replay(nats: &async_nats::Client, service: &str, ids: Vec<u64>) -> Result<Exit, RunError> {
    let mut exit = Exit::SUCCESS;
    for id in ids {
        match dead_letter::replay(nats, service, id).await {
            Ok(seq) => say(format_args!("{id} published again, sequence {seq}")),
            // The others may work.
            Err(error) => exit = failed(id, &error),
        }
    }
    Ok(exit)
}

async fn all(nats: &async_nats::Client, service: &str) -> Result<Vec<DeadLetter>, RunError> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    loop {
        let after = letters.last().map_or(0, |letter| letter.id);
        let page = match dead_letter::list(nats, service, after, PAGE).await {
            // Without the stream there never was a dead letter.
            Err(error) if error.kind() == Kind::NotFound => Vec::new(),
            page => page.map_err(wrong)?,
        };
        let is_last = page.len() < PAGE;
        letters.extend(page);
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

/// All of it, the payload as JSON where it is some, else as text.
fn whole(letter: &DeadLetter) -> Result<Value, RunError> {
    let mut whole = serde_json::to_value(letter)?;
    let text = || json!(String::from_utf8_lossy(&letter.payload));
    whole["payload"] = serde_json::from_slice(&letter.payload).unwrap_or_else(|_| text());
    Ok(whole)
}

fn failed(id: u64, error: &crate::Error) -> Exit {
    complain(format_args!("{id}: {error}"));
    Exit::FAILURE
}

fn wrong(error: crate::Error) -> RunError {
    RunError::new(error.to_string())
}

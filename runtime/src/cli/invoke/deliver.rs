//! `invoke` on a stream's subject: one message, and what becomes of it.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use tokio::time::Instant;

use super::login::Who;
use crate::cli::{Exit, Job, say};
use crate::error::Kind;
use crate::error::run_error::RunError;
use crate::function::template::overlap;
use crate::nats::client;
use crate::nats::connect::{connect_as, unless_refused};
use crate::nats::jetstream::{Nats, consumer_info, stream_info};
use crate::run::dead_letter;
use crate::service::Definition;
use crate::service::consumer::Consumer;
use crate::service::stream::Stream;

/// How often it is asked what became of a message.
const LOOK: Duration = Duration::from_millis(100);
/// How long a message may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes a message, and waits until each function that the stream feeds with it has
/// acknowledged it or has made it a dead letter.
pub(crate) async fn deliver(
    job: &Job,
    definition: &Definition,
    who: &Who,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Exit, RunError> {
    let service = definition.name();
    let name = format!("{} invoke", job.name);
    let (client, mut refusals) = connect_as(&who.nats, &name, &who.section).await?;
    // Who may publish may not see what becomes of it.
    let (login, section) = job.config.first_of(&[service]);
    let (functions, _) = connect_as(&login, &name, &section).await?;
    let (login, section) = job.program.login(&job.config, "dead", definition);
    let (dead, _) = connect_as(&login, &name, &section).await?;
    let letters_before = match stream_info(&dead, dead_letter::STREAM).await {
        Ok(info) => info.state.last_seq,
        Err(error) if error.kind() == Kind::NotFound => 0,
        Err(error) => return Err(RunError::new(error.to_string())),
    };
    let given = headers.get(NATS_MESSAGE_ID).map(ToString::to_string);
    let id = given.unwrap_or_else(|| format!("invoke-{}", nuid::next()));
    let client = client::Client::new(client);
    let append = client.append(subject, Some(&id), headers, payload);
    let appended = unless_refused(&mut refusals, append).await?;
    let streams = definition.all_streams();
    let stored = streams.iter().find(|stream| captures(stream, subject));
    let stored = stored.map_or("a stream", |stream| stream.name());
    if appended.duplicate {
        let seq = appended.seq;
        say(format_args!(
            "{stored} has a message of this Nats-Msg-Id already, with sequence {seq}: this one is not stored"
        ));
        return Ok(Exit::SUCCESS);
    }
    say(format_args!(
        "stored in {stored}, sequence {}",
        appended.seq
    ));
    let mut exit = Exit::SUCCESS;
    let consumers = definition.consumers().filter(|consumer| {
        captures(&consumer.stream, subject)
            && consumer
                .subjects()
                .iter()
                .any(|filter| overlap(filter, subject))
    });
    for consumer in consumers {
        let fate = Fate {
            service,
            consumer,
            seq: appended.seq,
            letters_before,
        };
        match fate.wait(&functions, &dead).await? {
            None => say(format_args!("{}: acknowledged", consumer.name)),
            Some((letter, reason)) => {
                say(format_args!(
                    "{}: dead letter {letter}: {reason}",
                    consumer.name
                ));
                exit = Exit::FAILURE;
            }
        }
    }
    Ok(exit)
}

/// A message on its way through a function.
struct Fate<'a> {
    service: &'a str,
    consumer: &'a Consumer,
    seq: u64,
    letters_before: u64,
}

impl Fate<'_> {
    /// Waits until the message is acknowledged, or returns its dead letter and the reason.
    async fn wait(&self, nats: &Nats, dead: &Nats) -> Result<Option<(u64, String)>, RunError> {
        let until = Instant::now() + SETTLE_TIMEOUT;
        let Consumer { name, stream, .. } = self.consumer;
        let durable = self.consumer.durable_name();
        loop {
            let info = consumer_info(nats, stream.name(), &durable).await;
            let info = info.map_err(|error| RunError::new(error.to_string()))?;
            // The dead letter is there before the message counts as settled: so it is looked for
            // second.
            if let Some(letter) = self.letter(dead).await? {
                return Ok(Some(letter));
            }
            if info.ack_floor.stream_seq >= self.seq {
                return Ok(None);
            }
            if Instant::now() > until {
                let (pending, open) = (info.num_pending, info.num_ack_pending);
                return Err(RunError::new(format!(
                    "{name} has not handled it within {} s ({pending} messages wait for it, {open} are with it); is it served?",
                    SETTLE_TIMEOUT.as_secs()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn letter(&self, dead: &Nats) -> Result<Option<(u64, String)>, RunError> {
        let letters = match dead_letter::list(dead, self.service, self.letters_before, 100).await {
            Err(error) if error.kind() == Kind::NotFound => Vec::new(),
            letters => letters.map_err(|error| RunError::new(error.to_string()))?,
        };
        let ours = letters.into_iter().find(|letter| {
            letter.sequence == self.seq
                && letter.stream == self.consumer.stream.name()
                && letter.function == self.consumer.name
        });
        Ok(ours.map(|letter| (letter.id, letter.reason)))
    }
}

/// Whether a message on the subject goes into the stream.
pub(crate) fn captures(stream: &Stream, subject: &str) -> bool {
    stream.subjects().any(|captured| overlap(captured, subject))
}

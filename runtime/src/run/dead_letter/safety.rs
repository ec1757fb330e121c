//! Which messages have dead letters, written once each, and whether those are as safe as their stream.

use std::collections::HashMap;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{STREAM, subject};
use crate::error::{Error, Kind, Result};
use crate::function::event::Message;
use crate::nats::client::Client;
use crate::nats::jetstream::{Nats, append, call, calls, stream_info};

/// Subjects of letters: as many as one answer takes.
#[derive(Deserialize)]
struct Subjects {
    #[serde(default)]
    total: usize,
    state: State,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    subjects: Option<HashMap<String, u64>>,
}

/// Distinguishes a service without dead letters from a missing dead-letter stream.
pub(super) async fn exists(nats: &Nats) -> Result<()> {
    match stream_info(nats, STREAM).await {
        Err(error) if error.kind() == Kind::NotFound => Err(Error::new(
            Kind::NotFound,
            format!("there is no stream {STREAM}: run `setup`"),
        )),
        found => found.map(|_| ()),
    }
}

/// Publishes if the subject has no message yet. Where the JetStream is not the server's own, that one may have answered
/// in its place, and not every answer says so: the letter must be in ours before its message is ended.
pub(super) async fn write_once(
    nats: &Nats,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<()> {
    let api = nats.api();
    let written = match append(nats, subject, headers, payload).await {
        Err(error) if error.kind() != Kind::Conflict => Err(error),
        _ => Ok(()),
    };
    if api.is_own() {
        return written;
    }
    if has_letter(nats, subject).await? {
        return Ok(());
    }
    written?;
    Err(Error::unavailable(format!(
        "the dead letter {subject} was acknowledged and is not in the stream {STREAM} of {api}: does a stream of the server's own JetStream capture it?"
    )))
}

/// Whether a message of `stream` has a dead letter of the function.
///
/// # Errors
/// [`Kind::Unavailable`] where JetStream does not answer.
pub async fn is_kept(
    client: &Client,
    service: &str,
    function: &str,
    stream: &str,
    message: &Message,
) -> Result<bool> {
    let subject = subject(service, function, stream, message);
    has_letter(client.nats(), &subject).await
}

/// Whether the stream has something on this subject.
pub(super) async fn has_letter(nats: &Nats, subject: &str) -> Result<bool> {
    let body = json!({ "subjects_filter": subject });
    match call::<Subjects>(nats, &calls::stream_info(STREAM), &body).await {
        Ok(found) => Ok(!found.state.subjects.unwrap_or_default().is_empty()),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The lowest sequence of `stream` that has a dead letter, if the dead letters have fewer replicas than
/// the stream (`replicas`). Purging the stream behind its consumer should stop there: should the letter
/// be lost, the stream has the only copy. `None` if the letters are as safe, or there are none.
///
/// # Errors
/// [`Kind::Unavailable`] where JetStream does not answer.
pub async fn first_less_safe(
    client: &Client,
    stream: &str,
    replicas: usize,
) -> Result<Option<u64>> {
    if replicas <= 1 {
        return Ok(None);
    }
    let nats = client.nats();
    match stream_info(nats, STREAM).await {
        Ok(letters) if letters.config.num_replicas >= replicas => return Ok(None),
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        letters => letters?,
    };
    let filter = format!("dead.*.*.{stream}.>");
    let mut first = None;
    let mut seen = 0;
    loop {
        let body = json!({ "subjects_filter": filter, "offset": seen });
        let found: Subjects = call(nats, &calls::stream_info(STREAM), &body).await?;
        let subjects = found.state.subjects.unwrap_or_default();
        let sequences = subjects.keys().filter_map(|subject| sequence(subject));
        first = first.into_iter().chain(sequences).min();
        seen += subjects.len();
        if subjects.is_empty() || seen >= found.total {
            return Ok(first);
        }
    }
}

/// The sequence in `dead.<service>.<function>.<stream>.<sequence>-<time>`.
fn sequence(subject: &str) -> Option<u64> {
    let (sequence, _) = subject.rsplit('.').next()?.split_once('-')?;
    sequence.parse().ok()
}

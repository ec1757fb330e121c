//! Dead letters: messages that a function cannot handle, kept with their reason until somebody
//! replays or drops them.

mod parts;
mod safety;
mod write;

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use serde::{Serialize, Serializer};

use crate::error::{Error, Kind, Result};
use crate::function::event::{Message, nanoseconds};
use crate::nats::jetstream::raw_message::{RawMessage, from_base64};
use crate::nats::jetstream::{Nats, append, call, calls, parse_time};
use crate::nats::replay;
use safety::exists;
use write::one_line_exact;

/// The stream that holds them.
pub use crate::service::stream::DEAD_LETTERS as STREAM;
pub use safety::{first_less_safe, is_kept};
pub(crate) use write::{Checked, check, plan, write};

const SUBJECT: &str = "Dead-Letter-Subject";
const SOURCE: &str = "Dead-Letter-Stream";
const SEQUENCE: &str = "Dead-Letter-Sequence";
const TIME: &str = "Dead-Letter-Time";
const SERVICE: &str = "Dead-Letter-Service";
const FUNCTION: &str = "Dead-Letter-Function";
const KIND: &str = "Dead-Letter-Kind";
const REASON: &str = "Dead-Letter-Reason";
const ATTEMPTS: &str = "Dead-Letter-Attempts";
/// `omitted` if the original's headers did not fit.
const HEADERS: &str = "Dead-Letter-Headers";
/// The original's headers as stored, in base64, if no client can parse them.
const BLOCK: &str = "Dead-Letter-Header-Block";
/// Prefix of the original's headers: without it, many would take effect here.
const ORIGINAL: &str = "Original-";

/// The subject of a message's dead letter; a message has one per function.
fn subject(service: &str, function: &str, stream: &str, message: &Message) -> String {
    let (seq, time_ns) = (message.seq(), message.time_ns());
    format!("dead.{service}.{function}.{stream}.{seq}-{time_ns}")
}

/// The subjects of all dead letters of a function.
pub(crate) fn subjects(service: &str, function: &str) -> String {
    format!("dead.{service}.{function}.>")
}

/// A dead letter.
#[derive(Debug, Serialize)]
pub struct DeadLetter {
    /// Its sequence in the dead-letter stream: what `show`, `replay` and `drop` take.
    pub id: u64,
    /// The service whose function could not handle it.
    pub service: String,
    /// That function.
    pub function: String,
    /// The subject under which the message was stored.
    pub subject: String,
    /// The stream that holds, or held, it.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// When that stream stored it, RFC 3339.
    pub time: String,
    /// The kind of the error.
    pub kind: String,
    /// Why it could not be handled.
    pub reason: String,
    /// How often it was tried alone and failed.
    pub attempts: u32,
    /// The message's own headers; where they did not fit, only `Dead-Letter-Headers: omitted`.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Those headers as stored, if no client can parse them; `headers` has the well-formed ones.
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub header_block: Option<bytes::Bytes>,
    /// The message's own bytes. If they did not fit into one message of the dead-letter stream, only
    /// [`show`] returns all of them.
    #[serde(skip)]
    pub payload: bytes::Bytes,
}

impl DeadLetter {
    /// Whether the message's own headers are lost: they did not fit beside those of the dead letter.
    pub fn omits_headers(&self) -> bool {
        self.headers.contains_key(HEADERS)
    }
}

/// The dead letters of a service, oldest first, those after `after`, at most `limit`.
///
/// # Errors
/// [`Kind::NotFound`] where there is no dead-letter stream yet, [`Kind::Unavailable`] where
/// JetStream does not answer.
pub async fn list(nats: &Nats, service: &str, after: u64, limit: usize) -> Result<Vec<DeadLetter>> {
    exists(nats).await?;
    let mut letters: Vec<DeadLetter> = Vec::new();
    let mut next = after.saturating_add(1);
    while letters.len() < limit {
        let body = serde_json::json!({ "seq": next, "next_by_subj": format!("dead.{service}.>") });
        match call::<RawMessage>(nats, &calls::message(STREAM), &body).await {
            Ok(raw) => {
                next = raw.seq() + 1;
                if !parts::is_one(&raw)? {
                    letters.push(parse(&raw)?);
                }
            }
            Err(error) if error.kind() == Kind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(letters)
}

/// One dead letter of a service.
///
/// # Errors
/// [`Kind::NotFound`] where the service has none with that id, or there is no dead-letter stream.
pub async fn show(nats: &Nats, service: &str, id: u64) -> Result<DeadLetter> {
    let (raw, mut letter) = find(nats, service, id).await?;
    letter.payload = parts::read(nats, &raw, letter.payload).await?;
    Ok(letter)
}

/// A dead letter as it is stored, without its further parts.
async fn find(nats: &Nats, service: &str, id: u64) -> Result<(RawMessage, DeadLetter)> {
    exists(nats).await?;
    let none = || Error::new(Kind::NotFound, format!("{service} has no dead letter {id}"));
    if id == 0 {
        return Err(none());
    }
    let body = serde_json::json!({ "seq": id });
    let raw: RawMessage = call(nats, &calls::message(STREAM), &body)
        .await
        .map_err(|error| {
            if error.kind() == Kind::NotFound {
                none()
            } else {
                error
            }
        })?;
    let letter = parse(&raw)?;
    if letter.service == service {
        Ok((raw, letter))
    } else {
        Err(none())
    }
}

/// Publishes the message again under its subject and a new message id, for the function that failed.
/// Other functions acknowledge it without running, or take it for a duplicate if they have a natural
/// key. The dead letter is deleted once the stream holds the message. Returns its new sequence.
///
/// A function with an inbox (`Tx`) identifies the message by its original: if that was stored after
/// all, or is replayed twice, nothing is done again.
///
/// # Errors
/// [`Kind::NotFound`] as [`show`]; or the stream does not take the message, and then the dead letter
/// stays.
pub async fn replay(nats: &Nats, service: &str, id: u64) -> Result<u64> {
    let letter = show(nats, service, id).await?;
    let mut headers = original(&letter);
    headers.insert(
        replay::FOR,
        format!("{}.{}", letter.service, letter.function),
    );
    // A replay that has failed again names its original already.
    if headers.get(replay::OF).is_none() {
        let time = nanoseconds(parse_time(&letter.time).map_err(Error::internal)?);
        let place = format!("{}.{}-{time}", letter.stream, letter.sequence);
        headers.insert(replay::OF, place);
        if let Some(id) = letter
            .headers
            .get("Nats-Msg-Id")
            .and_then(|ids| ids.first())
        {
            headers.insert(replay::ID, one_line_exact(id));
        }
    }
    publish_again(nats, letter, headers).await
}

/// Publishes the message again as a new one: every function of the stream is called with it, even those
/// that have handled it. Otherwise as [`replay`].
///
/// # Errors
/// As [`replay`].
pub async fn replay_to_all(nats: &Nats, service: &str, id: u64) -> Result<u64> {
    let letter = show(nats, service, id).await?;
    let mut headers = HeaderMap::new();
    for (name, values) in original(&letter).iter() {
        let name: &str = name.as_ref();
        if ![replay::FOR, replay::OF, replay::ID].contains(&name) {
            values
                .iter()
                .for_each(|value| headers.append(name, value.clone()));
        }
    }
    publish_again(nats, letter, headers).await
}

/// The message's own headers.
fn original(letter: &DeadLetter) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in &letter.headers {
        // The server's own headers were instructions to the stream at that time, or the server's stamp.
        if name.to_ascii_lowercase().starts_with("nats-") || name == HEADERS {
            continue;
        }
        for value in values {
            headers.append(name.as_str(), one_line_exact(value));
        }
    }
    headers
}

async fn publish_again(nats: &Nats, letter: DeadLetter, mut headers: HeaderMap) -> Result<u64> {
    let id = letter.id;
    headers.insert(
        async_nats::header::NATS_MESSAGE_ID,
        format!("replay-{}", nuid::next()),
    );
    let (appended, _) = append(nats, &letter.subject, headers, letter.payload).await?;
    if appended.duplicate {
        return Err(Error::new(
            Kind::Conflict,
            format!("dead letter {id} was not stored again: the stream says it is a duplicate"),
        ));
    }
    drop(nats, &letter.service, id).await?;
    Ok(appended.seq)
}

/// Deletes a dead letter for good.
///
/// # Errors
/// [`Kind::NotFound`] as [`show`].
pub async fn drop(nats: &Nats, service: &str, id: u64) -> Result<()> {
    let (raw, _) = find(nats, service, id).await?;
    delete(nats, id).await?;
    parts::delete_all(nats, &raw).await
}

async fn delete(nats: &Nats, id: u64) -> Result<()> {
    let body = serde_json::json!({ "seq": id, "no_erase": true });
    let _: serde_json::Value = call(nats, &calls::delete_message(STREAM), &body).await?;
    Ok(())
}

fn parse(raw: &RawMessage) -> Result<DeadLetter> {
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in raw.headers()? {
        match name.strip_prefix(ORIGINAL) {
            Some(name) => headers.entry(name.into()).or_default().push(value),
            None if name == HEADERS => headers.entry(name).or_default().push(value),
            None => {
                own.insert(name, value);
            }
        }
    }
    let mut take = |name: &str| own.remove(name).unwrap_or_default();
    Ok(DeadLetter {
        id: raw.seq(),
        service: take(SERVICE),
        function: take(FUNCTION),
        subject: take(SUBJECT),
        stream: take(SOURCE),
        sequence: take(SEQUENCE).parse().unwrap_or_default(),
        time: take(TIME),
        kind: take(KIND),
        reason: take(REASON),
        attempts: take(ATTEMPTS).parse().unwrap_or_default(),
        header_block: match take(BLOCK) {
            none if none.is_empty() => None,
            block => Some(from_base64(&block)?.into()),
        },
        headers,
        payload: raw.payload()?,
    })
}

fn as_text<S: Serializer>(block: &Option<bytes::Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(
        block.as_deref().unwrap_or_default(),
    ))
}

//! Dead letters: messages that a function cannot handle, kept with their reason until somebody
//! replays or drops them.

use std::collections::BTreeMap;

use async_nats::{Client, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::error::{Error, Kind, Result};
use crate::error_reply::one_line;
use crate::event::Entry;
use crate::jetstream::{RawMessage, append, call, format_time, from_base64, stream_info};
use crate::stream::Stream;
use crate::trace_context::TraceContext;

/// The stream that holds them.
pub const STREAM: &str = "DEAD_LETTERS";

const SUBJECT: &str = "Dead-Letter-Subject";
const SOURCE: &str = "Dead-Letter-Stream";
const SEQUENCE: &str = "Dead-Letter-Sequence";
const TIME: &str = "Dead-Letter-Time";
const SERVICE: &str = "Dead-Letter-Service";
const FUNCTION: &str = "Dead-Letter-Function";
const KIND: &str = "Dead-Letter-Kind";
const REASON: &str = "Dead-Letter-Reason";
const ATTEMPTS: &str = "Dead-Letter-Attempts";
/// Says `omitted` where the original's headers did not fit.
const HEADERS: &str = "Dead-Letter-Headers";
/// The original's headers as they were stored, in base64, where no client can read them.
const BLOCK: &str = "Dead-Letter-Header-Block";
/// Before each header of the original: many of them would have an effect of their own here.
const ORIGINAL: &str = "Original-";

/// What the dead-letter stream must be: limits, discard new. Nothing leaves it by itself.
pub(crate) fn stream() -> Stream {
    Stream::new(STREAM, ["dead.>"])
}

/// Writes a message as a dead letter. Written already counts as success: a crash between this and
/// the term repeats it. A message whose headers do not fit beside those of the dead letter is
/// written without them; its bytes are always whole.
pub(crate) async fn write(
    nats: &Client,
    service: &str,
    function: &str,
    entry: &Entry,
    error: &Error,
    attempts: u32,
) -> Result<()> {
    let stream = &entry.stream().name;
    let subject = format!(
        "dead.{service}.{function}.{stream}.{}-{}",
        entry.seq(),
        entry.time_ns()
    );
    let mut headers = HeaderMap::new();
    TraceContext::of(entry.headers()).write(&mut headers);
    headers.insert(SUBJECT, entry.subject());
    headers.insert(SOURCE, stream.as_str());
    headers.insert(SEQUENCE, entry.seq().to_string());
    headers.insert(TIME, format_time(entry.time()));
    headers.insert(SERVICE, service);
    headers.insert(FUNCTION, function);
    headers.insert(KIND, format!("{:?}", error.kind()));
    headers.insert(REASON, one_line(&error.to_string()));
    headers.insert(ATTEMPTS, attempts.to_string());
    headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    let payload = entry.payload();
    let mut whole = with_original(headers.clone(), entry.headers());
    if let Some(unreadable) = &entry.unreadable {
        whole.insert(BLOCK, STANDARD.encode(&unreadable.block));
    }
    let mut written = append(nats, &subject, whole, payload.clone()).await;
    if matches!(&written, Err(error) if error.kind() == Kind::TooLarge) {
        headers.insert(HEADERS, "omitted");
        written = append(nats, &subject, headers, payload.clone()).await;
    }
    match written {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == Kind::Conflict => Ok(()),
        Err(error) => Err(error),
    }
}

fn with_original(mut headers: HeaderMap, original: &HeaderMap) -> HeaderMap {
    for (name, values) in original.iter() {
        for value in values {
            headers.append(
                format!("{ORIGINAL}{name}").as_str(),
                one_line_exact(value.as_str()),
            );
        }
    }
    headers
}

/// A header's value from the wire has no line breaks; this only guards async-nats' panic.
fn one_line_exact(value: &str) -> String {
    value.replace(['\r', '\n'], " ")
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
    /// Those headers as they were stored, where no client can read them off the wire; `headers` has
    /// what is well-formed in them.
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub header_block: Option<bytes::Bytes>,
    /// The message's own bytes.
    #[serde(skip)]
    pub payload: bytes::Bytes,
}

/// The dead letters of a service, oldest first, those after `after`, at most `limit`.
///
/// # Errors
/// [`Kind::NotFound`] where there is no dead-letter stream yet, [`Kind::Unavailable`] where
/// JetStream does not answer.
pub async fn list(
    nats: &Client,
    service: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<DeadLetter>> {
    stream_info(nats, STREAM).await?;
    let mut letters: Vec<DeadLetter> = Vec::new();
    while letters.len() < limit {
        let next = letters.last().map_or(after, |letter| letter.id) + 1;
        let body = serde_json::json!({ "seq": next, "next_by_subj": format!("dead.{service}.>") });
        match call::<RawMessage>(nats, &format!("STREAM.MSG.GET.{STREAM}"), &body).await {
            Ok(raw) => letters.push(parse(&raw)?),
            Err(error) if error.kind() == Kind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(letters)
}

/// One dead letter of a service.
///
/// # Errors
/// [`Kind::NotFound`] where the service has none with that id.
pub async fn show(nats: &Client, service: &str, id: u64) -> Result<DeadLetter> {
    let none = || Error::new(Kind::NotFound, format!("{service} has no dead letter {id}"));
    let body = serde_json::json!({ "seq": id });
    let raw: RawMessage = call(nats, &format!("STREAM.MSG.GET.{STREAM}"), &body)
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
        Ok(letter)
    } else {
        Err(none())
    }
}

/// Publishes the message again under its subject and a new message id, and deletes the dead letter
/// once the stream holds it. Returns its new sequence.
///
/// # Errors
/// [`Kind::NotFound`] as [`show`]; whatever keeps the stream from taking it, and then the dead
/// letter stays.
pub async fn replay(nats: &Client, service: &str, id: u64) -> Result<u64> {
    let letter = show(nats, service, id).await?;
    let mut headers = HeaderMap::new();
    for (name, values) in &letter.headers {
        // The server's own headers were an order to the stream at the time, or its stamp.
        if name.to_ascii_lowercase().starts_with("nats-") || name == HEADERS {
            continue;
        }
        for value in values {
            headers.append(name.as_str(), one_line_exact(value));
        }
    }
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
    drop(nats, service, id).await?;
    Ok(appended.seq)
}

/// Deletes a dead letter for good.
///
/// # Errors
/// [`Kind::NotFound`] as [`show`].
pub async fn drop(nats: &Client, service: &str, id: u64) -> Result<()> {
    show(nats, service, id).await?;
    let body = serde_json::json!({ "seq": id, "no_erase": true });
    let _: serde_json::Value = call(nats, &format!("STREAM.MSG.DELETE.{STREAM}"), &body).await?;
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

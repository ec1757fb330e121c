//! The few JetStream API calls that the runtime makes itself, with the fields that it reads.
//!
//! async-nats' own types hold times whose type depends on a feature that any other crate in the
//! build may switch on; these do not.

pub(crate) mod calls;
mod connection;
pub(crate) mod raw_message;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{Error, Kind, Result};

pub use connection::Nats;

const STREAM_NOT_FOUND: u64 = 10059;
const CONSUMER_NOT_FOUND: [u64; 2] = [10014, 10149];
const CONSUMER_EXISTS: u64 = 10148;
const NOT_ENABLED: [u64; 2] = [10039, 10076];
const MESSAGE_NOT_FOUND: u64 = 10037;
/// The whole message, or its headers, which may have 64 KiB.
const TOO_LARGE: [u64; 2] = [10054, 10097];
const INSUFFICIENT_RESOURCES: u64 = 10023;
/// The last sequence, or the last id, is not the one that was expected.
const WRONG_LAST: [u64; 3] = [10070, 10071, 10164];

/// How long an API call may take; the server answers in microseconds or is away.
const API_TIMEOUT: Duration = Duration::from_secs(5);

/// An error of the JetStream API.
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("{description} (JetStream error {err_code})")]
pub struct ApiError {
    /// The server's number for it.
    #[serde(default)]
    pub err_code: u64,
    /// The server's sentence.
    #[serde(default)]
    pub description: String,
}

#[derive(Deserialize)]
struct Envelope {
    error: Option<ApiError>,
}

/// A stream as it is.
#[derive(Debug, Deserialize)]
pub struct StreamInfo {
    /// What it is configured to be.
    pub config: async_nats::jetstream::stream::Config,
    /// When this life of it began.
    #[serde(deserialize_with = "instant")]
    pub created: SystemTime,
    /// What it holds.
    pub state: StreamState,
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
    /// The lowest sequence still there.
    pub first_seq: u64,
    /// The highest sequence ever given.
    pub last_seq: u64,
}

/// A durable consumer as it is.
#[derive(Clone, Debug, Deserialize)]
pub struct ConsumerInfo {
    /// What it is configured to be, as the server has it.
    #[serde(default)]
    pub(crate) config: serde_json::Map<String, serde_json::Value>,
    /// When it was made.
    #[serde(deserialize_with = "instant")]
    pub created: SystemTime,
    /// Up to where everything is settled.
    pub ack_floor: SequencePair,
    /// Up to where everything is delivered.
    pub delivered: SequencePair,
    /// Messages not yet delivered.
    #[serde(default)]
    pub num_pending: u64,
    /// Messages delivered and not yet settled.
    #[serde(default)]
    pub num_ack_pending: u64,
    /// Messages delivered more than once and not yet settled.
    #[serde(default)]
    pub num_redelivered: u64,
    /// When it was so, by the server's clock.
    #[serde(rename = "ts", deserialize_with = "instant")]
    pub(crate) time: SystemTime,
    /// Somebody has paused it: it delivers nothing.
    #[serde(default)]
    pub paused: bool,
}

impl ConsumerInfo {
    /// What its metadata says under a key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.config.get("metadata")?.get(key)?.as_str()
    }
}

/// A position of a consumer.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SequencePair {
    /// In the stream.
    pub stream_seq: u64,
    /// In the consumer's own count of deliveries.
    pub consumer_seq: u64,
}

fn instant<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_time(&text).map_err(serde::de::Error::custom)
}

/// Reads RFC 3339 with the server's nanoseconds.
pub(crate) fn parse_time(text: &str) -> Result<SystemTime, String> {
    let time =
        OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("{text:?}: {error}"))?;
    let nanos = u64::try_from(time.unix_timestamp_nanos().max(0)).unwrap_or(u64::MAX);
    Ok(UNIX_EPOCH + Duration::from_nanos(nanos))
}

/// A time as RFC 3339, UTC.
pub(crate) fn format_time(time: SystemTime) -> String {
    OffsetDateTime::from(time)
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// Calls the API of the JetStream that is meant.
pub(crate) async fn call<T: DeserializeOwned>(
    nats: &Nats,
    call: &str,
    body: &(impl Serialize + Sync),
) -> Result<T> {
    let subject = nats.api().subject(&calls::whole(call));
    let payload = match serde_json::to_vec(body).map_err(Error::from)? {
        // Some calls take nothing, and that is not JSON's null.
        null if null == b"null" => Vec::new(),
        payload => payload,
    };
    let request = async_nats::Request::new()
        .payload(payload.into())
        .timeout(Some(API_TIMEOUT));
    let answer = nats
        .send_request(subject.clone(), request)
        .await
        .map_err(|error| {
            Error::unavailable(format!("JetStream does not answer {subject}: {error}"))
                .with_source(error)
        })?;
    read(&subject, &answer.payload)
}

fn read<T: DeserializeOwned>(subject: &str, payload: &[u8]) -> Result<T> {
    let strange = |error: serde_json::Error| {
        Error::internal(format!(
            "{subject} answered what is not understood: {error}"
        ))
    };
    let envelope: Envelope = serde_json::from_slice(payload).map_err(strange)?;
    match envelope.error {
        Some(error) => Err(api_error(error)),
        None => serde_json::from_slice(payload).map_err(strange),
    }
}

fn api_error(error: ApiError) -> Error {
    let kind = match error.err_code {
        STREAM_NOT_FOUND | MESSAGE_NOT_FOUND => Kind::NotFound,
        code if CONSUMER_NOT_FOUND.contains(&code) => Kind::NotFound,
        CONSUMER_EXISTS => Kind::Conflict,
        code if TOO_LARGE.contains(&code) => Kind::TooLarge,
        code if WRONG_LAST.contains(&code) => Kind::Conflict,
        _ => Kind::Unavailable,
    };
    let cure = match error.err_code {
        INSUFFICIENT_RESOURCES => {
            ": JetStream took its limit from what was free on its disk at its start; make room and start \
             nats-server again, or set max_file_store"
        }
        _ => "",
    };
    Error::new(kind, format!("{error}{cure}")).with_source(error)
}

/// Whether the stream said that it has no such message; without a stream there is none to say so.
pub(crate) fn is_without_message(error: &Error) -> bool {
    let api = error
        .source()
        .and_then(|source| source.downcast_ref::<ApiError>());
    api.is_some_and(|api| api.err_code == MESSAGE_NOT_FOUND)
}

/// Whether nobody takes calls: there is no such JetStream, no way to it now, or none for the account.
pub(crate) fn is_without_jetstream(error: &Error) -> bool {
    let source = error.source();
    let request = source.and_then(|source| source.downcast_ref::<async_nats::RequestError>());
    let api = source.and_then(|source| source.downcast_ref::<ApiError>());
    request.is_some_and(|it| it.kind() == async_nats::RequestErrorKind::NoResponders)
        || api.is_some_and(|api| NOT_ENABLED.contains(&api.err_code))
}

/// A stream, or [`Kind::NotFound`].
pub(crate) async fn stream_info(nats: &Nats, stream: &str) -> Result<StreamInfo> {
    call(nats, &calls::stream_info(stream), &()).await
}

/// A consumer, or [`Kind::NotFound`].
pub(crate) async fn consumer_info(
    nats: &Nats,
    stream: &str,
    consumer: &str,
) -> Result<ConsumerInfo> {
    call(nats, &calls::consumer_info(stream, consumer), &()).await
}

/// A stream's word that it holds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The message's sequence; for a duplicate that of the message stored before.
    pub seq: u64,
    /// The stream knew the message id already and stored nothing.
    pub duplicate: bool,
}

#[derive(Deserialize)]
struct PubAck {
    stream: String,
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    domain: Option<String>,
}

/// Publishes and waits for the stream's PubAck, which also names the stream. It must be of the JetStream that is meant:
/// a leaf node's own may capture the subject too, and answers first.
pub(crate) async fn append(
    nats: &Nats,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<(Appended, String)> {
    use async_nats::RequestErrorKind::{InvalidSubject, MaxPayloadExceeded, NoResponders};
    let on_the_wire = nats.api().subject(subject);
    let answer = nats
        .request_with_headers(on_the_wire, headers, payload)
        .await
        .map_err(|error| {
            let (kind, what) = match error.kind() {
                InvalidSubject => (Kind::BadRequest, "is no subject"),
                MaxPayloadExceeded => (Kind::TooLarge, "is over the server's max_payload"),
                NoResponders => (
                    Kind::Unavailable,
                    "is captured by no stream; was `setup` run?",
                ),
                _ => (Kind::Unavailable, "was not acknowledged"),
            };
            Error::new(kind, format!("a message on {subject} {what}: {error}")).with_source(error)
        })?;
    let ack: PubAck = read(subject, &answer.payload).map_err(|error| nats.refusal(error))?;
    nats.check_domain(subject, &ack.stream, ack.domain.as_deref())
        .await?;
    let appended = Appended {
        seq: ack.seq,
        duplicate: ack.duplicate,
    };
    Ok((appended, ack.stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        let time = parse_time("2026-11-24T05:59:31.123456789Z").unwrap();
        assert_eq!(format_time(time), "2026-11-24T05:59:31.123456789Z");
    }
}

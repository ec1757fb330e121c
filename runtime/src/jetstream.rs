//! The few JetStream API calls that the runtime makes itself, with the fields that it reads.
//!
//! async-nats' own types hold times whose type depends on a feature that any other crate in the
//! build may switch on; these do not.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::client::Appended;
use crate::error::{Error, Kind, Result};
use crate::event::Message;
use crate::read::nanoseconds;
use crate::unreadable::examine;

const STREAM_NOT_FOUND: u64 = 10059;
const CONSUMER_NOT_FOUND: u64 = 10014;
const MESSAGE_NOT_FOUND: u64 = 10037;
const MESSAGE_TOO_LARGE: u64 = 10054;
const WRONG_LAST_SEQUENCE: [u64; 2] = [10071, 10164];

/// How long an API call may take; the server answers in microseconds or is away.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Calls `$JS.API.<call>`.
pub(crate) async fn call<T: DeserializeOwned>(
    nats: &Client,
    call: &str,
    body: &(impl Serialize + Sync),
) -> Result<T> {
    let subject = format!("$JS.API.{call}");
    let payload = match serde_json::to_vec(body).map_err(Error::from)? {
        // Some calls take nothing, and that is not JSON's null.
        null if null == b"null" => Vec::new(),
        payload => payload,
    };
    let request = async_nats::Request::new()
        .payload(payload.into())
        .timeout(Some(PATIENCE));
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
        STREAM_NOT_FOUND | CONSUMER_NOT_FOUND | MESSAGE_NOT_FOUND => Kind::NotFound,
        MESSAGE_TOO_LARGE => Kind::TooLarge,
        code if WRONG_LAST_SEQUENCE.contains(&code) => Kind::Conflict,
        _ => Kind::Unavailable,
    };
    Error::new(kind, error.to_string()).with_source(error)
}

/// A stream, or [`Kind::NotFound`].
pub(crate) async fn stream_info(nats: &Client, stream: &str) -> Result<StreamInfo> {
    call(nats, &format!("STREAM.INFO.{stream}"), &()).await
}

/// A consumer, or [`Kind::NotFound`].
pub(crate) async fn consumer_info(
    nats: &Client,
    stream: &str,
    consumer: &str,
) -> Result<ConsumerInfo> {
    call(nats, &format!("CONSUMER.INFO.{stream}.{consumer}"), &()).await
}

#[derive(Deserialize)]
struct PubAck {
    stream: String,
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

/// Publishes and waits for the stream's PubAck, which also names the stream.
pub(crate) async fn append(
    nats: &Client,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<(Appended, String)> {
    use async_nats::RequestErrorKind::{InvalidSubject, MaxPayloadExceeded, NoResponders};
    let answer = nats
        .request_with_headers(subject.to_owned(), headers, payload)
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
    let ack: PubAck = read(subject, &answer.payload)?;
    let appended = Appended {
        seq: ack.seq,
        duplicate: ack.duplicate,
    };
    Ok((appended, ack.stream))
}

/// A message as `STREAM.MSG.GET` answers it.
#[derive(Deserialize)]
pub(crate) struct RawMessage {
    message: RawFields,
}

#[derive(Deserialize)]
struct RawFields {
    subject: String,
    seq: u64,
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl RawMessage {
    pub(crate) fn seq(&self) -> u64 {
        self.message.seq
    }

    pub(crate) fn time(&self) -> Result<SystemTime> {
        parse_time(&self.message.time).map_err(Error::internal)
    }

    pub(crate) fn payload(&self) -> Result<Bytes> {
        Ok(from_base64(&self.message.data)?.into())
    }

    /// The headers as they are stored.
    fn block(&self) -> Result<Vec<u8>> {
        from_base64(&self.message.hdrs)
    }

    /// The headers, in their order. A line that is none is left out.
    pub(crate) fn headers(&self) -> Result<Vec<(String, String)>> {
        Ok(String::from_utf8_lossy(&self.block()?)
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect())
    }

    pub(crate) fn read(&self) -> Result<Message> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers()? {
            // What async-nats would refuse, or panic on, is no header anybody could have read.
            if let (Ok(name), false) = (
                name.parse::<async_nats::HeaderName>(),
                value.contains(['\r', '\n']),
            ) {
                headers.append(name, value);
            }
        }
        Ok(Message {
            subject: self.message.subject.as_str().into(),
            headers,
            payload: self.payload()?,
            seq: self.message.seq,
            time_ns: nanoseconds(parse_time(&self.message.time).map_err(Error::internal)?),
            unreadable: examine(&self.message.subject, &self.block()?).map(Arc::new),
        })
    }
}

pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(Error::from)
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

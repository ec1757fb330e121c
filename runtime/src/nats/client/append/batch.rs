//! Messages that one stream stores together or not at all, as nats-server takes them (ADR-50).

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request, Subject};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use crate::nats::jetstream::ApiError;

const ID: &str = "Nats-Batch-Id";
const SEQUENCE: &str = "Nats-Batch-Sequence";
const COMMIT: &str = "Nats-Batch-Commit";
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// What these headers take of a message's `max_payload`, at most.
const HEADERS_SIZE: usize = 128;

/// The most messages that a server takes in one batch, unless it is told otherwise.
pub(super) const LARGEST: usize = 1000;
/// The most bytes: a larger batch makes whoever waits for it wait longer than its one sync is worth.
pub(super) const LARGEST_BYTES: usize = 4 << 20;

/// Longer than a caller waits, so that each caller is told by its own time limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// A stream that takes no batches is asked again after this time: `setup` may have changed it.
const ASK_AGAIN: Duration = Duration::from_secs(60);

const DISABLED: u64 = 10174;
const INCOMPLETE: u64 = 10176;
const UNSUPPORTED_HEADER: u64 = 10177;
const TOO_LARGE: u64 = 10199;
/// An account's or the server's space has ended, which the server may find when a part is stored already.
const OUT_OF_SPACE: [u64; 4] = [10002, 10023, 10028, 10047];

/// A message that is to be appended.
pub(super) struct Outgoing {
    pub(super) subject: Subject,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

impl Outgoing {
    pub(super) fn new(subject: &str, headers: HeaderMap, payload: Bytes) -> Self {
        Self {
            subject: subject.into(),
            headers,
            payload,
        }
    }

    /// Its size as one of a batch. None where it cannot be one: what other headers ask of the stream, such as an
    /// expected sequence, means something else there.
    pub(super) fn size_in_batch(&self, max_payload: usize) -> Option<usize> {
        let mut names = self.headers.iter().map(|(name, _)| name.as_ref());
        let is_plain = names.all(|name: &str| {
            let prefix = name.get(..5);
            !prefix.is_some_and(|it| it.eq_ignore_ascii_case("nats-")) || name == MESSAGE_ID
        });
        let size = self.size() + HEADERS_SIZE;
        (is_plain && size <= max_payload).then_some(size)
    }

    /// Its bytes on the wire, without the subject.
    fn size(&self) -> usize {
        let lines = self.headers.iter().flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values
                .iter()
                .map(|value| name.len() + value.as_str().len() + 4)
        });
        lines.sum::<usize>() + self.payload.len()
    }

    pub(super) fn has_id(&self) -> bool {
        self.headers.get(MESSAGE_ID).is_some()
    }
}

/// Headers without those of the batch that a message came in: sent again they would make it a part of that.
pub(in crate::nats::client) fn without_batch(headers: HeaderMap) -> HeaderMap {
    if headers.get(ID).is_none() {
        return headers;
    }
    let others = headers.iter().filter(|(name, _)| {
        let name: &str = name.as_ref();
        ![ID, SEQUENCE, COMMIT].contains(&name)
    });
    let mut kept = HeaderMap::new();
    for (name, values) in others {
        for value in values {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// What has become of a batch.
pub(super) enum Sent {
    /// All are stored, the first with this sequence.
    Stored { stream: String, first: u64 },
    /// None is stored.
    Refused(Refusal),
    /// The server has said that space has ended, and a part may be stored.
    OutOfSpace(ApiError),
    /// Nobody knows.
    Unanswered,
}

pub(super) enum Refusal {
    /// The stream takes no such batches.
    NoBatches,
    /// The server takes smaller ones only.
    Size,
    /// One of the messages, or something else that passes.
    Message,
}

#[derive(Deserialize)]
struct Answer {
    error: Option<ApiError>,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    batch: String,
    #[serde(default)]
    count: u64,
}

/// Publishes all as one batch.
pub(super) async fn publish(nats: &Client, messages: &[&Outgoing]) -> Sent {
    let id = nuid::next().to_string();
    let sent = send(nats, &id, messages).await;
    if !matches!(sent, Sent::Stored { .. })
        && let Some(message) = messages.last()
    {
        // What is left of it counts against the batches that a stream may have open, and a gap ends it.
        let end = headers(&HeaderMap::new(), &id, messages.len() + 2);
        let subject = message.subject.clone();
        let _ = nats.publish_with_headers(subject, end, Bytes::new()).await;
    }
    sent
}

async fn send(nats: &Client, id: &str, messages: &[&Outgoing]) -> Sent {
    let Some((last, others)) = messages.split_last() else {
        return Sent::Unanswered;
    };
    let incomplete = Sent::Refused(Refusal::Message);
    for (message, n) in others.iter().zip(1..) {
        let headers = headers(&message.headers, id, n);
        let (subject, payload) = (message.subject.clone(), message.payload.clone());
        let published = nats.publish_with_headers(subject, headers, payload);
        if published.await.is_err() {
            return incomplete;
        }
    }
    let mut commit = headers(&last.headers, id, messages.len());
    commit.insert(COMMIT, "1");
    let Some(answer) = ask(nats, &last.subject, commit, last.payload.clone()).await else {
        return Sent::Unanswered;
    };
    let n = messages.len() as u64;
    match answer.error.map(|error| (error.err_code, error)) {
        None if answer.batch == id && answer.count == n && answer.seq >= n => Sent::Stored {
            stream: answer.stream,
            first: answer.seq - n + 1,
        },
        None => Sent::Unanswered,
        Some((DISABLED | UNSUPPORTED_HEADER, _)) => Sent::Refused(Refusal::NoBatches),
        Some((TOO_LARGE, _)) => Sent::Refused(Refusal::Size),
        Some((code, error)) if OUT_OF_SPACE.contains(&code) => Sent::OutOfSpace(error),
        Some(_) => incomplete,
    }
}

/// Asks whether the stream of a subject takes batches; nothing is stored. The second message of a batch that has
/// no first is refused, for another reason where batches are. A server that knows none refuses the stream's name.
pub(super) async fn are_taken(nats: &Client, subject: &Subject) -> bool {
    let mut headers = headers(&HeaderMap::new(), &nuid::next(), 2);
    headers.insert("Nats-Expected-Stream", ".");
    let answer = ask(nats, subject, headers, Bytes::new()).await;
    let error = answer.and_then(|answer| answer.error);
    error.is_some_and(|error| error.err_code == INCOMPLETE)
}

async fn ask(
    nats: &Client,
    subject: &Subject,
    headers: HeaderMap,
    payload: Bytes,
) -> Option<Answer> {
    let request = Request::new()
        .headers(headers)
        .payload(payload)
        .timeout(Some(ANSWER_TIMEOUT));
    let answer = nats.send_request(subject.clone(), request).await.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

fn headers(own: &HeaderMap, id: &str, n: usize) -> HeaderMap {
    let mut headers = own.clone();
    headers.insert(ID, id);
    headers.insert(SEQUENCE, n.to_string());
    headers
}

/// Whether the stream takes batches.
#[derive(Clone, Copy, Default)]
pub(super) enum Batches {
    #[default]
    Unknown,
    Taken,
    /// Not asked before this time.
    RefusedUntil(Instant),
    /// These subjects have several streams.
    Never,
}

impl Batches {
    pub(super) fn may_be_taken(self) -> bool {
        matches!(self, Self::Taken) || self.is_to_be_asked()
    }

    pub(super) fn is_to_be_asked(self) -> bool {
        match self {
            Self::Unknown => true,
            Self::RefusedUntil(time) => time <= Instant::now(),
            Self::Taken | Self::Never => false,
        }
    }

    pub(super) fn learn(&mut self, taken: bool) {
        *self = match self {
            Self::Never => Self::Never,
            _ if taken => Self::Taken,
            _ => Self::RefusedUntil(Instant::now() + ASK_AGAIN),
        };
    }
}

//! Messages that one stream stores together or not at all, as nats-server takes them (ADR-50).

use std::time::Duration;

use async_nats::RequestErrorKind::{InvalidSubject, MaxPayloadExceeded, NoResponders};
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{HeaderMap, Request, Subject};
use bytes::Bytes;
use serde::Deserialize;

use crate::error::Error;
use crate::nats::jetstream::{ApiError, Nats};

const ID: &str = "Nats-Batch-Id";
const SEQUENCE: &str = "Nats-Batch-Sequence";
const COMMIT: &str = "Nats-Batch-Commit";

/// What these headers add to a message, at most, in bytes.
const HEADERS_SIZE: usize = 128;

/// The most messages that a server takes in one batch, unless it is told otherwise.
pub(super) const LARGEST: usize = 1000;
/// The most bytes: a larger batch makes whoever waits for it wait longer than its one sync is worth.
pub(super) const LARGEST_BYTES: usize = 4 << 20;

/// Longer than a caller waits, so that each caller is told by its own time limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// The server's error codes: the stream does not allow batches, the server knows no ids in them, or takes smaller
/// ones only.
const NO_BATCHES: [u64; 3] = [10174, 10177, 10199];

/// A message that is to be appended.
pub(super) struct Outgoing {
    pub(super) subject: Subject,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

impl Outgoing {
    /// Its size as one of a batch. None where it cannot be one: only with an id may it be published again after
    /// the batch, and what other headers ask of the stream, such as an expected sequence, means something else there.
    pub(super) fn size_in_batch(&self) -> Option<usize> {
        let id = self.headers.get(NATS_MESSAGE_ID)?;
        let mut names = self.headers.iter().map(|(name, _)| name.as_ref());
        let is_plain = names.all(|name: &str| {
            let prefix = name.get(..5);
            !prefix.is_some_and(|it| it.eq_ignore_ascii_case("nats-")) || name == "Nats-Msg-Id"
        });
        let fits = !id.as_str().is_empty() && is_plain && self.subject.is_valid();
        fits.then(|| self.size() + HEADERS_SIZE)
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
}

/// Headers without those of the batch that a message came in: sent again they would make it a part of that.
pub(in crate::nats::client) fn without_batch(headers: HeaderMap) -> HeaderMap {
    let is_batch = |name: &str| [ID, SEQUENCE, COMMIT].contains(&name);
    if !headers.iter().any(|(name, _)| is_batch(name.as_ref())) {
        return headers;
    }
    let others = headers.iter().filter(|(name, _)| !is_batch(name.as_ref()));
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
    /// The server has refused it, and nothing of it is stored, except by a leader older than batches, or where a stream of
    /// another JetStream has refused it in ours' place. Each is to be published by itself: what has an id is not stored
    /// twice, and the answer to each says who has given it.
    Refused,
    /// The same, and the next one would be refused too, for this reason.
    NoBatches(String),
    /// A stream of another JetStream says that it has stored them.
    Elsewhere(Error),
    /// Nobody knows.
    Unanswered,
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
    domain: Option<String>,
}

/// Publishes all as one batch. The last message commits it, so that subscribers of its subjects see the messages
/// and nothing else.
pub(super) async fn publish(nats: &Nats, messages: &[Outgoing]) -> Sent {
    let id = nuid::next().to_string();
    let Some((last, others)) = messages.split_last() else {
        return Sent::Unanswered;
    };
    for (message, n) in others.iter().zip(1..) {
        let headers = headers(&message.headers, &id, n);
        let (subject, payload) = (message.subject.clone(), message.payload.clone());
        let published = nats.publish_with_headers(subject, headers, payload);
        if published.await.is_err() {
            return Sent::Refused;
        }
    }
    let mut commit = headers(&last.headers, &id, messages.len());
    commit.insert(COMMIT, "1");
    let request = Request::new()
        .headers(commit)
        .payload(last.payload.clone())
        .timeout(Some(ANSWER_TIMEOUT));
    let answer = match nats.send_request(last.subject.clone(), request).await {
        Ok(answer) => answer.payload,
        // It has reached nobody who could commit.
        Err(error) => {
            return match error.kind() {
                NoResponders | InvalidSubject | MaxPayloadExceeded => Sent::Refused,
                _ => Sent::Unanswered,
            };
        }
    };
    let Ok(answer) = serde_json::from_slice::<Answer>(&answer) else {
        return Sent::Unanswered;
    };
    let n = messages.len() as u64;
    if answer.error.is_none()
        && let Err(elsewhere) = nats
            .check_domain(&last.subject, &answer.stream, answer.domain.as_deref())
            .await
    {
        return Sent::Elsewhere(elsewhere);
    }
    match answer.error {
        None if answer.batch == id && answer.count == n && answer.seq >= n => Sent::Stored {
            stream: answer.stream,
            first: answer.seq - n + 1,
        },
        // It has stored each by itself, and told of the last.
        None => Sent::NoBatches("its server is older than 2.12".to_owned()),
        Some(error) if NO_BATCHES.contains(&error.err_code) => Sent::NoBatches(error.to_string()),
        Some(_) => Sent::Refused,
    }
}

fn headers(own: &HeaderMap, id: &str, n: usize) -> HeaderMap {
    let mut headers = own.clone();
    headers.insert(ID, id);
    headers.insert(SEQUENCE, n.to_string());
    headers
}

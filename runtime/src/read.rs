//! Reading a stream without consuming it: its state, the last message of a subject, a range.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::StatusCode;
use futures_util::StreamExt;
use serde_json::json;

use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::event::Message;
use crate::jetstream::{self, ConsumerInfo, RawMessage, StreamInfo};
use crate::suspect;

/// How many messages are asked for at once: an answer is one message each, and must fit into what
/// the connection buffers for a subscription.
const PAGE: usize = 1000;

/// How many bytes are asked for at once, for the same reason.
const PAGE_BYTES: usize = 8 << 20;

/// How long the next message of an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Messages of a subject, in the stream's order.
pub struct Range {
    /// The messages.
    pub messages: Vec<Message>,
    /// What they take on the wire, headers and subjects included.
    pub bytes: usize,
    /// There are more than were asked for.
    pub more: bool,
}

impl StreamInfo {
    /// When this life of the stream began, in nanoseconds since 1970.
    pub fn created_ns(&self) -> i64 {
        nanoseconds(self.created)
    }
}

impl Client {
    /// A stream as it is.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or [`Kind::Unavailable`] where JetStream does not answer.
    pub async fn stream_info(&self, stream: &str) -> Result<StreamInfo> {
        jetstream::stream_info(self.nats(), stream).await
    }

    /// A durable consumer as it is.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or [`Kind::Unavailable`] where JetStream does not answer.
    pub async fn consumer_info(&self, stream: &str, consumer: &str) -> Result<ConsumerInfo> {
        jetstream::consumer_info(self.nats(), stream, consumer).await
    }

    /// The last message of a subject, read from the stream's leader: every message that was
    /// acknowledged before is seen.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where JetStream does not answer.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<Message>> {
        self.get(stream, &json!({ "last_by_subj": subject })).await
    }

    /// The message with a sequence, read from the stream's leader.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where JetStream does not answer.
    pub async fn message(&self, stream: &str, seq: u64) -> Result<Option<Message>> {
        self.get(stream, &json!({ "seq": seq })).await
    }

    async fn get(&self, stream: &str, body: &serde_json::Value) -> Result<Option<Message>> {
        let call = format!("STREAM.MSG.GET.{}", stream);
        match jetstream::call::<RawMessage>(self.nats(), &call, body).await {
            Ok(raw) => raw.read().map(Some),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes every message of a stream with a lower sequence. Only what is settled may go.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or [`Kind::Unavailable`] where JetStream does not answer.
    pub async fn purge_below(&self, stream: &str, seq: u64) -> Result<()> {
        let body = json!({ "seq": seq });
        let call = format!("STREAM.PURGE.{stream}");
        jetstream::call::<serde_json::Value>(self.nats(), &call, &body)
            .await
            .map(drop)
    }

    /// The messages of a subject from the sequence `from` on, at most `max`, and none after they
    /// take `max_bytes`: the last one may reach beyond. It reads directly, from a follower perhaps:
    /// where the stream has replicas, compare with [`Client::last`].
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where JetStream does not answer to the end.
    pub async fn range(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        max: usize,
        max_bytes: usize,
    ) -> Result<Range> {
        let mut range = Range {
            messages: Vec::new(),
            bytes: 0,
            more: true,
        };
        let mut next = from.max(1);
        while range.more && range.messages.len() < max && range.bytes < max_bytes {
            let request = json!({
                "batch": PAGE.min(max - range.messages.len()),
                // However few, the server answers with one message.
                "max_bytes": PAGE_BYTES.min(max_bytes - range.bytes),
                "seq": next,
                "next_by_subj": subject,
            });
            range.more = self
                .careful_page(stream, subject, &request, &mut range)
                .await?;
            next = range
                .messages
                .last()
                .map_or(next, |message| message.seq() + 1);
        }
        Ok(range)
    }

    /// As [`Self::page`], one message after the other where the fast way has cost the connection.
    async fn careful_page(
        &self,
        stream: &str,
        subject: &str,
        request: &serde_json::Value,
        range: &mut Range,
    ) -> Result<bool> {
        let place = (stream.to_owned(), subject.to_owned());
        let connects = || self.nats().statistics().connects.load(Relaxed);
        let before = connects();
        if !suspect::begin(&place) {
            let (messages, bytes) = (range.messages.len(), range.bytes);
            match self.page(stream, request, range).await {
                Ok(more) => {
                    suspect::clear(&place);
                    return Ok(more);
                }
                Err(error) if connects() == before => return Err(error),
                Err(_) => {
                    range.messages.truncate(messages);
                    range.bytes = bytes;
                }
            }
        }
        let from = range.messages.len();
        let more = self.slow_page(stream, request, range).await?;
        let all_readable = range.messages[from..]
            .iter()
            .all(|message| message.unreadable.is_none());
        if all_readable {
            suspect::clear(&place);
        }
        Ok(more)
    }

    /// The same messages as JSON, which any client can read; an answer each.
    async fn slow_page(
        &self,
        stream: &str,
        request: &serde_json::Value,
        range: &mut Range,
    ) -> Result<bool> {
        let number = |key: &str| request[key].as_u64().unwrap_or_default();
        let mut next = number("seq");
        let enough = range.bytes + usize::try_from(number("max_bytes")).unwrap_or(usize::MAX);
        for _ in 0..number("batch") {
            let body = json!({ "seq": next, "next_by_subj": request["next_by_subj"] });
            let Some(message) = self.get(stream, &body).await? else {
                return Ok(false);
            };
            next = message.seq + 1;
            range.bytes += message.subject.len() + message.payload.len();
            range.messages.push(message);
            if range.bytes >= enough {
                break;
            }
        }
        Ok(true)
    }

    /// One request; true where more lies behind its answer.
    async fn page(
        &self,
        stream: &str,
        request: &serde_json::Value,
        range: &mut Range,
    ) -> Result<bool> {
        let away = |why: &str| Error::unavailable(format!("reading {} {why}", stream));
        let inbox = self.nats().new_inbox();
        // The shared inbox of requests takes one answer only; this has as many as there are messages.
        let mut answers = self
            .nats()
            .subscribe(inbox.clone())
            .await
            .map_err(Error::from)?;
        let call = format!("$JS.API.DIRECT.GET.{}", stream);
        self.nats()
            .publish_with_reply(call, inbox, request.to_string().into())
            .await
            .map_err(Error::from)?;
        loop {
            let answer = tokio::time::timeout(PATIENCE, answers.next())
                .await
                .map_err(|_| away("was not answered to the end"))?
                .ok_or_else(|| away("was cut off"))?;
            match answer.status {
                None => {
                    range.bytes += answer.length;
                    range.messages.push(direct(answer)?);
                }
                Some(StatusCode::NOT_FOUND) => return Ok(false),
                // 204 ends a batch and says how much lies behind it.
                Some(status) if status.as_u16() == 204 => {
                    return Ok(header(&answer, "Nats-Num-Pending").is_none_or(|left| left != "0"));
                }
                Some(StatusCode::NO_RESPONDERS) => {
                    return Err(away("is not possible: there is no such stream"));
                }
                Some(status) => {
                    return Err(away(&format!(
                        "failed: {status} {}",
                        answer.description.unwrap_or_default()
                    )));
                }
            }
        }
    }
}

/// A message as direct get sends it: its place stands in headers that the server appends.
fn direct(answer: async_nats::Message) -> Result<Message> {
    let strange = || Error::internal("a direct get answered without its headers");
    let subject = header(&answer, "Nats-Subject")
        .ok_or_else(strange)?
        .to_owned();
    let seq = header(&answer, "Nats-Sequence")
        .and_then(|seq| seq.parse().ok())
        .ok_or_else(strange)?;
    let time = header(&answer, "Nats-Time-Stamp").ok_or_else(strange)?;
    let time = jetstream::parse_time(time).map_err(Error::internal)?;
    Ok(Message {
        subject: subject.into(),
        headers: answer.headers.unwrap_or_default(),
        payload: answer.payload,
        seq,
        time_ns: nanoseconds(time),
        unreadable: None,
    })
}

/// The last one: the server appends, a publisher's own comes before.
fn header<'a>(message: &'a async_nats::Message, name: &str) -> Option<&'a str> {
    message
        .headers
        .as_ref()?
        .get_last(name)
        .map(|value| value.as_str())
}

/// Nanoseconds since 1970.
pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

//! Reading a range of a stream without consuming it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::StatusCode;
use async_nats::connection::State;
use futures_util::StreamExt;
use serde_json::json;

use super::client::Client;
use super::client::access::Access;
use super::jetstream;
use crate::error::{Error, Result};
use crate::function::event::{Message, nanoseconds};
use crate::nats::jetstream::calls;
use crate::nats::unreadable::suspect::{self, StreamSubject, Suspect};

/// Messages per request. Each is an answer of its own, and all must fit into the subscription's buffer.
const BATCH: usize = 1000;

/// Bytes per request, for the same reason, and because unread bytes count against the server's
/// `max_pending`.
const BATCH_BYTES: usize = 1 << 20;

/// How long the next message of an answer may take.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// How often to check that the connection is still the one that the request was sent on.
const LOOK: Duration = Duration::from_millis(100);

/// How often one range may lose the connection before reading fails.
const LOSSES: usize = 8;

/// Messages of a subject, in the stream's order.
pub struct Range {
    /// The messages.
    pub messages: Vec<Message>,
    /// Their size on the wire, headers and subjects included.
    pub bytes: usize,
    /// Whether the subject has more messages than were asked for.
    pub more: bool,
}

/// A message from direct get, or one that is republished: the server appends its subject and sequence as headers.
pub(super) fn stored(answer: async_nats::Message) -> Result<Message> {
    let strange = || Error::internal("a message came without the headers that the server appends");
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

/// The last value: a publisher's own headers come before those that the server appends.
pub(super) fn header<'a>(message: &'a async_nats::Message, name: &str) -> Option<&'a str> {
    message
        .headers
        .as_ref()?
        .get_last(name)
        .map(|value| value.as_str())
}

impl Client {
    /// The messages of a subject from the sequence `from` on: at most `max`, and none after their size
    /// reaches `max_bytes`, so the last one may exceed it. A follower may answer: for a stream with
    /// replicas, compare with [`Client::last`].
    ///
    /// ```
    /// # use natsfn::{Client, Result};
    /// async fn orders_of_bob(client: Client) -> Result<usize> {
    ///     let range = client.range("ORDERS", "orders.bob", 1, 50, 1 << 20).await?;
    ///     Ok(range.messages.len())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::Kind::Unavailable) if JetStream does not answer in full.
    pub async fn range(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        max: usize,
        max_bytes: usize,
    ) -> Result<Range> {
        self.check(|| Access::ranges(stream))?;
        let mut range = Range {
            messages: Vec::new(),
            bytes: 0,
            more: true,
        };
        let mut next = from.max(1);
        let mut losses = 0;
        while range.more && range.messages.len() < max && range.bytes < max_bytes {
            let request = json!({
                "batch": BATCH.min(max - range.messages.len()),
                // The server sends at least one message, however small this is.
                "max_bytes": BATCH_BYTES.min(max_bytes - range.bytes),
                "seq": next,
                "next_by_subj": subject,
            });
            let key = (stream.to_owned(), subject.to_owned());
            let more = if self.meets_unreadable(&key, next).await? {
                Some(self.slow_fetch(&key, &request, &mut range).await?)
            } else {
                self.fetch(stream, &request, &mut range).await?
            };
            next = range
                .messages
                .last()
                .map_or(next, |message| message.seq() + 1);
            // If the connection was lost, reading continues after the last message.
            range.more = more.unwrap_or_else(|| {
                suspect::suspect(&key, next);
                losses += 1;
                true
            });
            if losses > LOSSES {
                return Err(Error::unavailable(format!(
                    "reading {subject} in {stream} lost the connection {losses} times"
                )));
            }
        }
        Ok(range)
    }

    /// Whether a message that no client can parse comes next. A mere suspicion is checked first.
    async fn meets_unreadable(&self, key: &StreamSubject, next: u64) -> Result<bool> {
        let Some(suspicion) = suspect::ahead(key, next) else {
            return Ok(false);
        };
        let Suspect::Possible(seq) = suspicion else {
            return Ok(true);
        };
        let (stream, subject) = key;
        let body = json!({ "seq": seq, "next_by_subj": subject });
        let message = self.get(stream, &body).await?;
        let unreadable = message.filter(|message| message.unreadable.is_some());
        match &unreadable {
            Some(message) => suspect::confirm(key, message.seq),
            None => suspect::acquit(key, suspicion),
        }
        Ok(unreadable.is_some())
    }

    /// The same messages as JSON, which any client can read; one call each.
    async fn slow_fetch(
        &self,
        key: &StreamSubject,
        request: &serde_json::Value,
        range: &mut Range,
    ) -> Result<bool> {
        let number = |field: &str| request[field].as_u64().unwrap_or_default();
        let mut next = number("seq");
        let known = suspect::ahead(key, next);
        let enough = range.bytes + usize::try_from(number("max_bytes")).unwrap_or(usize::MAX);
        for _ in 0..number("batch") {
            let body = json!({ "seq": next, "next_by_subj": request["next_by_subj"] });
            let message = self.get(&key.0, &body).await?;
            let seq = message.as_ref().map_or(u64::MAX, Message::seq);
            if message.as_ref().is_some_and(|it| it.unreadable.is_some()) {
                suspect::confirm(key, seq);
            } else if let Some(known @ Suspect::Confirmed(unreadable)) = known
                && seq >= unreadable
            {
                // The message has left the stream.
                suspect::acquit(key, known);
            }
            let Some(message) = message else {
                return Ok(false);
            };
            next = seq + 1;
            range.bytes += message.subject.len() + message.payload.len();
            range.messages.push(message);
            if range.bytes >= enough {
                break;
            }
        }
        Ok(true)
    }

    /// One request. Returns whether more messages follow its answer; `None` if the connection was lost
    /// before the answer ended.
    async fn fetch(
        &self,
        stream: &str,
        request: &serde_json::Value,
        range: &mut Range,
    ) -> Result<Option<bool>> {
        let away = |why: &str| Error::unavailable(format!("reading {} {why}", stream));
        let taken = match self.reads() {
            None => None,
            Some(reads) => match tokio::time::timeout(READ_TIMEOUT, reads.take()).await {
                Ok(taken) => Some((reads, taken?)),
                Err(_) => return Err(away("is not possible: the server accepts no connection")),
            },
        };
        let nats = taken.as_ref().map_or(self.nats(), |(_, taken)| &taken.nats);
        let ended = || {
            if let Some((reads, taken)) = &taken {
                reads.ended(taken);
            }
        };
        let connects = || nats.statistics().connects.load(Relaxed);
        let before = connects();
        let is_lost = || connects() != before || nats.connection_state() != State::Connected;
        let inbox = nats.new_inbox();
        // async-nats' shared inbox takes one answer per request; this request has one per message.
        let mut answers = match nats.subscribe(inbox.clone()).await {
            Ok(answers) => answers,
            Err(_) if taken.as_ref().is_some_and(|(reads, _)| reads.is_replaced()) => {
                ended();
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let call = self.nats().api().subject(&calls::direct_get(stream));
        nats.publish_with_reply(call, inbox, request.to_string().into())
            .await
            .map_err(Error::from)?;
        let mut quiet = Duration::ZERO;
        let mut last = 0;
        loop {
            let answer = match tokio::time::timeout(LOOK, answers.next()).await {
                Ok(Some(answer)) => answer,
                // The client's own task has ended.
                Ok(None) => {
                    ended();
                    return Ok(None);
                }
                Err(_) if is_lost() => return Ok(None),
                Err(_) if quiet < READ_TIMEOUT => {
                    quiet += LOOK;
                    continue;
                }
                Err(_) => return Err(away("was not answered to the end")),
            };
            quiet = Duration::ZERO;
            // Each answer names the sequence before it. After a reconnection in the middle, answers may
            // be missing.
            let previous = header(&answer, "Nats-Last-Sequence").and_then(|seq| seq.parse().ok());
            if previous.is_some_and(|previous: u64| previous != last) {
                return Ok(None);
            }
            match answer.status {
                None => {
                    range.bytes += answer.length;
                    let message = stored(answer)?;
                    last = message.seq;
                    range.messages.push(message);
                }
                Some(StatusCode::NOT_FOUND) => return Ok(Some(false)),
                // Status 204 ends a batch and says how many messages follow it.
                Some(status) if status.as_u16() == 204 => {
                    let left = header(&answer, "Nats-Num-Pending");
                    return Ok(Some(left.is_none_or(|left| left != "0")));
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

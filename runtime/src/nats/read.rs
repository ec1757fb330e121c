//! Reading a stream without consuming it: its state, the last message of a subject.

pub(crate) mod head;
pub(crate) mod live_tail;
mod shared_reads;
pub(crate) mod stream_cache;

use serde_json::json;

use super::client::Client;
use super::client::access::Access;
use super::jetstream::{self, ConsumerInfo, StreamInfo};
use crate::error::{Error, Kind, Result};
use crate::function::event::{Message, nanoseconds};
use crate::nats::jetstream::calls;
use crate::nats::jetstream::raw_message::RawMessage;

impl StreamInfo {
    /// When the stream was created, in nanoseconds since 1970.
    pub fn created_ns(&self) -> i64 {
        nanoseconds(self.created)
    }
}

impl Client {
    /// The configuration and state of a stream.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or [`Kind::Unavailable`] if JetStream does not answer.
    pub async fn stream_info(&self, stream: &str) -> Result<StreamInfo> {
        self.check(|| Access::stream_info(stream))?;
        jetstream::stream_info(self.nats(), stream).await
    }

    /// The configuration and state of a durable consumer.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or [`Kind::Unavailable`] if JetStream does not answer.
    pub async fn consumer_info(&self, stream: &str, consumer: &str) -> Result<ConsumerInfo> {
        self.check(|| Access::consumer_info(stream, consumer))?;
        jetstream::consumer_info(self.nats(), stream, consumer).await
    }

    /// The last message of a subject, read from the stream's leader: it sees every message acknowledged
    /// before. A subject with wildcards stands for all that fit it, here and in the calls below.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where JetStream does not answer, or there is no such stream.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<Message>> {
        self.get(stream, &json!({ "last_by_subj": subject })).await
    }

    /// The message with a sequence, read from the stream's leader.
    ///
    /// # Errors
    /// As [`Client::last`].
    pub async fn message(&self, stream: &str, seq: u64) -> Result<Option<Message>> {
        self.get(stream, &json!({ "seq": seq })).await
    }

    /// The first message of a subject with this sequence or a later one, read from the stream's leader.
    ///
    /// # Errors
    /// As [`Client::last`].
    pub async fn next(&self, stream: &str, subject: &str, from: u64) -> Result<Option<Message>> {
        let body = json!({ "seq": from, "next_by_subj": subject });
        self.get(stream, &body).await
    }

    pub(super) async fn get(
        &self,
        stream: &str,
        body: &serde_json::Value,
    ) -> Result<Option<Message>> {
        self.check(|| Access::messages(stream))?;
        let call = calls::message(stream);
        match jetstream::call::<RawMessage>(self.nats(), &call, body).await {
            Ok(raw) => raw.read().map(Some),
            Err(error) if jetstream::is_without_message(&error) => Ok(None),
            // An empty answer would say that there is no such message.
            Err(error) if error.kind() == Kind::NotFound => Err(Error::unavailable(format!(
                "reading {stream} is not possible: there is no such stream"
            ))),
            Err(error) => Err(error),
        }
    }

    /// Deletes every message of a stream with a lower sequence: none for 0 and 1. Purge settled messages only.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or [`Kind::Unavailable`] where JetStream does not answer.
    pub async fn purge_below(&self, stream: &str, seq: u64) -> Result<()> {
        let body = json!({ "seq": seq });
        self.check(|| Access::purge(stream))?;
        // The server takes 0, and before 2.15 also 1, for no limit, and would delete everything.
        if seq <= 1 {
            return Ok(());
        }
        let call = calls::purge(stream);
        jetstream::call::<serde_json::Value>(self.nats(), &call, &body)
            .await
            .map(drop)
    }
}

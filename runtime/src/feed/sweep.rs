//! Ends messages that can never arrive: the connection is lost over each, at every delivery.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::Feed;
use crate::error::{Kind, Result};
use crate::event::{Entry, StreamId};
use crate::jetstream::{ConsumerInfo, RawMessage, call};
use crate::settle;

/// How many messages are looked at at once.
const AT_ONCE: usize = 64;

impl Feed {
    /// Looks at what was delivered, and again, and is not settled: messages that this client cannot
    /// read off the wire become dead letters. They are read as JSON, which it can.
    ///
    /// Only where something came again: the look costs a request for each message, and one that is
    /// unreadable always comes again.
    pub(crate) async fn sweep(
        &self,
        consumer: &ConsumerInfo,
        stream: &Arc<StreamId>,
    ) -> Result<()> {
        if consumer.num_redelivered == 0 {
            return Ok(());
        }
        let unsettled = consumer.ack_floor.stream_seq + 1..=consumer.delivered.stream_seq;
        let messages = stream::iter(unsettled)
            .map(|seq| self.look(seq))
            .buffered(AT_ONCE)
            .try_filter_map(async |found| Ok(found));
        let mut messages = std::pin::pin!(messages);
        while let Some(raw) = messages.try_next().await? {
            let message = raw.read()?;
            let Some(unreadable) = message.unreadable.clone() else {
                continue;
            };
            let entry = Entry {
                message,
                stream: stream.clone(),
                delivered: 1,
                decoded: None,
            };
            // What its acknowledgement subject would have been: for a single message the server
            // looks at the sequence in the stream only.
            let ack = format!(
                "$JS.ACK.{}.{}.1.{}.{}.{}.0",
                stream.name,
                self.consumer.name,
                entry.seq(),
                consumer.delivered.consumer_seq,
                entry.time_ns()
            );
            self.settler
                .in_progress
                .hold(settle::key(&entry), ack.into());
            self.stats.requests.fetch_add(1, Relaxed);
            let error = unreadable.error();
            self.attempt.refuse(&self.settler, entry, &error).await;
        }
        Ok(())
    }

    async fn look(&self, seq: u64) -> Result<Option<RawMessage>> {
        let name = format!("STREAM.MSG.GET.{}", self.consumer.stream.name());
        match call(self.nats(), &name, &json!({ "seq": seq })).await {
            Ok(raw) => Ok(Some(raw)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

//! Ends messages that can never arrive: the connection is lost over each, at every delivery.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::Feed;
use crate::error::{Kind, Result};
use crate::function::event::{Entry, StreamId};
use crate::function::template::overlap;
use crate::nats::jetstream::raw_message::RawMessage;
use crate::nats::jetstream::{ConsumerInfo, call, calls};
use crate::run::consumer::settle;

/// How many messages are looked at at once.
const AT_ONCE: usize = 64;

/// How many are looked at on one connection. The message that breaks connections ends this one too, and the next sweep
/// goes on where this one ended.
const AT_MOST: usize = 10_000;

impl Feed {
    /// On each connection, looks for the message that may have broken the one before; the reader goes on
    /// meanwhile.
    pub(super) async fn sweep_what_is_found(&self) {
        let mut found = self.to_sweep.subscribe();
        while found.changed().await.is_ok() {
            let last = found.borrow_and_update().clone();
            if let Some((consumer, stream)) = last
                && let Err(error) = self.sweep(&consumer, &stream).await
            {
                tracing::warn!(consumer = %self.consumer.name, %error, "messages that came again were not looked at; one that no client can read would come for ever");
            }
        }
    }

    /// Looks at the messages that were delivered and are not settled: those that this client cannot read
    /// off the wire become dead letters. They are read as JSON, which it can.
    ///
    /// This costs a request for each message, so it is done only if something was redelivered, and only for
    /// messages that have neither arrived here nor been looked at: an unreadable one is redelivered again
    /// and again, and never arrives.
    async fn sweep(&self, consumer: &ConsumerInfo, stream: &Arc<StreamId>) -> Result<()> {
        if consumer.num_redelivered == 0 {
            return Ok(());
        }
        let unsettled = consumer.ack_floor.stream_seq + 1..=consumer.delivered.stream_seq;
        let unknown = {
            let mut readable = self.readable.lock();
            // A stream that was rolled back uses sequences again.
            readable.1.forget_after(consumer.delivered.stream_seq);
            readable.1.gaps(unsettled)
        };
        let subjects = self.consumer.subjects();
        let unknown = unknown.into_iter().flatten().take(AT_MOST);
        let messages = stream::iter(unknown)
            .map(|seq| self.look(seq))
            .buffered(AT_ONCE);
        let mut messages = std::pin::pin!(messages);
        while let Some((seq, raw)) = messages.try_next().await? {
            let message = raw.map(|raw| raw.read()).transpose()?;
            let ours = message.filter(|message| {
                subjects
                    .iter()
                    .any(|subject| overlap(subject, message.subject()))
            });
            let Some((message, unreadable)) =
                ours.and_then(|message| message.unreadable.clone().map(|why| (message, why)))
            else {
                self.readable.lock().1.insert(seq);
                continue;
            };
            let entry = Entry {
                message,
                stream: stream.clone(),
                delivered: 1,
                decoded: None,
            };
            // Stands in for its acknowledgement subject: to settle one message, the server reads only
            // the sequence in the stream.
            let ack = format!(
                "$JS.ACK.{}.{}.1.{}.{}.{}.0",
                stream.name,
                self.consumer.durable_name(),
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

    pub(super) async fn look(&self, seq: u64) -> Result<(u64, Option<RawMessage>)> {
        let name = calls::message(self.consumer.stream.name());
        match call(self.nats(), &name, &json!({ "seq": seq })).await {
            Ok(raw) => Ok((seq, Some(raw))),
            Err(error) if error.kind() == Kind::NotFound => Ok((seq, None)),
            Err(error) => Err(error),
        }
    }
}

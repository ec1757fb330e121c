//! Appending to a stream.

mod batch;
mod lane;
mod pace;

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Instrument;

use super::Client;
use super::access::Access;
use crate::error::Result;
use crate::nats::jetstream::Appended;
use crate::telemetry::{self, Attribute, Role};
use batch::Outgoing;
pub(super) use batch::without_batch;
use lane::Lane;

/// The lanes of a connection, by what the subjects of each have in common.
pub(super) struct Lanes {
    nats: async_nats::Client,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
}

impl Lanes {
    pub(super) fn new(nats: async_nats::Client) -> Self {
        let lanes = Mutex::default();
        Self { nats, lanes }
    }

    fn of(&self, subjects: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(subjects) {
            return lane.clone();
        }
        let lane = Arc::new(Lane::new(self.nats.clone()));
        lanes.insert(subjects.to_owned(), lane.clone());
        lane
    }
}

impl Client {
    /// Appends to the stream that captures `subject` and waits until it holds the message. With an
    /// `id` (`Nats-Msg-Id`) a repeat within the stream's duplicate window is stored once.
    ///
    /// Where many calls at once wait for a stream that takes atomic batches (`allow_atomic`, which every
    /// [`Stream`](crate::Stream) of a service does), they are published as one, so that one sync of the server's
    /// disk serves them all; such a message is stored with the headers `Nats-Batch-Id` and
    /// `Nats-Batch-Sequence`. What the server refuses it refuses for that message alone, all the same.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where the stream is full, away, or does not answer within 3 s (the message may be
    /// stored all the same: repeat it with the same id). While a stream answers nothing, one call at a time
    /// waits for it, and the others fail at once. [`Kind::TooLarge`] over the stream's
    /// `max_msg_size`; [`Kind::Conflict`] where an expected sequence differs.
    pub async fn append(
        &self,
        subject: &str,
        id: Option<&str>,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Appended> {
        if let Some(id) = id {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        }
        self.check(|| Access::publish(subject))?;
        let started = Instant::now();
        let span = self.span(Role::Producer, "publish", "send", subject);
        let headers = self.headers(headers, &span);
        let (family, message) = (
            self.family(subject),
            Outgoing::new(subject, headers, payload),
        );
        let append = self.lanes.of(family).append(message);
        let appended = self
            .breakers
            .guard(family, append)
            .instrument(span.clone())
            .await;
        self.ended(&span, "publish", subject, started, &appended);
        telemetry::record(&span, || {
            let mut attributes: Vec<Attribute> = Vec::new();
            if let Some(id) = id {
                attributes.push(("messaging.message.id", id.to_owned().into()));
            }
            if let Ok((appended, stream)) = &appended {
                attributes.extend([
                    ("nats.stream", stream.clone().into()),
                    ("nats.stream.sequence", appended.seq.into()),
                    ("nats.duplicate", appended.duplicate.into()),
                ]);
            }
            attributes
        });
        appended.map(|(appended, _)| appended)
    }
}

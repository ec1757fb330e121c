//! Appending to a stream.

mod batch;
mod lane;
mod round;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;
use tracing::Instrument;

use super::Client;
use super::access::Access;
use super::subject::check_length;
use crate::error::{Error, Result};
use crate::nats::jetstream::{self, Appended};
use crate::telemetry::{self, Attribute, Role};
use batch::Outgoing;
pub(super) use batch::without_batch;
pub(super) use lane::Lane;

impl Client {
    /// Appends to the stream that captures `subject` and waits until it holds the message. With an
    /// `id` (`Nats-Msg-Id`) a repeat within the stream's duplicate window is stored once; an empty one is none.
    ///
    /// Where the service says [`Stream::atomic_appends`](crate::Stream::atomic_appends) of the stream and 16 or more
    /// calls with an `id` wait at once, they are published as one atomic batch, which ends with a subject on which the
    /// stream has acknowledged a message before: where each call has a subject of its own, none is gathered. If the
    /// server refuses a batch, each is published by itself, which those who subscribe to the subjects themselves see as
    /// a second message. Calls that do not wait for each other may be stored in another order: those that can be in a
    /// batch and those that cannot (no `id`, another `Nats-` header, or almost too large), and those behind a batch
    /// that is not answered within 500 ms. Where the server takes the right to a subject away, the calls of one batch
    /// may fail after 3 s with that one's: repeat them with the same id.
    ///
    /// The headers `Nats-Batch-Id`, `Nats-Batch-Sequence` and `Nats-Batch-Commit` are taken off whatever a client
    /// sends: a message that came in a batch is no part of it when it is sent on.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::Kind::Unavailable) where the stream is full, away, or does not answer within 3 s
    /// (the message may be stored all the same: repeat it with the same id). While a stream answers nothing, one call
    /// at a time waits for it, and the others fail at once. [`Kind::TooLarge`](crate::Kind::TooLarge) over the
    /// stream's `max_msg_size`; [`Kind::Conflict`](crate::Kind::Conflict) where an expected sequence differs;
    /// [`Kind::BadRequest`](crate::Kind::BadRequest) for an id that begins with a space or has a line break.
    /// With `nats.domain`, [`Kind::Unavailable`](crate::Kind::Unavailable) where a stream of another domain
    /// acknowledges it.
    pub async fn append(
        &self,
        subject: &str,
        id: Option<&str>,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Appended> {
        if let Some(id) = id {
            check_id(id)?;
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        }
        check_length(subject)?;
        self.check(|| Access::publish(subject))?;
        let started = Instant::now();
        let span = self.span(Role::Producer, "publish", "send", subject);
        let headers = self.headers(headers, &span);
        let lane = self.lanes.iter().find(|lane| lane.takes(subject));
        let append = async {
            let Some(lane) = lane else {
                return jetstream::append(&self.nats, subject, headers, payload).await;
            };
            let subject = subject.into();
            let message = Outgoing {
                subject,
                headers,
                payload,
            };
            lane.append(message).await
        };
        let appended = self
            .breakers
            .guard(self.family(subject), append)
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

    /// The same connection, which gathers appends: to which subjects each stream has, and the size of its largest
    /// message.
    pub(crate) fn gathering(self, streams: impl Iterator<Item = (Vec<String>, usize)>) -> Self {
        let lane = |(subjects, largest)| Lane::new(self.nats.clone(), subjects, largest);
        let lanes = streams.map(lane).collect();
        Self { lanes, ..self }
    }
}

/// Whether the server takes an id as it is. It skips spaces before one: two that differ in them would be the same.
fn check_id(id: &str) -> Result<()> {
    if id.starts_with(' ') || id.contains(['\r', '\n']) {
        return Err(Error::bad_request(format!(
            "the id of a message may not begin with a space or have a line break, as {id:?} does"
        )));
    }
    Ok(())
}

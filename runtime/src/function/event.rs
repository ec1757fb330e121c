//! What a function is called with: a request, or a delivery of messages from a stream.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;

use super::context::Context;
use super::template::Template;
use crate::error::Error;

/// An event: [`Request`] or [`Delivery`]. Sealed; a function is called with one of the two.
pub trait Event: sealed::Sealed + Send + 'static {
    /// What a function returns for it.
    type Answer: Send + 'static;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Request {}
    impl Sealed for super::Delivery {}
}

/// One request, as an extractor sees it.
pub struct Request {
    pub(crate) subject: Subject,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    pub(crate) template: Arc<Template>,
    pub(crate) context: Context,
}

impl Request {
    /// A copy, since extractors move parts out of a request.
    pub(crate) fn again(&self) -> Self {
        Self {
            subject: self.subject.clone(),
            headers: self.headers.clone(),
            payload: self.payload.clone(),
            template: self.template.clone(),
            context: self.context.clone(),
        }
    }

    /// The concrete subject.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The headers, empty where there are none. Their names are case-sensitive, as everywhere in NATS.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The payload's bytes.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

/// What a stream delivered: one message, or a batch.
pub struct Delivery {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) templates: Arc<[Template]>,
    pub(crate) context: Context,
}

impl Delivery {
    /// The messages, in the stream's order.
    pub fn messages(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|entry| &**entry)
    }

    /// The only message of a delivery to a function without a `Batch`.
    pub(crate) fn single(&self) -> Result<&Arc<Entry>, Error> {
        match self.entries.as_slice() {
            [entry] => Ok(entry),
            _ => Err(Error::internal(
                "this extractor needs a delivery of a single message",
            )),
        }
    }
}

/// A message that a stream holds.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) subject: Subject,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    pub(crate) seq: u64,
    pub(crate) time_ns: i64,
    pub(crate) unreadable: Option<Arc<Unreadable>>,
}

impl Message {
    /// The subject under which it is stored.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The headers, empty where there are none. Their names are case-sensitive, as everywhere in NATS.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The payload's bytes.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The sequence in the stream, from 1.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// When the stream stored it.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.time_ns.max(0).cast_unsigned())
    }

    /// The same in nanoseconds since 1970, as in the ids of dead letters.
    pub fn time_ns(&self) -> i64 {
        self.time_ns
    }

    /// Why no client can parse this message, if so. A consumer makes it a dead letter without calling a
    /// function, so a reader should skip it.
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_ref().map(|found| found.why.as_str())
    }
}

/// Why a client cannot parse a message, and its raw parts.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) why: String,
    /// The raw headers as stored; the message's headers contain their well-formed lines.
    pub(crate) block: Bytes,
}

impl Unreadable {
    /// The reason in the dead letter of such a message.
    pub(crate) fn error(&self) -> Error {
        Error::bad_request(format!("no client can read the message: {}", self.why))
    }
}

/// Identifies a message even if its stream is recreated: sequences start again, times do not repeat.
pub(crate) type Key = (u64, i64);

/// A message as a stream delivered it; it derefs to the [`Message`].
pub struct Entry {
    pub(crate) message: Message,
    pub(crate) stream: Arc<StreamId>,
    pub(crate) delivered: u64,
    pub(crate) decoded: Option<Arc<dyn Any + Send + Sync>>,
}

impl Deref for Entry {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Entry {
    /// When the stream was created. Creation time and sequence identify a message: a recreated stream
    /// reuses sequences.
    pub fn stream_created(&self) -> SystemTime {
        self.stream.created
    }

    /// The stream's name and creation time, and the consumer's ack floor.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// How often the stream has delivered this message, this time included.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// What a function's inbox knows of a life of a stream.
#[cfg_attr(
    not(feature = "sea-orm"),
    expect(dead_code, reason = "without a database there is no inbox")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    /// Nothing but an earlier life.
    EarlierLife,
    Settled(SettledUpTo),
}

/// What was settled of one life of a stream while it had a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SettledUpTo {
    pub(crate) seq: u64,
    /// What the stream stores after it was rolled back is later than this.
    pub(crate) time: SystemTime,
}

/// A stream from its creation to its deletion: a recreated stream counts from 1 again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// The stream's name.
    pub name: String,
    /// When the stream was created.
    pub created: SystemTime,
    /// The consumer's ack floor when the delivery was read: every message up to here is settled,
    /// so a later start may read again from the next one.
    pub ack_floor: u64,
}

impl StreamId {
    /// When the stream was created, in nanoseconds since 1970.
    pub fn created_ns(&self) -> i64 {
        nanoseconds(self.created)
    }
}

/// Nanoseconds since 1970.
pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

//! A revision of a key.

use std::time::SystemTime;

use async_nats::HeaderMap;

use super::KvValue;
use crate::error::{Error, Result};
use crate::function::event::Message;

/// The header that says what a message does to its key; none writes a value.
pub(super) const OPERATION: &str = "KV-Operation";

/// The header of a message that the server writes itself when a value goes by its age.
const MARKER: &str = "Nats-Marker-Reason";

/// A revision of a key in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvEntry<T> {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: T,
    /// The revision, which is the message's sequence in the bucket's stream.
    pub revision: u64,
    /// When it was written.
    pub time: SystemTime,
}

impl<T: KvValue> KvEntry<Option<T>> {
    pub(super) fn of(key: &str, message: &Message) -> Result<Self> {
        let value = if is_deletion(message.headers()) {
            None
        } else {
            Some(read(key, message.payload())?)
        };
        Ok(Self {
            key: key.to_owned(),
            value,
            revision: message.seq(),
            time: message.time(),
        })
    }

    /// The same where it has a value.
    pub(super) fn present(self) -> Option<KvEntry<T>> {
        Some(KvEntry {
            key: self.key,
            value: self.value?,
            revision: self.revision,
            time: self.time,
        })
    }
}

/// Whether a message with these headers took the value away.
pub(super) fn is_deletion(headers: &HeaderMap) -> bool {
    match headers.get(OPERATION) {
        Some(operation) => ["DEL", "PURGE"].contains(&operation.as_str()),
        None => headers.get(MARKER).is_some(),
    }
}

pub(super) fn read<T: KvValue>(key: &str, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| {
        let bucket = T::BUCKET;
        Error::internal(format!(
            "the value of {key:?} in the bucket {bucket} is not the JSON expected"
        ))
        .with_source(error)
    })
}

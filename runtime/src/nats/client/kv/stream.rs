//! The stream that a bucket is: its messages, read and written.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::json;

use super::entry::OPERATION;
use super::watch::answered;
use super::{Kv, KvValue};
use crate::error::{Error, Kind, Result};
use crate::function::event::Message;
use crate::nats::client::access::Access;
use crate::nats::client::access::store::Store;
use crate::nats::jetstream::raw_message::RawMessage;
use crate::nats::jetstream::{self, calls, is_without_message};

impl<T: KvValue> Kv<T> {
    pub(super) fn stream(&self) -> String {
        Store::Bucket(T::BUCKET.to_owned()).stream()
    }

    /// The subject of a key, for a function that may use the bucket.
    pub(super) fn subject(&self, key: &str) -> Result<String> {
        self.client.check(|| Access::bucket(T::BUCKET))?;
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-/_=.".contains(c);
        if key.split('.').any(str::is_empty) || !key.chars().all(is_allowed) {
            return Err(Error::bad_request(format!(
                "{key:?} is no key: one is letters, digits and -/_=., and a dot stands between others"
            )));
        }
        Ok(format!("$KV.{}.{key}", T::BUCKET))
    }

    /// What the bucket has last of a key.
    pub(super) async fn last(&self, subject: &str) -> Result<Option<Message>> {
        let call = calls::message(&self.stream());
        let last = json!({ "last_by_subj": subject });
        match jetstream::call::<RawMessage>(self.client.nats(), &call, &last).await {
            Ok(raw) => raw.read().map(Some),
            Err(error) if is_without_message(&error) => Ok(None),
            Err(error) => Err(missing::<T>(error)),
        }
    }

    pub(super) async fn write(
        &self,
        subject: &str,
        headers: HeaderMap,
        value: Bytes,
    ) -> Result<u64> {
        let appended = self.client.append(subject, None, headers, value).await?;
        Ok(appended.seq)
    }

    pub(super) async fn remove(
        &self,
        key: &str,
        operation: &str,
        mut headers: HeaderMap,
    ) -> Result<()> {
        headers.insert(OPERATION, operation);
        let removed = self.write(&self.subject(key)?, headers, Bytes::new()).await;
        removed.map(drop)
    }

    /// The bucket as async-nats has it.
    pub(super) async fn store(&self) -> Result<async_nats::jetstream::kv::Store> {
        self.client.check(|| Access::bucket(T::BUCKET))?;
        jetstream::stream_info(self.client.nats(), &self.stream())
            .await
            .map_err(missing::<T>)?;
        answered::<T, _, _>(self.client.jetstream().get_key_value(T::BUCKET)).await
    }
}

/// The server stores the value where this is the last revision of the key.
pub(super) fn expecting(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let expected = async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
    headers.insert(expected, revision.to_string());
    headers
}

pub(super) fn json_of<T: KvValue>(value: &T) -> Result<Bytes> {
    let json = serde_json::to_vec(value);
    let not_json = |error| {
        let message = format!("a value of the bucket {} is not JSON", T::BUCKET);
        Error::internal(message).with_source(error)
    };
    json.map(Bytes::from).map_err(not_json)
}

/// A bucket that is not there is a dependency that is down.
fn missing<T: KvValue>(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => {
            Error::unavailable(format!("there is no bucket {}; run `setup`", T::BUCKET))
                .with_source(error.message())
        }
        _ => error,
    }
}

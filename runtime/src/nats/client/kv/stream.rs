//! The stream that a bucket is: its messages, read and written.

use std::convert::Infallible;

use async_nats::HeaderMap;
use async_nats::jetstream::kv::Watch;
use bytes::Bytes;
use serde_json::json;

use super::entry::OPERATION;
use super::watch::{ANSWER_TIMEOUT, answered};
use super::{Kv, KvValue};
use crate::error::{Error, Kind, Result};
use crate::function::event::Message;
use crate::nats::client::access::Access;
use crate::nats::client::access::store::Store;
use crate::nats::client::subject::check_length;
use crate::nats::jetstream::raw_message::RawMessage;
use crate::nats::jetstream::{self, StreamInfo, calls, is_without_message};

impl<T: KvValue> Kv<T> {
    pub(super) fn stream(&self) -> String {
        Store::Bucket(T::BUCKET.to_owned()).stream()
    }

    /// The subject of a key, for a function that may use the bucket.
    pub(super) fn subject(&self, key: &str) -> Result<String> {
        self.client.check(|| Access::bucket(T::BUCKET))?;
        if !key.split('.').all(is_token) {
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
        let asked = jetstream::call::<RawMessage>(self.client.nats(), &call, &last);
        match in_time::<T, _>(asked).await {
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

    /// The bucket's stream; none where it is not there.
    pub(super) async fn found(&self) -> Result<Option<StreamInfo>> {
        match in_time::<T, _>(jetstream::stream_info(self.client.nats(), &self.stream())).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bucket's stream.
    pub(super) async fn info(&self) -> Result<StreamInfo> {
        self.client.check(|| Access::bucket(T::BUCKET))?;
        let found = self.found().await?;
        found.ok_or_else(|| missing::<T>(Error::new(Kind::NotFound, "stream not found")))
    }

    /// Every value of keys that may have wildcards, and what comes then.
    pub(super) async fn begin_watch(&self, keys: &str) -> Result<Watch> {
        let (rest, last) = keys.rsplit_once('.').unwrap_or(("*", keys));
        let is_last = |token| token == ">" || token == "*" || is_token(token);
        if !is_last(last) || !rest.split('.').all(|it| it == "*" || is_token(it)) {
            return Err(Error::bad_request(format!(
                "{keys:?} names no keys: tokens are letters, digits and -/_=, or `*`, and the last may be `>`"
            )));
        }
        check_length(keys)?;
        let store = self.store().await?;
        answered::<T, _, _>(ANSWER_TIMEOUT, store.watch_with_history(keys)).await
    }

    /// The bucket as async-nats has it.
    pub(super) async fn store(&self) -> Result<async_nats::jetstream::kv::Store> {
        self.info().await?;
        answered::<T, _, _>(
            ANSWER_TIMEOUT,
            self.client.jetstream().get_key_value(T::BUCKET),
        )
        .await
    }
}

fn is_token(token: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-/_=".contains(c);
    !token.is_empty() && token.chars().all(is_allowed)
}

/// Waits for JetStream no longer than async-nats is waited for.
async fn in_time<T: KvValue, R>(asked: impl Future<Output = Result<R>>) -> Result<R> {
    match answered::<T, _, _>(ANSWER_TIMEOUT, async { Ok::<_, Infallible>(asked.await) }).await {
        Ok(answer) => answer,
        Err(late) => Err(late),
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

//! A message in JetStream's JSON form.

use std::sync::Arc;
use std::time::SystemTime;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;

use super::parse_time;
use crate::error::{Error, Result};
use crate::function::event::{Message, nanoseconds};
use crate::nats::unreadable::examine;

/// The answer to `STREAM.MSG.GET`.
#[derive(Deserialize)]
pub(crate) struct RawMessage {
    message: RawFields,
}

#[derive(Deserialize)]
struct RawFields {
    subject: String,
    seq: u64,
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl RawMessage {
    pub(crate) fn seq(&self) -> u64 {
        self.message.seq
    }

    pub(crate) fn subject(&self) -> &str {
        &self.message.subject
    }

    pub(crate) fn time(&self) -> Result<SystemTime> {
        parse_time(&self.message.time).map_err(Error::internal)
    }

    pub(crate) fn payload(&self) -> Result<Bytes> {
        Ok(from_base64(&self.message.data)?.into())
    }

    /// The raw headers as stored.
    fn block(&self) -> Result<Vec<u8>> {
        from_base64(&self.message.hdrs)
    }

    /// The headers in their order, without malformed lines.
    pub(crate) fn headers(&self) -> Result<Vec<(String, String)>> {
        Ok(String::from_utf8_lossy(&self.block()?)
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect())
    }

    pub(crate) fn read(&self) -> Result<Message> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers()? {
            // Skips what async-nats would refuse or panic on: no client could have read that header.
            if let (Ok(name), false) = (
                name.parse::<async_nats::HeaderName>(),
                value.contains(['\r', '\n']),
            ) {
                headers.append(name, value);
            }
        }
        Ok(Message {
            subject: self.message.subject.as_str().into(),
            headers,
            payload: self.payload()?,
            seq: self.message.seq,
            time_ns: nanoseconds(parse_time(&self.message.time).map_err(Error::internal)?),
            unreadable: examine(&self.message.subject, &self.block()?).map(Arc::new),
        })
    }
}

pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(Error::from)
}

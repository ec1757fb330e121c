//! The streams and buckets of the service, in memory: they acknowledge what they capture, and give single messages
//! back.

use std::time::SystemTime;

use async_nats::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::wire::block;
use crate::function::event::{Message, nanoseconds};
use crate::function::template::{covers, overlap};
use crate::nats::jetstream::{calls, format_time};
use crate::service::stream::Stream;

/// Each stream by its name, its subjects, and what it holds.
pub(super) struct Streams(Vec<Held>);

struct Held {
    name: String,
    subjects: Vec<String>,
    messages: Vec<Message>,
    last: u64,
}

impl Streams {
    pub(super) fn of<'a>(streams: impl Iterator<Item = &'a Stream>) -> Self {
        let held = streams.map(|stream| Held {
            name: stream.name().to_owned(),
            subjects: stream.subjects().map(str::to_owned).collect(),
            messages: Vec::new(),
            last: 0,
        });
        Self(held.collect())
    }

    /// What JetStream answers to a message, where it does.
    pub(super) fn handle(&mut self, message: &mut Message) -> Option<Value> {
        let reading = calls::whole(&calls::message(""));
        if let Some(name) = message.subject.strip_prefix(&reading) {
            let held = self.0.iter().find(|held| held.name == name)?;
            return Some(held.read(&message.payload));
        }
        let held = self.0.iter_mut().find(|held| {
            let mut subjects = held.subjects.iter();
            subjects.any(|captured| covers(captured, &message.subject))
        })?;
        Some(held.append(message))
    }
}

impl Held {
    fn append(&mut self, message: &mut Message) -> Value {
        let header = |name: &str| message.headers.get(name).map(|value| value.as_str());
        let of_subject = |it: &&Message| it.subject == message.subject;
        let last = self.messages.iter().rev().find(of_subject);
        let last = last.map_or(0, |last| last.seq);
        let expected = header(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE.as_ref());
        if expected.is_some_and(|expected| expected != last.to_string()) {
            return failed(10071, format!("wrong last sequence: {last}"));
        }
        let expected = header(header::NATS_EXPECTED_LAST_SEQUENCE.as_ref());
        if expected.is_some_and(|expected| expected != self.last.to_string()) {
            return failed(10071, format!("wrong last sequence: {}", self.last));
        }
        if let Some(id) = header(header::NATS_MESSAGE_ID.as_ref()) {
            let id_of = |it: &&Message| {
                let known = it.headers.get(header::NATS_MESSAGE_ID);
                known.is_some_and(|known| known.as_str() == id)
            };
            if let Some(known) = self.messages.iter().find(id_of) {
                return json!({ "stream": self.name, "seq": known.seq, "duplicate": true });
            }
        }
        if header(header::NATS_ROLLUP.as_ref()).is_some() {
            self.messages.retain(|it| it.subject != message.subject);
        }
        self.last += 1;
        (message.seq, message.time_ns) = (self.last, nanoseconds(SystemTime::now()));
        self.messages.push(message.clone());
        json!({ "stream": self.name, "seq": self.last })
    }

    fn read(&self, question: &[u8]) -> Value {
        let question: Value = serde_json::from_slice(question).unwrap_or_default();
        let (seq, last) = (question["seq"].as_u64(), question["last_by_subj"].as_str());
        let next = question["next_by_subj"].as_str();
        let found = match (seq, last, next) {
            (_, Some(last), _) => {
                let mut messages = self.messages.iter().rev();
                messages.find(|it| overlap(last, &it.subject))
            }
            (Some(seq), _, Some(next)) => {
                let mut messages = self.messages.iter();
                messages.find(|it| it.seq >= seq && overlap(next, &it.subject))
            }
            (Some(seq), ..) => self.messages.iter().find(|it| it.seq == seq),
            _ => None,
        };
        let Some(found) = found else {
            return failed(10037, "no message found".to_owned());
        };
        json!({ "message": {
            "subject": found.subject.as_str(),
            "seq": found.seq,
            "time": format_time(found.time()),
            "hdrs": STANDARD.encode(block(None, &found.headers)),
            "data": STANDARD.encode(&found.payload),
        } })
    }
}

fn failed(err_code: u64, description: String) -> Value {
    json!({ "error": { "code": 400, "err_code": err_code, "description": description } })
}

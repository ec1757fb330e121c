//! Writes the dead letters that could not be written when they were due: one at a time while writes
//! fail, many at once after one has succeeded.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::Feed;
use crate::error::{Kind, Result};
use crate::function::event::{Entry, Key};
use crate::nats::jetstream::raw_message::RawMessage;
use crate::nats::jetstream::{call, calls};
use crate::run::consumer::hold::Cause;
use crate::run::consumer::settle::AT_ONCE;
use crate::run::consumer::unwritten::Letter;

/// The pauses between tries.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Feed {
    /// Runs until it is dropped.
    pub(super) async fn write_letters(&self) {
        let unwritten = &self.settler.unwritten;
        let mut last = None;
        let mut in_vain = 1;
        loop {
            unwritten.wait().await;
            if in_vain > 0 {
                let pause = SHORTEST_PAUSE * (1 << (in_vain - 1).min(8));
                tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
            }
            let n = if in_vain == 0 { AT_ONCE } else { 1 };
            let letters = unwritten.after(last, n);
            last = letters.last().map(|(key, _)| *key);
            let written = letters
                .iter()
                .map(|(key, letter)| self.write_letter(*key, letter));
            let failed = join_all(written).await.into_iter().find_map(Result::err);
            match failed {
                None => in_vain = 0,
                Some(error) => {
                    in_vain += 1;
                    self.settler.holds.hold(Cause::DeadLetters, &error);
                }
            }
            if unwritten.is_empty() {
                in_vain = 1;
                self.settler.holds.release(Cause::DeadLetters);
            }
        }
    }

    async fn write_letter(&self, key: Key, letter: &Letter) -> Result<()> {
        let name = calls::message(&letter.stream.name);
        let found = call::<RawMessage>(self.nats(), &name, &json!({ "seq": key.0 })).await;
        let found = match found {
            Ok(raw) => Some(raw.read()?),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_another = found.as_ref().is_some_and(|found| found.time_ns != key.1);
        let message = found.filter(|_| !is_another);
        match message {
            Some(message) => {
                let entry = Entry {
                    message,
                    stream: letter.stream.clone(),
                    delivered: 1,
                    decoded: None,
                };
                self.settler
                    .write(&entry, &letter.error, letter.attempts)
                    .await?;
            }
            None => {
                let error = &letter.error;
                tracing::error!(seq = key.0, %error, "a message has left its stream before its dead letter could be written");
            }
        }
        if is_another {
            // The log was rolled back; the other message is not to be ended.
            self.settler.unwritten.take(key);
        } else {
            self.settler.end_unwritten(key).await;
        }
        Ok(())
    }
}

//! A request for history, parsed.

use natsfn::{Caller, Error, FromEvent, Request, Result, from_json};
use serde::Deserialize;

use crate::place::Place;
use crate::store::rows::{Cursor, Position};

/// The limit if the request names none.
const DEFAULT_LIMIT: u64 = 50;

/// The highest limit.
const MAX_LIMIT: u64 = 200;

/// Describes a valid payload in errors.
const ALLOWED: &str = "the JSON object {limit, before, after}, with positions {epoch, seq}";

/// A room, and which of its messages. The payload is empty or `{limit, before, after}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The room.
    pub place: Place,
    /// Which messages.
    pub cursor: Cursor,
    /// How many at most.
    pub limit: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    limit: Option<u64>,
    before: Option<Position>,
    after: Option<Position>,
}

impl Question {
    /// Reads a request's subject and payload.
    ///
    /// # Errors
    /// 400 that says what is allowed.
    pub fn read(subject: &str, payload: &[u8]) -> Result<Self> {
        let place = Place::of(subject)?;
        let payload: Payload = if payload.trim_ascii().is_empty() {
            Payload::default()
        } else {
            from_json(payload).map_err(|error| {
                Error::bad_request(format!("the payload must be empty or {ALLOWED}: {error}"))
            })?
        };
        let limit = payload.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::bad_request(format!(
                "a limit is 1 to {MAX_LIMIT}, this one is {limit}"
            )));
        }
        let cursor = match (payload.before, payload.after) {
            (None, None) => Cursor::Last,
            (Some(before), None) => Cursor::Before(before),
            (None, Some(after)) => Cursor::After(after),
            (Some(_), Some(_)) => {
                return Err(Error::bad_request("before and after exclude each other"));
            }
        };
        Ok(Self {
            place,
            cursor,
            limit,
        })
    }
}

impl<S> FromEvent<Request, S> for Question {
    fn from_event(request: &mut Request, state: &S) -> Result<Self> {
        // The server's permissions decide which people may read. A request from inside chat's own
        // account has no caller, and is refused.
        Caller::from_event(request, state)?;
        Self::read(request.subject(), request.payload())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_payload_asks_for_the_last_50() {
        for payload in ["", " ", "{}"] {
            let question = Question::read("chat.history.general", payload.as_bytes()).unwrap();
            assert_eq!((question.cursor, question.limit), (Cursor::Last, 50));
        }
    }

    #[test]
    fn position_may_have_other_fields_of_a_message() {
        let payload = br#"{"before":{"epoch":1,"seq":7,"text":"x"},"limit":200}"#;
        let question = Question::read("chat.history.general", payload).unwrap();
        assert_eq!(
            question.cursor,
            Cursor::Before(Position { epoch: 1, seq: 7 })
        );
    }

    #[test]
    fn invalid_payload_is_refused() {
        for payload in [
            "[",
            "[50]",
            r#"{"before":[1,7]}"#,
            "7",
            r#"{"limit":0}"#,
            r#"{"limit":201}"#,
            r#"{"limit":-1}"#,
            r#"{"limit":"x"}"#,
            r#"{"before":7}"#,
            r#"{"before":{"epoch":1,"seq":1},"after":{"epoch":1,"seq":1}}"#,
        ] {
            let error = Question::read("chat.history.general", payload.as_bytes()).unwrap_err();
            assert_eq!(error.kind().code(), 400, "{payload}");
        }
    }
}

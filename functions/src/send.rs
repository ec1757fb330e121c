//! Accepts messages.

use std::time::{SystemTime, UNIX_EPOCH};

use natsfn::{Caller, Client, Error, HeaderMap, Json, Kind, Message as LoggedMessage, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::message::identity::Identity;
use crate::message::logged::Logged;
use crate::message::{Draft, Message};
use crate::place::Place;
use crate::subjects::{LOG, MAX_MESSAGE, logged};

/// The answer: the message is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The sender's own id of the message.
    pub id: String,
    /// Its sequence in the log.
    pub seq: u64,
    /// When it was accepted, in ms since 1970.
    pub timestamp: i64,
}

/// Accepts a message: once this answers, the message is in the log. A repeat with the same id gets
/// the first one's answer.
///
/// # Errors
/// 413 if the stored form exceeds 15 KiB, 400 for an invalid id or text, 409 if the id belongs to
/// another message, 503 while the log accepts nothing.
pub async fn send(
    client: Client,
    caller: Caller,
    place: Place,
    Json(draft): Json<Draft>,
) -> Result<Json<Sent>> {
    let (message, payload) = accept(&caller, place, draft)?;
    let subject = logged(message.realm, &message.room);
    // The id of a draft is unique only per sender.
    let id = format!("{}:{}", message.uid, message.id);
    let appended = client
        .append(&subject, Some(&id), HeaderMap::new(), payload.into())
        .await?;
    if appended.duplicate {
        let first = client.message(LOG, appended.seq).await?;
        return repeated(message, first).map(Json);
    }
    Ok(Json(Sent {
        id: message.id,
        seq: appended.seq,
        timestamp: message.timestamp,
    }))
}

/// The message that a draft becomes, and its bytes in the log.
fn accept(caller: &Caller, place: Place, draft: Draft) -> Result<(Message, Vec<u8>)> {
    let Identity { uid, name } = Identity::of(caller)?;
    let message = Message {
        id: draft.id,
        user: name,
        uid,
        text: draft.text,
        timestamp: now(),
        room: place.room,
        realm: place.realm,
    };
    let payload = serde_json::to_vec(&message)?;
    if payload.len() > MAX_MESSAGE {
        let said = format!(
            "a message is at most {MAX_MESSAGE} bytes as it is stored, this one has {}",
            payload.len()
        );
        return Err(Error::new(Kind::TooLarge, said).with_details(json!({ "limit": MAX_MESSAGE })));
    }
    let draft = Draft {
        id: message.id.clone(),
        text: message.text.clone(),
    };
    draft
        .check()
        .map_err(|refusal| Error::bad_request(refusal.to_string()))?;
    Ok((message, payload))
}

/// The answer to a repeat: that of the first message, if both have the same content.
fn repeated(message: Message, first: Option<LoggedMessage>) -> Result<Sent> {
    let Some(first) = first else {
        // It was stored and then trimmed. After the duplicate window a retry is appended again, and
        // the database recognizes its id.
        return Err(Error::unavailable(
            "the first message of this id has left the log",
        ));
    };
    let seq = first.seq();
    match Logged::from(&first).message() {
        Ok(first) if first.uid == message.uid && first.same_content(&message) => Ok(Sent {
            id: message.id,
            seq,
            timestamp: first.timestamp,
        }),
        _ => {
            let said = "this id stands for another message of yours: a new message needs a new id";
            Err(Error::new(Kind::Conflict, said).with_details(json!({ "seq": seq })))
        }
    }
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(text: &str) -> Result<(Message, Vec<u8>)> {
        let caller = Caller {
            user: "bob~Bob".into(),
            account: "PEOPLE".into(),
        };
        let draft = Draft {
            id: "1".into(),
            text: text.into(),
        };
        accept(&caller, Place::of("chat.send.general").unwrap(), draft)
    }

    #[test]
    fn sender_is_the_caller_and_time_is_the_services() {
        let (message, payload) = accepted("hello").unwrap();
        assert_eq!((&*message.uid, &*message.user), ("bob", "Bob"));
        assert!(message.timestamp > 1_700_000_000_000);
        let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(json["room"], "general");
    }

    #[test]
    fn size_is_refused_before_length() {
        assert_eq!(accepted(&"x".repeat(4_000)).unwrap().0.text.len(), 4_000);
        assert_eq!(
            accepted(&"x".repeat(4_001)).unwrap_err().kind(),
            Kind::BadRequest
        );
        assert_eq!(
            accepted(&"x".repeat(16_000)).unwrap_err().kind(),
            Kind::TooLarge
        );
        // 4,000 characters that may be said, and are too many bytes.
        assert_eq!(
            accepted(&"😀".repeat(4_000)).unwrap_err().kind(),
            Kind::TooLarge
        );
    }
}

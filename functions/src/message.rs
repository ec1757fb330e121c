//! A message, and the rules for its fields.

#[cfg(test)]
mod cases;
pub mod identity;
pub mod logged;
pub mod room;
pub mod visible;

use serde::{Deserialize, Serialize};

use room::{BadRoom, Realm, Room, is_token};
use visible::is_visible;

/// The longest text, in characters (Unicode scalar values).
pub const MAX_TEXT: usize = 4_000;

/// The longest id, in bytes, that a trusted back end may give. An index holds it, and PostgreSQL
/// refuses an index entry of more than 2,704 bytes.
pub const MAX_FOREIGN_ID: usize = 256;

/// A message. Its JSON is `{id, user, uid, text, timestamp, room}`; the subject has its realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The sender's id of the message; `(uid, id)` identifies it.
    pub id: String,
    /// The sender's name as shown to people.
    pub user: String,
    /// Who sent it; empty for a trusted back end.
    pub uid: String,
    /// What was said.
    pub text: String,
    /// When it was sent, in ms since 1970.
    pub timestamp: i64,
    /// The room within the realm.
    pub room: Room,
    /// Who may read it.
    #[serde(skip)]
    pub realm: Realm,
}

impl Message {
    /// Whether text and room are the same, so that the second of one id is a harmless repeat.
    pub fn same_content(&self, other: &Self) -> bool {
        self.same_room(other) && self.text == other.text
    }

    /// Whether both are in the same room of the same realm.
    pub fn same_room(&self, other: &Self) -> bool {
        self.realm == other.realm && self.room == other.room
    }
}

/// The payload of `send`. Unknown fields are ignored, even `user`: the sender is the caller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Draft {
    /// The sender's own id, the same in each retry: 1 to 64 of `[A-Za-z0-9_-]`.
    pub id: String,
    /// The text: 1 to 4,000 characters, at least one of them visible.
    pub text: String,
}

impl Draft {
    /// Refuses an invalid draft. Only drafts need a visible text: messages of back ends, and those
    /// already in the log, are stored as they are.
    pub fn check(&self) -> Result<(), Refusal> {
        if !is_token(&self.id) {
            return Err(Refusal::Id);
        }
        check_text(&self.text)?;
        if is_visible(&self.text) {
            Ok(())
        } else {
            Err(Refusal::Invisible)
        }
    }
}

/// Why a message is invalid, as a sentence that says what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The id of a draft.
    #[error("an id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -")]
    Id,
    /// The id of a stored message, which a back end may have made.
    #[error("the id of a stored message is 1 to {MAX_FOREIGN_ID} bytes, this one has {0}")]
    ForeignId(usize),
    /// The uid of a stored message.
    #[error("a uid is empty or 1 to 64 of the characters A-Z, a-z, 0-9, _ and -")]
    Uid,
    /// A text that is empty or too long, with its length.
    #[error("a text is 1 to {MAX_TEXT} characters long, this one has {0}")]
    TextLength(usize),
    /// A text of a draft in which nobody would see anything.
    #[error(
        "a text needs something that can be seen, this one has only blanks or hidden characters"
    )]
    Invisible,
    /// A NUL, with the field that holds it. PostgreSQL would refuse the whole batch for it.
    #[error("{0} may not contain the character NUL (U+0000)")]
    Nul(&'static str),
    /// A payload that is not the JSON of a message.
    #[error(
        "the payload must be a JSON object {{user, text, timestamp}}, with id, uid and room where known: {0}"
    )]
    Payload(String),
    /// Headers or a subject that no client can parse.
    #[error("no client can parse it: {0}")]
    Unreadable(String),
    /// A subject whose first token is not a realm.
    #[error("the subject is not <realm>.<room>: it is {0}")]
    Subject(String),
    /// An invalid room name.
    #[error(transparent)]
    Room(#[from] BadRoom),
    /// A payload that names another room than its subject.
    #[error("the payload says room {said}, the subject says {subject}: they must be the same")]
    OtherRoom {
        /// The payload's room.
        said: String,
        /// The subject's room.
        subject: Room,
    },
    /// A timestamp before 1970 or too far in the future.
    #[error(
        "a timestamp is in ms since 1970, at most one day later than the log's own time {log} ms; this one is {said}"
    )]
    Timestamp {
        /// The payload's time in ms.
        said: i64,
        /// The time at which the log took the message, in ms.
        log: i64,
    },
}

/// Refuses a text that is empty, longer than [`MAX_TEXT`], or has a NUL in it.
pub(crate) fn check_text(text: &str) -> Result<(), Refusal> {
    let length = text.chars().count();
    if !(1..=MAX_TEXT).contains(&length) {
        return Err(Refusal::TextLength(length));
    }
    refuse_nul("a text", text)
}

/// Refuses a NUL: PostgreSQL refuses it too, and some SQLite tools cut the text there.
pub(crate) fn refuse_nul(field: &'static str, value: &str) -> Result<(), Refusal> {
    if value.contains('\0') {
        Err(Refusal::Nul(field))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(id: &str, text: &str) -> Draft {
        Draft {
            id: id.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn good_draft_passes() {
        let long = "я".repeat(MAX_TEXT);
        for (id, text) in [
            ("1", "x"),
            ("0191-a_B", "\u{200b}."),
            (&*"i".repeat(64), &*long),
        ] {
            draft(id, text).check().unwrap();
        }
    }

    #[test]
    fn invalid_draft_is_refused_with_what_is_allowed() {
        for id in ["", "a b", "a.b", "ä", "a\0", &"i".repeat(65)] {
            let error = draft(id, "x").check().unwrap_err();
            assert_eq!(
                error.to_string(),
                "an id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -"
            );
        }
        let error = draft("1", "").check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a text is 1 to 4000 characters long, this one has 0"
        );
        let error = draft("1", &"😀".repeat(MAX_TEXT + 1)).check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a text is 1 to 4000 characters long, this one has 4001"
        );
        for text in [" \n", "\u{200b}\u{2060}", "\u{7}", "\u{3164}"] {
            let error = draft("1", text).check().unwrap_err();
            assert_eq!(
                error.to_string(),
                "a text needs something that can be seen, this one has only blanks or hidden characters"
            );
        }
        let error = draft("1", "a\0b").check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a text may not contain the character NUL (U+0000)"
        );
    }

    #[test]
    fn draft_ignores_unknown_fields_and_refuses_wrong_ones() {
        let json = r#"{"id":"1","text":"hello","user":"alice","room":"admin"}"#;
        assert_eq!(
            serde_json::from_str::<Draft>(json).unwrap(),
            draft("1", "hello")
        );
        for bad in [
            r#"{"id":1,"text":"x"}"#,
            r#"{"id":"1"}"#,
            r#"{"id":"1","text":"\ud800"}"#,
            "[]",
            "",
        ] {
            assert!(serde_json::from_str::<Draft>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn message_is_json_without_its_realm() {
        let message = Message {
            id: "1".into(),
            user: "Alice".into(),
            uid: "alice".into(),
            text: "hello".into(),
            timestamp: 1_700_000_000_000,
            room: "general".parse().unwrap(),
            realm: Realm::Chat,
        };
        assert_eq!(
            serde_json::to_string(&message).unwrap(),
            r#"{"id":"1","user":"Alice","uid":"alice","text":"hello","timestamp":1700000000000,"room":"general"}"#
        );
    }
}

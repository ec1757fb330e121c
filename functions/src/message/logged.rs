//! A message of the log, and whether it can be stored.

use natsfn::from_json;
use serde::Deserialize;

use super::room::{Realm, Room, is_token};
use super::{MAX_FOREIGN_ID, Message, Refusal, check_text, refuse_nul};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Unknown fields nested deeper than this make a dead letter: the live copy of a message is read
/// by everybody in the room, with whatever JSON parser they have.
const MAX_DEPTH: usize = 64;

/// One message of the log: what the stream knows about it, and the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// The subject, `<realm>.<room>`.
    pub subject: &'a str,
    /// The header `Nats-Msg-Id`, if any; for a replayed dead letter, the original one.
    pub message_id: Option<&'a str>,
    /// Its sequence and stream time (ns since 1970); for a replayed dead letter, the original ones.
    pub origin: (u64, i64),
    /// When the stream accepted it, in ns since 1970.
    pub time_ns: i64,
    /// The bytes.
    pub payload: &'a [u8],
    /// Why no client can parse it, for such a message.
    pub unreadable: Option<&'a str>,
}

impl<'a> From<&'a natsfn::Message> for Logged<'a> {
    fn from(message: &'a natsfn::Message) -> Self {
        Self {
            subject: message.subject(),
            message_id: message.message_id(),
            origin: message.origin(),
            time_ns: message.time_ns(),
            payload: message.payload(),
            unreadable: message.unreadable(),
        }
    }
}

impl Logged<'_> {
    /// The message, or why it is a dead letter. `persist` and `history` share this rule, so they
    /// agree on what a room holds.
    ///
    /// A payload with both `uid` and `id` was written by `send` (or by a back end that speaks for a
    /// person). Any other is a back end's: its uid is empty, its id is `Nats-Msg-Id`, or else
    /// sequence and time. The header does not decide, because a replayed dead letter has a new one.
    pub fn message(&self) -> Result<Message, Refusal> {
        if let Some(why) = self.unreadable {
            return Err(Refusal::Unreadable(why.to_owned()));
        }
        let (realm, room) = self.place()?;
        let payload = self.payload()?;
        if let Some(said) = payload.room.filter(|said| said != room.as_str()) {
            return Err(Refusal::OtherRoom {
                said,
                subject: room,
            });
        }
        let (uid, id) = match (payload.uid, payload.id) {
            (Some(uid), Some(id)) => (uid, id),
            _ => (String::new(), self.own_id()),
        };
        if !(uid.is_empty() || is_token(&uid)) {
            return Err(Refusal::Uid);
        }
        if !(1..=MAX_FOREIGN_ID).contains(&id.len()) {
            return Err(Refusal::ForeignId(id.len()));
        }
        refuse_nul("an id", &id)?;
        refuse_nul("a user", &payload.user)?;
        check_text(&payload.text)?;
        let log = self.time_ns / 1_000_000;
        if !(0..=log + DAY_MS).contains(&payload.timestamp) {
            return Err(Refusal::Timestamp {
                said: payload.timestamp,
                log,
            });
        }
        let Payload {
            user,
            text,
            timestamp,
            ..
        } = payload;
        Ok(Message {
            id,
            user,
            uid,
            text,
            timestamp,
            room,
            realm,
        })
    }

    fn place(&self) -> Result<(Realm, Room), Refusal> {
        let bad = || Refusal::Subject(self.subject.to_owned());
        let (realm, room) = self.subject.split_once('.').ok_or_else(bad)?;
        Ok((realm.parse().map_err(|_| bad())?, room.parse()?))
    }

    fn payload(&self) -> Result<Payload, Refusal> {
        let json = std::str::from_utf8(self.payload)
            .map_err(|error| Refusal::Payload(error.to_string()))?;
        if depth(json) > MAX_DEPTH {
            return Err(Refusal::Payload(format!(
                "it is nested deeper than {MAX_DEPTH}"
            )));
        }
        from_json(self.payload).map_err(|error| Refusal::Payload(error.to_string()))
    }

    /// Never the sequence alone: after a rollback of the log it would name another message.
    fn own_id(&self) -> String {
        match self.message_id {
            Some(id) => id.to_owned(),
            None => format!("{}-{}", self.origin.0, self.origin.1),
        }
    }
}

/// What `send` and trusted back ends write. A repeated key is an error, an unknown one is not.
#[derive(Deserialize)]
struct Payload {
    user: String,
    text: String,
    timestamp: i64,
    #[serde(default)]
    room: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    id: Option<String>,
}

/// How deep brackets are nested outside of strings.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_NS: i64 = 1_700_000_000_123_456_789;
    const TIME_MS: i64 = TIME_NS / 1_000_000;

    fn logged<'a>(subject: &'a str, message_id: Option<&'a str>, payload: &'a str) -> Logged<'a> {
        Logged {
            subject,
            message_id,
            origin: (7, TIME_NS),
            time_ns: TIME_NS,
            payload: payload.as_bytes(),
            unreadable: None,
        }
    }

    fn refusal(payload: &str) -> Refusal {
        logged("chat.general", None, payload).message().unwrap_err()
    }

    #[test]
    fn message_of_send_is_read_as_it_was_written() {
        let message = Message {
            id: "1".into(),
            user: "Alice \"A\" [x]".into(),
            uid: "alice".into(),
            text: "hello {[\\".into(),
            timestamp: TIME_MS,
            room: "general".parse().unwrap(),
            realm: Realm::Admin,
        };
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(
            logged("admin.general", Some("alice:1"), &json)
                .message()
                .unwrap(),
            message
        );
        let replayed = logged("admin.general", Some("another"), &json)
            .message()
            .unwrap();
        assert_eq!(
            replayed, message,
            "a replay has a new Nats-Msg-Id and is the same message"
        );
    }

    #[test]
    fn message_of_a_back_end_has_no_uid_and_its_own_id() {
        let json =
            r#"{"user":"backend","text":"hi","timestamp":1700000000000,"more":{"is":["fine"]}}"#;
        let message = logged("chat.general", Some("order-5"), json)
            .message()
            .unwrap();
        assert_eq!(
            (&*message.uid, &*message.id, message.room.as_str()),
            ("", "order-5", "general")
        );
        let message = logged("chat.general", None, json).message().unwrap();
        assert_eq!((&*message.uid, &*message.id), ("", "7-1700000000123456789"));
    }

    #[test]
    fn replayed_message_of_a_back_end_is_the_same_message() {
        let json = r#"{"user":"backend","text":"hi","timestamp":1}"#;
        let mut replayed = logged("chat.general", None, json);
        replayed.time_ns += 1_000;
        assert_eq!(
            replayed.message().unwrap(),
            logged("chat.general", None, json).message().unwrap()
        );
    }

    #[test]
    fn uid_or_id_alone_makes_a_message_of_a_back_end() {
        for extra in [
            r#""uid":"alice""#,
            r#""id":"1""#,
            r#""uid":null,"id":"1","room":null"#,
        ] {
            let json = format!(r#"{{"user":"b","text":"hi","timestamp":1,{extra}}}"#);
            let message = logged("chat.general", Some("m"), &json).message().unwrap();
            assert_eq!((&*message.uid, &*message.id), ("", "m"), "{extra}");
        }
    }

    #[test]
    fn broken_payload_is_refused() {
        let deep = format!(
            r#"{{"user":"b","text":"x","timestamp":1,"x":{}{}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        for bad in [
            "",
            "null",
            "[]",
            r#"["b","x",1]"#,
            "{",
            "not json",
            r#"{"user":"b","text":"x"}"#,
            r#"{"user":"b","text":5,"timestamp":1}"#,
            r#"{"user":null,"text":"x","timestamp":1}"#,
            r#"{"user":"b","text":"x","timestamp":"1"}"#,
            r#"{"user":"b","text":"x","timestamp":1.5}"#,
            r#"{"user":"b","text":"x","timestamp":1e999}"#,
            r#"{"user":"b","text":"x","timestamp":99999999999999999999}"#,
            r#"{"user":"b","text":"x","text":"y","timestamp":1}"#,
            r#"{"user":"b","text":"\ud800","timestamp":1}"#,
            r#"{"user":"b","text":"x","timestamp":1,"room":5}"#,
            r#"{"user":"b","text":"x","timestamp":1} trailing"#,
            &deep,
        ] {
            assert!(matches!(refusal(bad), Refusal::Payload(_)), "{bad:.60}");
        }
        let latin1 = Logged {
            payload: b"{\"user\":\"\xe9\"}",
            ..logged("chat.general", None, "")
        };
        assert!(matches!(latin1.message(), Err(Refusal::Payload(_))));
    }

    #[test]
    fn text_that_a_database_refuses_is_refused() {
        let with = |text: &str| format!(r#"{{"user":"b","text":"{text}","timestamp":1}}"#);
        assert!(matches!(refusal(&with("")), Refusal::TextLength(0)));
        assert!(matches!(
            refusal(&with(&"ж".repeat(4001))),
            Refusal::TextLength(4001)
        ));
        assert!(matches!(
            refusal(&with(r"a\u0000b")),
            Refusal::Nul("a text")
        ));
        let user = r#"{"user":"a\u0000","text":"x","timestamp":1}"#;
        assert!(matches!(refusal(user), Refusal::Nul("a user")));
    }

    #[test]
    fn invalid_uid_or_id_is_refused() {
        let with = |uid: &str, id: &str| {
            format!(r#"{{"user":"b","text":"x","timestamp":1,"uid":"{uid}","id":"{id}"}}"#)
        };
        assert!(matches!(refusal(&with("a.b", "1")), Refusal::Uid));
        assert!(matches!(refusal(&with("alice", "")), Refusal::ForeignId(0)));
        assert!(matches!(
            refusal(&with("alice", &"i".repeat(257))),
            Refusal::ForeignId(257)
        ));
        assert!(matches!(
            refusal(&with("alice", r"\u0000")),
            Refusal::Nul("an id")
        ));
    }

    #[test]
    fn room_of_the_payload_must_be_that_of_the_subject() {
        let json = r#"{"user":"b","text":"x","timestamp":1,"room":"general"}"#;
        logged("chat.general", None, json).message().unwrap();
        let error = logged("chat.other", None, json).message().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the payload says room general, the subject says other: they must be the same"
        );
        assert!(matches!(
            logged("chat.История", None, json).message(),
            Err(Refusal::Room(_))
        ));
        for subject in ["chat", "", "live.general", "CHAT.general"] {
            assert!(
                matches!(
                    logged(subject, None, json).message(),
                    Err(Refusal::Subject(_))
                ),
                "{subject}"
            );
        }
        assert!(matches!(
            logged("chat.general.x", None, json).message(),
            Err(Refusal::Room(_))
        ));
    }

    #[test]
    fn timestamp_is_at_most_one_day_ahead_of_the_log() {
        let with = |timestamp: i64| format!(r#"{{"user":"b","text":"x","timestamp":{timestamp}}}"#);
        for good in [0, TIME_MS, TIME_MS + DAY_MS] {
            assert_eq!(
                logged("chat.a", None, &with(good))
                    .message()
                    .unwrap()
                    .timestamp,
                good
            );
        }
        for bad in [-1, TIME_MS + DAY_MS + 1, i64::MAX] {
            assert!(
                matches!(refusal(&with(bad)), Refusal::Timestamp { .. }),
                "{bad}"
            );
        }
    }
}

//! Checks the cases of `functions/tests/cases/message.json`, as the page's tests do too.

use natsfn::Caller;
use serde::Deserialize;
use serde_json::json;

use super::identity::Identity;
use super::logged::Logged;
use super::room::{Realm, Room, is_token};
use super::visible::is_visible;
use super::{Draft, Refusal};

const CASES: &str = include_str!("../../tests/cases/message.json");

#[derive(Deserialize)]
struct Cases {
    hidden: String,
    tokens: Vec<Token>,
    texts: Vec<Text>,
    ids: Vec<Id>,
    users: Vec<User>,
    log: Log,
}

#[derive(Deserialize)]
struct Token {
    why: String,
    token: String,
    times: Option<usize>,
    valid: bool,
}

#[derive(Deserialize)]
struct Text {
    why: String,
    text: String,
    times: Option<usize>,
    draft: bool,
    logged: bool,
    sent: Option<String>,
}

#[derive(Deserialize)]
struct Id {
    why: String,
    id: String,
    times: Option<usize>,
    valid: bool,
}

#[derive(Deserialize)]
struct User {
    why: String,
    user: String,
    #[serde(default)]
    then: String,
    times: Option<usize>,
    uid: Option<String>,
    #[serde(default)]
    name: String,
    name_times: Option<usize>,
}

#[derive(Deserialize)]
struct Log {
    time_ns: String,
    messages: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    why: String,
    #[serde(default)]
    payload: String,
    hex: Option<String>,
    nested: Option<usize>,
    message_id: Option<String>,
    stored: Option<Stored>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Stored {
    uid: String,
    id: String,
    user: String,
    text: String,
    timestamp: i64,
}

impl Entry {
    fn bytes(&self) -> Vec<u8> {
        if let Some(hex) = &self.hex {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            return (0..hex.len()).step_by(2).map(byte).collect();
        }
        let nested = self.nested.map_or_else(String::new, |levels| {
            format!("{}{}}}", "[".repeat(levels), "]".repeat(levels))
        });
        format!("{}{nested}", self.payload).into_bytes()
    }
}

fn cases() -> Cases {
    serde_json::from_str(CASES).unwrap()
}

fn repeated(value: &str, times: Option<usize>) -> String {
    value.repeat(times.unwrap_or(1))
}

fn draft(id: &str, text: &str) -> Result<(), Refusal> {
    let (id, text) = (id.to_owned(), text.to_owned());
    Draft { id, text }.check()
}

/// What the log holds of `payload`, in room general, at sequence 7.
fn stored(payload: &[u8], message_id: Option<&str>, time_ns: i64) -> Option<Stored> {
    let subject = format!("{}.general", Realm::Chat);
    let logged = Logged {
        subject: &subject,
        message_id,
        origin: (7, time_ns),
        time_ns,
        payload,
        unreadable: None,
    };
    let message = logged.message().ok()?;
    Some(Stored {
        uid: message.uid,
        id: message.id,
        user: message.user,
        text: message.text,
        timestamp: message.timestamp,
    })
}

#[test]
fn every_character_is_hidden_or_seen_as_the_cases_say() {
    let number = |hex| u32::from_str_radix(hex, 16).unwrap();
    let cases = cases();
    let ranges = cases.hidden.split(' ').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        number(first)..=number(last)
    });
    let hidden: Vec<_> = ranges.collect();
    for c in '\0'..=char::MAX {
        let expected = !hidden.iter().any(|range| range.contains(&u32::from(c)));
        assert_eq!(is_visible(&c.to_string()), expected, "{c:?}");
    }
}

#[test]
fn a_token_names_a_room_a_person_and_a_draft() {
    for case in cases().tokens {
        let token = repeated(&case.token, case.times);
        assert_eq!(is_token(&token), case.valid, "{}", case.why);
        assert_eq!(token.parse::<Room>().is_ok(), case.valid, "{}", case.why);
        assert_eq!(draft(&token, "x").is_ok(), case.valid, "{}", case.why);
    }
}

#[test]
fn a_text_is_sent_and_stored_as_the_cases_say() {
    for case in cases().texts {
        let text = repeated(&case.text, case.times);
        assert_eq!(draft("1", &text).is_ok(), case.draft, "{}", case.why);
        if let Some(sent) = case.sent {
            draft("1", &sent).unwrap_or_else(|error| panic!("{}: {error}", case.why));
        }
        let payload = json!({ "user": "b", "text": text, "timestamp": 1 }).to_string();
        let logged = stored(payload.as_bytes(), None, 1).map(|message| message.text);
        assert_eq!(logged, case.logged.then_some(text), "{}", case.why);
    }
}

#[test]
fn an_id_of_a_stored_message_is_short_enough_for_an_index() {
    for case in cases().ids {
        let id = repeated(&case.id, case.times);
        let payload = json!({ "user": "b", "text": "x", "timestamp": 1, "uid": "b", "id": id });
        let logged = stored(payload.to_string().as_bytes(), None, 1).map(|message| message.id);
        assert_eq!(logged, case.valid.then_some(id), "{}", case.why);
    }
}

#[test]
fn a_user_is_a_uid_and_a_name() {
    for case in cases().users {
        let caller = Caller {
            user: case.user + &case.then.repeat(case.times.unwrap_or(0)),
            account: "PEOPLE".into(),
        };
        let identity = Identity::of(&caller).ok();
        let name = repeated(&case.name, case.name_times);
        let expected = case.uid.map(|uid| Identity { uid, name });
        assert_eq!(identity, expected, "{}", case.why);
    }
}

#[test]
fn the_log_holds_what_the_cases_say() {
    let log = cases().log;
    let time_ns = log.time_ns.parse().unwrap();
    for case in log.messages {
        let stored = stored(&case.bytes(), case.message_id.as_deref(), time_ns);
        assert_eq!(stored, case.stored, "{}", case.why);
    }
}

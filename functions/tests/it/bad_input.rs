//! Bad input gets an error reply that says what is allowed, and the connection lives.

use async_nats::HeaderMap;
use serde_json::{Value, json};

use crate::person::{Person, read};
use crate::world::World;

/// Asks, expects an error, and that the next request works.
pub(crate) async fn refused(
    person: &Person,
    subject: &str,
    payload: impl Into<bytes::Bytes>,
) -> (u16, String) {
    let error = read::<Value>(&person.ask(subject, payload).await).unwrap_err();
    person.texts("chat.history.general").await;
    (error.code, error.message)
}

#[tokio::test]
async fn draft_that_is_none_is_refused_and_the_next_one_is_taken() {
    let world = World::new().await;
    let _running = world.serve_only(&["send", "history"]).await;
    let alice = world.person("alice").await;
    let long_id = "i".repeat(65);
    let long_text = "x".repeat(4_001);
    let drafts = [
        "",
        "null",
        "7",
        "[]",
        r#"["1","x"]"#,
        "{",
        "not json",
        r#"{"id":"1"}"#,
        r#"{"text":"x"}"#,
        r#"{"id":1,"text":"x"}"#,
        r#"{"id":"1","text":7}"#,
        r#"{"id":null,"text":"x"}"#,
        r#"{"id":"1","text":["x"]}"#,
        r#"{"id":"1","text":"\ud800"}"#,
        r#"{"id":"1","text":"a\u0000b"}"#,
        r#"{"id":"1","text":""}"#,
        r#"{"id":"","text":"x"}"#,
        r#"{"id":"a b","text":"x"}"#,
        r#"{"id":"a.b","text":"x"}"#,
        r#"{"id":"ä","text":"x"}"#,
        r#"{"id":"a:b","text":"x"}"#,
        r#"{"id":"1","text":"x","text":"y"}"#,
        r#"{"id":"1","text":"x"} trailing"#,
    ];
    let long = [
        json!({ "id": long_id, "text": "x" }),
        json!({ "id": "1", "text": long_text }),
    ];
    let drafts = drafts
        .map(str::to_owned)
        .into_iter()
        .chain(long.map(|long| long.to_string()));

    for draft in drafts {
        let (code, message) = refused(&alice, "chat.send.general", draft.clone()).await;
        assert_eq!(code, 400, "{draft:.60}: {message}");
        assert!(message.len() > 20, "a sentence: {message}");
    }
    let (code, _) = refused(&alice, "chat.send.general", vec![0xff, 0xfe]).await;
    assert_eq!(code, 400);
    let (_, message) = refused(
        &alice,
        "chat.send.general",
        json!({ "id": "1", "text": long_text }).to_string(),
    )
    .await;
    assert_eq!(
        message,
        "a text is 1 to 4000 characters long, this one has 4001"
    );

    alice
        .send("chat.send.general", "1", &"я".repeat(4_000))
        .await
        .unwrap();
    assert_eq!(world.log().await["messages"], 1);
}

#[tokio::test]
async fn question_that_is_none_is_refused_with_what_is_allowed() {
    let world = World::new().await;
    let _running = world.serve_only(&["history"]).await;
    let alice = world.person("alice").await;
    let position = json!({ "epoch": 1, "seq": 1 });

    for question in [
        "{".to_owned(),
        "7".to_owned(),
        r#""x""#.to_owned(),
        r#"{"limit":0}"#.to_owned(),
        r#"{"limit":201}"#.to_owned(),
        r#"{"limit":-1}"#.to_owned(),
        r#"{"limit":1.5}"#.to_owned(),
        r#"{"limit":"50"}"#.to_owned(),
        r#"{"before":7}"#.to_owned(),
        r#"{"before":{"epoch":1}}"#.to_owned(),
        r#"{"after":{"epoch":"1","seq":1}}"#.to_owned(),
        r#"{"after":{"epoch":1,"seq":99999999999999999999}}"#.to_owned(),
        json!({ "before": position, "after": position }).to_string(),
    ] {
        let (code, message) = refused(&alice, "chat.history.general", question.clone()).await;
        assert_eq!(code, 400, "{question}: {message}");
        assert!(message.len() > 20, "a sentence: {message}");
    }
}

#[tokio::test]
async fn message_over_15_kib_is_too_large_before_its_text_is_too_long() {
    let world = World::new().await;
    let _running = world.serve_only(&["send", "history"]).await;
    let alice = world.person("alice").await;
    let sent = alice.send("chat.send.general", "1", "x").await.unwrap();
    let overhead = {
        let logged = json!({
            "id": "2", "user": "alice", "uid": "alice", "text": "", "timestamp": sent.timestamp,
            "room": "general",
        });
        logged.to_string().len()
    };
    // Four bytes each, in at most 4,000 characters, up to the last byte.
    let fill = |bytes: usize| "😀".repeat(bytes / 4) + &"x".repeat(bytes % 4);

    alice
        .send("chat.send.general", "2", &fill(15 * 1024 - overhead))
        .await
        .unwrap();
    let error = alice
        .send("chat.send.general", "3", &fill(15 * 1024 + 1 - overhead))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.details),
        (413, Some(json!({ "limit": 15 * 1024 })))
    );
    assert_eq!(
        error.message,
        "a message is at most 15360 bytes as it is stored, this one has 15361"
    );
    let error = alice
        .send("chat.send.general", "3", &"x".repeat(100_000))
        .await
        .unwrap_err();
    assert_eq!(error.code, 413);

    let kib = 256 * 1024;
    let request = alice
        .nats
        .request("chat.send.general", "x".repeat(kib + 1).into())
        .await;
    assert!(
        request.unwrap_err().to_string().contains("max payload"),
        "refused by the client library"
    );
    alice
        .send("chat.send.general", "3", "the connection lives")
        .await
        .unwrap();
    assert_eq!(world.log().await["messages"], 3);
}

#[tokio::test]
async fn header_of_a_client_never_reaches_the_log() {
    let world = World::new().await;
    let _running = world.serve_only(&["send"]).await;
    let alice = world.person("alice").await;
    alice.send("chat.send.general", "1", "first").await.unwrap();
    let mut hostile = HeaderMap::new();
    for (name, value) in [
        ("Nats-Rollup", "all"),
        ("Nats-TTL", "1s"),
        ("Nats-Expected-Last-Sequence", "999"),
        ("Nats-Expected-Stream", "OTHER"),
        ("Nats-Msg-Id", "bob:1"),
        ("Nats-Trace-Only", "true"),
        ("X-Own", "x"),
    ] {
        hostile.insert(name, value);
    }

    let draft = json!({ "id": "2", "text": "second" }).to_string();
    let answer = alice.ask_with("chat.send.general", hostile, draft).await;
    read::<Value>(&answer).unwrap();

    assert_eq!(world.log().await["messages"], 2);
    let headers = world.logged(2).await.headers.unwrap();
    let names = headers.iter().map(|(name, _)| name.to_string());
    let mut names: Vec<String> = names.collect();
    names.sort();
    // All but the id are direct get's own.
    let expected = [
        "Nats-Msg-Id",
        "Nats-Sequence",
        "Nats-Stream",
        "Nats-Subject",
        "Nats-Time-Stamp",
    ];
    assert_eq!(names, expected);
    assert_eq!(headers.get("Nats-Msg-Id").unwrap().as_str(), "alice:2");
}

//! Reply subjects of an attacker's choice: an answer is no command, no message, and nobody else's.

use chat::auth::Session;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::person::{Person, read};
use crate::wait::{GUARD, until};
use crate::world::{World, append};

/// What a request with a reply subject of one's own choice may ask.
const QUESTIONS: [(&str, &str); 4] = [
    ("chat.history.general", ""),
    ("chat.history.general", "no json"),
    ("chat.send.general", "no json"),
    ("chat.send.general", r#"{"id":"1","text":"x"}"#),
];

/// Sends every question with that reply subject, and returns when each has been answered.
async fn ask_for_others(world: &World, person: &Person, reply: &str) {
    let running = world.serve_only(&["send", "history"]).await;
    for (subject, payload) in QUESTIONS {
        let reply = reply.to_owned();
        person
            .nats
            .publish_with_reply(subject, reply, payload.into())
            .await
            .unwrap();
    }
    until(
        &format!("every question with {reply} arrives"),
        async || {
            let stats = running.stats();
            let endpoints = stats["endpoints"].as_array().unwrap().iter();
            let requests = endpoints.map(|endpoint| endpoint["num_requests"].as_u64().unwrap());
            (requests.sum::<u64>() >= QUESTIONS.len() as u64).then_some(())
        },
    )
    .await;
    // It answers what it has before it stops.
    running.stop(GUARD).await;
}

#[tokio::test]
async fn answer_is_never_a_command_to_jetstream() {
    let world = World::new().await;
    let bob = world.person("bob").await;

    for call in [
        "STREAM.DELETE",
        "STREAM.PURGE",
        "STREAM.INFO",
        "STREAM.UPDATE",
        "CONSUMER.LIST",
    ] {
        ask_for_others(&world, &bob, &format!("$JS.API.{call}.CHAT_MESSAGES")).await;
    }

    let log = world.log().await;
    assert_eq!(
        (&log["messages"], &log["last_seq"]),
        (&json!(1), &json!(1)),
        "the log stands"
    );
    assert_eq!(world.consumer().await["name"], "chat-persist");
}

#[tokio::test]
async fn answer_lands_in_no_room_and_is_heard_by_nobody_else() {
    let world = World::new().await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    let mut live = alice.hear("live.chat.*").await;
    let mut admin = alice.hear("live.admin.*").await;
    let mut inbox = alice.hear("_INBOX.u.alice.>").await;

    for reply in [
        "chat.secret",
        "admin.secret",
        "live.chat.general",
        "live.admin.general",
        "live.chat.general.x",
        "chat.send.general",
        "admin.send.general",
        "_INBOX.s.send.x",
        "refused.live.chat.general",
        "dead.chat.persist.CHAT_MESSAGES.1-1",
    ] {
        ask_for_others(&world, &bob, reply).await;
    }
    alice.settle().await;

    // Where the imports' own answers come in, the server takes no reply subject at all.
    bob.nats
        .publish_with_reply("chat.history.general", "_R_.x", "".into())
        .await
        .unwrap();
    bob.refused("Publish with Reply of \"_R_.x\"").await;

    assert_eq!(
        world.log().await["messages"],
        1,
        "bob's own message and its repeats"
    );
    assert_eq!(world.dead_letters().await.len(), 0);
    let stored = live.next().await.unwrap();
    assert_eq!(stored.subject.as_str(), "live.chat.general");
    assert_eq!(
        serde_json::from_slice::<Value>(&stored.payload).unwrap()["uid"],
        "bob"
    );
    assert!(live.next().now_or_never().is_none());
    assert!(admin.next().now_or_never().is_none());
    // Alice's connection asks in a subscription of its own, which this one hears too.
    while let Some(Some(heard)) = inbox.next().now_or_never() {
        let body: Value = serde_json::from_slice(&heard.payload).unwrap();
        assert_eq!(body["data"]["user"], "alice", "only her own answer: {body}");
    }
}

#[tokio::test]
async fn back_end_cannot_use_its_reply_subject_against_the_log() {
    let world = World::new().await;
    let backend = world.backend().await;
    let message = json!({ "user": "b", "text": "x", "timestamp": 1 }).to_string();
    for call in ["STREAM.DELETE", "STREAM.PURGE"] {
        let reply = format!("$JS.API.{call}.CHAT_MESSAGES");
        let message = message.clone().into();
        backend
            .nats()
            .publish_with_reply("chat.general", reply, message)
            .await
            .unwrap();
    }
    append(&backend, "chat.general", Some("last"), message).await;

    assert_eq!(world.log().await["messages"], 3);
}

/// The person asks a function, whose answer would ask `auth` for a session token.
#[tokio::test]
async fn answer_is_no_question_for_a_session_token() {
    let world = World::new().await;
    let bob = world.person("bob").await;

    ask_for_others(&world, &bob, "auth.session").await;
    // His own question comes after those.
    let own: Session = read(&bob.ask("auth.session", "").await).unwrap();

    assert!(!own.token.is_empty());
    let stats = world.doorman.running.stats();
    let mut endpoints = stats["endpoints"].as_array().unwrap().iter();
    let session = endpoints.find(|endpoint| endpoint["name"] == "session");
    let count = |what: &str| session.unwrap()[what].as_u64().unwrap();
    let granted = count("num_requests") - count("num_errors");
    assert_eq!(granted, 1, "{session:?}");
}

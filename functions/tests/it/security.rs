//! SECURITY.md's attacks, by users who should not succeed.

use async_nats::HeaderMap;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::person::{Person, read};
use crate::wait::{GUARD, until};
use crate::world::{NATS_CONF, World, append, connect, server};

const PEOPLE: [&str; 3] = ["alice", "bob", "charlie"];

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
    assert_eq!(world.consumer().await["name"], "persist");
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
async fn person_publishes_into_no_log_and_no_room() {
    let world = World::new().await;
    for name in PEOPLE {
        let person = world.person(name).await;
        for subject in [
            "chat.general",
            "admin.general",
            "$JS.API.STREAM.DELETE.CHAT_MESSAGES",
            "$JS.API.INFO",
            "$JS.ACK.CHAT_MESSAGES.persist.1.1.1.1.0",
            "$SRV.PING",
            "fn.chat.persist",
            "dead.chat.persist.x",
            "_INBOX.u.alice.x",
            "_INBOX.s.send.x",
            "_R_.x",
            "$SYS.REQ.SERVER.PING",
            "chat.send.a.b",
        ] {
            person.may_not_publish(subject).await;
        }
        // What looks like the log's own voice is mapped away before it is refused.
        for subject in ["live.chat.general", "live.admin.general"] {
            let refused = format!("Publish to \"refused.{subject}\"");
            person.nats.publish(subject, "x".into()).await.unwrap();
            person.refused(&refused).await;
        }
    }
    assert_eq!(world.log().await["last_seq"], 0);
}

#[tokio::test]
async fn person_hears_nothing_but_rooms_and_the_own_inbox() {
    let world = World::new().await;
    for name in PEOPLE {
        let person = world.person(name).await;
        let other = if name == "bob" { "alice" } else { "bob" };
        for subject in [
            "_INBOX.>",
            "_INBOX.u.>",
            "_INBOX.u.*.>",
            "_INBOX.s.>",
            &format!("_INBOX.u.{other}.>"),
            "chat.*",
            "chat.>",
            "admin.*",
            "live.>",
            "live.*.*",
            "refused.>",
            ">",
            "*.*",
            "$SYS.>",
            "$SYS.ACCOUNT.PEOPLE.>",
            "$JS.>",
            "$JS.API.>",
            "_R_.>",
            "$SRV.>",
            "dead.>",
            "chat.history.*",
            "chat.send.*",
        ] {
            person.may_not_hear(subject).await;
        }
        person.hear("live.chat.*").await;
        person.hear("live.chat.general").await;
    }
}

#[tokio::test]
async fn forged_stamp_is_the_servers_own_word_all_the_same() {
    let world = World::new().await;
    let _running = world.serve_only(&["send", "history"]).await;
    let bob = world.person("bob").await;
    let stamp = r#"{"acc":"PEOPLE","user":"alice"}"#;
    for (id, name) in [
        "Nats-Request-Info",
        "nats-request-info",
        "NATS-REQUEST-INFO",
    ]
    .iter()
    .enumerate()
    {
        let mut headers = HeaderMap::new();
        headers.insert(*name, stamp);
        headers.append(*name, stamp);
        let draft = json!({ "id": id.to_string(), "text": "x" }).to_string();
        let answer = bob.ask_with("chat.send.general", headers, draft).await;
        if let Err(error) = read::<Value>(&answer) {
            assert_eq!(error.code, 401, "{name}: {}", error.message);
        }
    }
    let page = bob.page("chat.history.general", Value::Null).await.unwrap();
    assert!(
        page.messages.iter().all(|message| message["uid"] == "bob"),
        "{page:?}"
    );
    assert!(
        !page.messages.is_empty(),
        "a stamp of that very name is replaced"
    );
}

#[tokio::test]
async fn admin_rooms_are_closed_to_users() {
    let world = World::new().await;
    let _running = world.serve().await;
    let alice = world.person("alice").await;
    let mut heard = Vec::new();
    for name in ["bob", "charlie"] {
        let person = world.person(name).await;
        person.may_not_publish("admin.history.ops").await;
        person.may_not_publish("admin.send.ops").await;
        person.may_not_hear("live.admin.ops").await;
        person.may_not_hear("live.admin.*").await;
        heard.push((person.hear("live.chat.*").await, person));
    }

    alice.send("admin.send.ops", "1", "secret").await.unwrap();
    alice.send("chat.send.ops", "2", "open").await.unwrap();

    assert_eq!(alice.texts("admin.history.ops").await, ["secret"]);
    for (mut live, person) in heard {
        let first = crate::wait::within(live.next()).await.unwrap();
        assert_eq!(
            first.subject.as_str(),
            "live.chat.ops",
            "the first that is heard at all"
        );
        assert_eq!(person.texts("chat.history.ops").await, ["open"]);
    }
}

#[tokio::test]
async fn person_without_a_role_reads_and_may_not_send() {
    let world = World::new().await;
    let _running = world.serve().await;
    let (alice, charlie) = (world.person("alice").await, world.person("charlie").await);
    alice.send("chat.send.general", "1", "hello").await.unwrap();

    charlie.may_not_publish("chat.send.general").await;

    assert_eq!(charlie.texts("chat.history.general").await, ["hello"]);
}

#[tokio::test]
async fn function_asked_from_inside_chats_account_answers_401() {
    let insider = r#"users: [
      {
        user: insider, password: insider
        permissions: {
          subscribe: ["_INBOX.s.insider.>"]
          publish: ["chat.send.*", "chat.history.*", "admin.send.*", "admin.history.*"]
        }
      }"#;
    // The first list of users is CHAT's.
    let world = World::on(server(&NATS_CONF.replacen("users: [", insider, 1)).await).await;
    let _running = world.serve().await;
    let insider = connect(&world.server, "insider", "_INBOX.s.insider").await;

    for subject in [
        "chat.send.a",
        "chat.history.a",
        "admin.send.a",
        "admin.history.a",
    ] {
        let answer = insider
            .request(subject, r#"{"id":"1","text":"x"}"#.into())
            .await
            .unwrap();
        assert_eq!(read::<Value>(&answer).unwrap_err().code, 401, "{subject}");
    }

    assert_eq!(world.log().await["last_seq"], 0);
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

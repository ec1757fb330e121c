//! What a sender is promised.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::wait::within;
use crate::world::{World, on_each};

#[tokio::test]
async fn message_is_in_the_log_when_its_sender_gets_the_answer() {
    let world = World::new().await;
    let _running = world.serve_only(&["send"]).await;
    let alice = world.person("alice").await;

    let sent = alice.send("chat.send.general", "1", "hello").await.unwrap();

    let logged = world.logged(sent.seq).await;
    let headers = logged.headers.unwrap();
    assert_eq!(
        headers.get("Nats-Subject").unwrap().as_str(),
        "chat.general"
    );
    assert_eq!(headers.get("Nats-Msg-Id").unwrap().as_str(), "alice:1");
    let message: Value = serde_json::from_slice(&logged.payload).unwrap();
    let expected = json!({
        "id": "1", "user": "alice", "uid": "alice", "text": "hello",
        "timestamp": sent.timestamp, "room": "general",
    });
    assert_eq!(message, expected);
}

#[tokio::test]
async fn repeat_with_the_same_id_answers_what_the_first_one_did() {
    let world = World::new().await;
    let _running = world.serve_only(&["send"]).await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    let first = alice.send("chat.send.general", "1", "hello").await.unwrap();
    let of_bob = bob
        .send("chat.send.general", "1", "bob's own")
        .await
        .unwrap();

    let repeats = (0..20).map(|_| alice.send("chat.send.general", "1", "hello"));
    for repeat in join_all(repeats).await {
        assert_eq!(repeat.unwrap(), first);
    }

    assert_ne!(of_bob.seq, first.seq, "an id is the sender's own");
    assert_eq!(world.log().await["messages"], 2);
}

#[tokio::test]
async fn id_that_stands_for_another_message_is_a_conflict() {
    let world = World::new().await;
    let _running = world.serve_only(&["send", "admin-send"]).await;
    let alice = world.person("alice").await;
    let first = alice.send("chat.send.general", "1", "hello").await.unwrap();

    for (to, text) in [
        ("chat.send.general", "another text"),
        ("chat.send.other", "hello"),
        ("admin.send.general", "hello"),
    ] {
        let error = alice.send(to, "1", text).await.unwrap_err();
        assert_eq!(error.code, 409, "{to} {text}: {}", error.message);
        assert_eq!(error.details.unwrap()["seq"], first.seq);
    }

    assert_eq!(world.log().await["messages"], 1);
}

#[tokio::test]
async fn burst_over_the_allowance_is_told_when_to_retry_and_others_are_not() {
    let world = World::with(chat::config::Config::default()).await;
    let _running = world.serve_only(&["send", "admin-send"]).await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);

    // Two rooms and two realms: a person has one allowance.
    let ids: Vec<String> = (0..300).map(|id| id.to_string()).collect();
    let to = ["chat.send.a", "chat.send.b", "admin.send.a"];
    let burst = ids
        .iter()
        .zip(to.iter().cycle())
        .map(|(id, to)| alice.send(to, id, "x"));
    let (accepted, refused): (Vec<_>, Vec<_>) =
        join_all(burst).await.into_iter().partition(Result::is_ok);

    assert!(
        (50..150).contains(&accepted.len()),
        "{} of a burst",
        accepted.len()
    );
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!(error.code, 429);
        let retry_after = error.details.unwrap()["retry_after_ms"].as_u64().unwrap();
        assert!(
            (1..=100).contains(&retry_after),
            "{retry_after} ms at ten a second"
        );
    }
    bob.send("chat.send.a", "1", "hello").await.unwrap();
}

#[tokio::test]
async fn stored_message_is_heard_live_with_its_place_in_the_room() {
    let world = World::new().await;
    let _running = world.serve_only(&["send", "admin-send"]).await;
    let (alice, charlie) = (world.person("alice").await, world.person("charlie").await);
    let mut heard = charlie.hear("live.chat.general").await;
    let mut secret = alice.hear("live.admin.*").await;

    let mut sent = Vec::new();
    for (to, id) in [("general", "1"), ("elsewhere", "2"), ("general", "3")] {
        let answer = alice.send(&format!("chat.send.{to}"), id, "x").await;
        sent.push(answer.unwrap().seq.to_string());
    }
    let repeat = alice.send("chat.send.general", "3", "x").await;
    repeat.unwrap();
    let refused = alice.send("chat.send.general", "3", "refused").await;
    refused.unwrap_err();
    alice.send("admin.send.ops", "4", "secret").await.unwrap();
    alice.send("chat.send.general", "5", "last").await.unwrap();

    let mut live = Vec::new();
    for _ in 0..3 {
        let message = within(heard.next()).await.unwrap();
        let headers = message.headers.unwrap();
        let header = |name| headers.get(name).unwrap().as_str().to_owned();
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        live.push((
            body["id"].clone(),
            header("Nats-Sequence"),
            header("Nats-Last-Sequence"),
        ));
    }
    let expected = [
        (json!("1"), sent[0].clone(), "0".to_owned()),
        (json!("3"), sent[2].clone(), sent[0].clone()),
    ];
    assert_eq!(live[..2], expected);
    assert_eq!(
        live[2].0, "5",
        "a repeat and a refused message are heard by nobody"
    );
    assert_eq!(live[2].2, sent[2], "and leave no gap in the chain");
    assert_eq!(
        within(secret.next()).await.unwrap().subject.as_str(),
        "live.admin.ops"
    );
}

#[tokio::test]
async fn many_at_once_share_a_batch_and_each_is_stored_once_and_shown_once() {
    const MANY: usize = 300;
    on_each(async |world: World| {
        let _running = world.serve().await;
        let (alice, bob) = (world.person("alice").await, world.person("bob").await);
        // A batch ends with a subject on which something was stored before.
        let first = alice.send("chat.send.general", "first", "first").await;
        let first = first.unwrap();
        let mut heard = bob.hear("live.chat.general").await;
        // One of them twice.
        let ids = (0..MANY).chain([MANY / 2]).map(|n| n.to_string());
        let ids: Vec<String> = ids.collect();

        let sends = ids.iter().map(|id| alice.send("chat.send.general", id, id));
        let sent = join_all(sends).await.into_iter().map(Result::unwrap);
        let sent: Vec<_> = sent.collect();

        assert_eq!(sent[MANY], sent[MANY / 2]);
        let mut shown = BTreeMap::new();
        let (mut before, mut gathered) = (first.seq, 0);
        for _ in 0..MANY {
            let message = within(heard.next()).await.unwrap();
            let headers = message.headers.unwrap();
            let number = |name| -> u64 { headers.get(name).unwrap().as_str().parse().unwrap() };
            assert_eq!(number("Nats-Last-Sequence"), before);
            before = number("Nats-Sequence");
            gathered += usize::from(headers.get("Nats-Batch-Id").is_some());
            let body: Value = serde_json::from_slice(&message.payload).unwrap();
            shown.insert(body["id"].as_str().unwrap().to_owned(), before);
        }
        assert!(gathered > 0);
        let mut told: BTreeMap<_, _> = sent.into_iter().map(|it| (it.id, it.seq)).collect();
        assert_eq!(shown, told);
        told.insert(first.id, first.seq);
        assert_eq!(world.log().await["messages"], MANY + 1);
        world.settled().await;
        let rows = world.rows().await.into_iter();
        let rows: BTreeMap<_, _> = rows
            .map(|row| (row.msg_id, row.seq.cast_unsigned()))
            .collect();
        assert_eq!(rows, told);
    })
    .await;
}

#[tokio::test]
async fn user_in_the_payload_is_ignored() {
    let world = World::new().await;
    let _running = world.serve_only(&["send", "history"]).await;
    let bob = world.person("bob").await;

    let forged = json!({
        "id": "1", "text": "x", "user": "alice", "uid": "alice", "room": "admin", "timestamp": 1,
    });
    bob.ask("chat.send.general", forged.to_string()).await;

    let page = bob.page("chat.history.general", Value::Null).await.unwrap();
    let message = &page.messages[0];
    assert_eq!(
        (&message["user"], &message["uid"]),
        (&json!("bob"), &json!("bob"))
    );
    assert_eq!(message["room"], "general");
    assert!(message["timestamp"].as_i64().unwrap() > 1);
}

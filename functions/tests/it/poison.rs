//! Poison stays alone: a message that cannot be stored is a dead letter, and nothing else is.

use futures_util::future::join_all;
use natsfn::dead_letter;
use serde_json::json;

use crate::server::{NATS_CONF, connect, server};
use crate::wait::until;
use crate::world::{World, append, on_each};

const DAY_MS: u128 = 24 * 60 * 60 * 1_000;

/// What no room can hold, each with a part of the reason that it must get.
fn poison() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let tomorrow = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() + DAY_MS + 60_000;
    let deep = format!(
        r#"{{"user":"b","text":"x","timestamp":1,"x":{}{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let good = r#"{"user":"b","text":"x","timestamp":1}"#;
    let with = |text: &str| text.as_bytes().to_vec();
    vec![
        ("chat.a", with(""), "the payload must be a JSON object"),
        (
            "chat.a",
            with("not json"),
            "the payload must be a JSON object",
        ),
        ("chat.a", with(r#"{"user":"b","text":"x""#), "EOF"),
        ("chat.a", with(r#"["b","x",1]"#), "expected a JSON object"),
        (
            "chat.a",
            with(r#"{"user":7,"text":"x","timestamp":1}"#),
            "invalid type",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":{},"timestamp":1}"#),
            "invalid type",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"x","timestamp":"1"}"#),
            "invalid type",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"a\u0000b","timestamp":1}"#),
            "NUL",
        ),
        (
            "chat.a",
            with(r#"{"user":"b\u0000","text":"x","timestamp":1}"#),
            "NUL",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"\ud800","timestamp":1}"#),
            "the payload must",
        ),
        (
            "chat.a",
            b"{\"user\":\"b\",\"text\":\"\xff\",\"timestamp\":1}".to_vec(),
            "utf-8",
        ),
        ("chat.a", with(&deep), "nested deeper"),
        (
            "chat.a",
            with(r#"{"user":"b","text":"x","text":"y","timestamp":1}"#),
            "duplicate field",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"x","timestamp":9223372036854775808}"#),
            "invalid",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"x","timestamp":1e999}"#),
            "out of range",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"x","timestamp":-1}"#),
            "a timestamp is in ms",
        ),
        (
            "chat.a",
            with(&json!({ "user": "b", "text": "x", "timestamp": tomorrow as u64 }).to_string()),
            "one day later",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"","timestamp":1}"#),
            "1 to 4000 characters",
        ),
        (
            "chat.a",
            with(&json!({ "user": "b", "text": "x".repeat(4_001), "timestamp": 1 }).to_string()),
            "1 to 4000",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"x","timestamp":1,"uid":"a.b","id":"1"}"#),
            "a uid is",
        ),
        (
            "chat.a",
            with(r#"{"user":"b","text":"x","timestamp":1,"room":"b"}"#),
            "room",
        ),
        ("chat.История", with(good), "a room's name"),
        ("admin.$SYS", with(good), "a room's name"),
    ]
}

#[tokio::test]
async fn poison_among_good_messages_becomes_dead_letters_and_all_others_are_stored() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        let poison = poison();
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (number, (subject, payload, reason)) in poison.iter().enumerate() {
            // Twenty-two good ones around each.
            let some = (0..22)
                .map(|n| format!("good {}", number * 22 + n))
                .map(async |text| {
                    let message = json!({ "user": "b", "text": text, "timestamp": 1 }).to_string();
                    (
                        append(&backend, "chat.good", Some(&text), message).await,
                        text.clone(),
                    )
                });
            good.extend(join_all(some).await);
            let id = format!("bad-{number}");
            let seq = append(&backend, subject, Some(&id), payload.clone()).await;
            bad.push((seq, id, *subject, payload, *reason));
        }
        good.sort_unstable();
        assert!(good.len() > 500);

        let running = world.serve_only(&["persist", "history"]).await;
        world.settled().await;

        let texts: Vec<String> = good.into_iter().map(|(_, text)| text).collect();
        assert_eq!(world.texts().await, texts, "in the log's order");
        let letters = world.dead_letters().await;
        assert_eq!(letters.len(), bad.len(), "one for each");
        for (letter, (seq, id, subject, payload, reason)) in letters.iter().zip(&bad) {
            assert_eq!((letter.sequence, &*letter.subject), (*seq, *subject));
            assert_eq!(&letter.payload, *payload, "its own bytes");
            assert_eq!(letter.headers["Nats-Msg-Id"], [id.as_str()]);
            assert_eq!(
                (&*letter.function, &*letter.kind),
                ("persist", "BadRequest")
            );
            assert!(
                letter.reason.contains(reason),
                "{} for {reason}",
                letter.reason
            );
        }
        let stats = running.stats();
        let persist = stats["endpoints"].as_array().unwrap().iter();
        let persist = persist
            .clone()
            .find(|endpoint| endpoint["name"] == "persist")
            .unwrap();
        assert_eq!(persist["data"]["dead_lettered"], bad.len());
        assert_eq!(persist["data"]["state"], "running");
        let alice = world.person("alice").await;
        assert_eq!(alice.texts("chat.history.a").await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn nothing_but_poison_ends_as_nothing_but_dead_letters() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        for payload in ["a", "b", "c"] {
            append(&backend, "chat.a", None, payload).await;
        }
        let _running = world.serve_only(&["persist"]).await;
        world.settled().await;

        let letters = world.dead_letters().await;
        let payloads: Vec<_> = letters.iter().map(|letter| &letter.payload[..]).collect();
        assert_eq!(payloads, [b"a", b"b", b"c"]);
    })
    .await;
}

#[tokio::test]
async fn dead_letter_is_replayed_once_its_cause_is_gone_or_dropped_for_good() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        let _running = world.serve_only(&["persist", "history"]).await;
        let message = |text: &str| {
            json!({ "user": "b", "uid": "bob", "id": "1", "text": text, "timestamp": 1 })
                .to_string()
        };
        append(&backend, "chat.a", None, message("first")).await;
        append(&backend, "chat.a", None, message("another")).await;
        append(&backend, "chat.a", None, "hopeless").await;
        world.settled().await;
        let letters = world.dead_letters().await;
        let [taken, hopeless] = &letters[..] else {
            panic!("two dead letters: {letters:?}")
        };
        assert_eq!(taken.kind, "Conflict");
        assert!(
            taken
                .reason
                .contains("stand for another message, at epoch 1 seq 1"),
            "{}",
            taken.reason
        );
        let dead = world.dead().await;

        // Its cause is still there: it comes back.
        dead_letter::replay(&dead, "chat", taken.id).await.unwrap();
        world.settled().await;
        let letters = world.dead_letters().await;
        let [still_hopeless, again] = &letters[..] else {
            panic!("two dead letters: {letters:?}")
        };
        assert_eq!(
            (still_hopeless.id, again.payload.clone()),
            (hopeless.id, taken.payload.clone())
        );

        // The first one goes, and the second one takes its place.
        use sea_orm::EntityTrait;
        chat::store::entity::messages::Entity::delete_many()
            .exec(&world.database.pool)
            .await
            .unwrap();
        dead_letter::replay(&dead, "chat", again.id).await.unwrap();
        dead_letter::drop(&dead, "chat", hopeless.id).await.unwrap();
        until("the replayed message is stored", async || {
            (world.rows().await.len() == 1).then_some(())
        })
        .await;
        let rows = world.rows().await;
        assert_eq!(
            (&*rows[0].uid, &*rows[0].msg_id, &*rows[0].text),
            ("bob", "1", "another")
        );
        assert_eq!(world.dead_letters().await.len(), 0);
        let gone = dead_letter::show(&dead, "chat", hopeless.id)
            .await
            .unwrap_err();
        assert_eq!(gone.kind(), natsfn::Kind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn letter_of_a_function_that_is_gone_is_replayed_only_to_all() {
    // The function has had another name.
    let former = NATS_CONF.replace("dead.chat.persist.>", "dead.chat.*.>");
    let world = World::on(server(&former).await).await;
    let running = world.serve().await;
    let message = r#"{"user":"b","text":"x","timestamp":1}"#;
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in [
        ("Subject", "chat.general"),
        ("Stream", "CHAT_MESSAGES"),
        ("Sequence", "1"),
        ("Time", "2026-01-01T00:00:00Z"),
        ("Service", "chat"),
        ("Function", "store"),
        ("Headers", "omitted"),
    ] {
        headers.insert(format!("Dead-Letter-{name}").as_str(), value);
    }
    let chat = connect(&world.server, "chat", "_INBOX.s.chat").await;
    let chat = natsfn::Client::new(chat);
    let subject = "dead.chat.store.CHAT_MESSAGES.1-1";
    let letter = chat.append(subject, None, headers, message.into());
    letter.await.unwrap();
    let dead = async |arguments: &[&str]| {
        let mut command = crate::child::command(&world, &[&["dead"], arguments].concat());
        for (name, value) in [
            ("USER", "dead"),
            ("PASSWORD", "dead"),
            ("INBOX_PREFIX", "_INBOX.s.dead"),
        ] {
            command.env(format!("CHAT_NATS__{name}"), value);
        }
        crate::child::run(command).await
    };

    let refused = dead(&["replay", "1"]).await;

    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    for part in ["\"store\"", "persist", "--to-all"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(world.dead_letters().await.len(), 1, "it stays");
    let replayed = dead(&["replay", "--to-all", "1"]).await;
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    let said = String::from_utf8(replayed.stdout).unwrap();
    assert!(said.contains("without its headers"), "{said}");
    world.settled().await;
    assert_eq!(world.texts().await, ["x"]);

    // What replays such a letter without asking loses nothing either.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Dead-Letter-Replay-For", "chat.store");
    headers.insert("Dead-Letter-Replay-Of", "CHAT_MESSAGES.1-1");
    let backend = world.backend().await;
    let replay = backend.append("chat.general", None, headers, message.into());
    replay.await.unwrap();
    world.settled().await;
    assert_eq!(world.texts().await, ["x", "x"]);
    running.stop(crate::wait::GUARD).await;
}

//! What a reader is promised: every message that was acknowledged before the question.

use std::ops::Range;
use std::time::Duration;

use chat::place::Place;
use chat::store::entity::messages::{self, Model};
use chat::store::rows::{self, Cursor};
use chat::subjects::LOG;
use chat::tail::{Tails, tail};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use natsfn::{Client, Db, Head, Response, StreamCache};
use sea_orm::{EntityTrait, IntoActiveModel};
use serde_json::{Value, json};

use crate::person::Person;
use crate::server::connect;
use crate::wait::{GUARD, until};
use crate::world::{World, append, on_each};

#[tokio::test]
async fn message_is_in_history_at_once_and_stays_when_it_is_stored() {
    on_each(async |world: World| {
        let _serving = world.serve_only(&["send", "history"]).await;
        let (alice, charlie) = (world.person("alice").await, world.person("charlie").await);
        for id in ["1", "2", "3"] {
            alice
                .send("chat.send.general", id, &format!("text {id}"))
                .await
                .unwrap();
            let texts = charlie.texts("chat.history.general").await;
            assert_eq!(
                texts.last().unwrap(),
                &format!("text {id}"),
                "nothing stores yet"
            );
        }
        let before = charlie
            .page("chat.history.general", Value::Null)
            .await
            .unwrap();
        assert_eq!(world.rows().await.len(), 0);

        let _persist = world.serve_only(&["persist"]).await;
        world.settled().await;

        assert_eq!(world.texts().await, ["text 1", "text 2", "text 3"]);
        let after = charlie
            .page("chat.history.general", Value::Null)
            .await
            .unwrap();
        assert_eq!(after.messages, before.messages);
        assert_eq!(after.head, before.head);
    })
    .await;
}

#[tokio::test]
async fn message_sent_while_it_is_stored_is_never_missing() {
    on_each(async |world: World| {
        let _running = world.serve_only(&["send", "persist"]).await;
        // Each knows for a moment how far the database is: with many, most look anew.
        let mut serving = Vec::new();
        for _ in 0..16 {
            serving.push(world.serve_only(&["history"]).await);
        }
        let alice = world.person("alice").await;
        for id in 0..300 {
            let id = id.to_string();
            let seq = alice.send("chat.send.general", &id, "x").await.unwrap().seq;
            let page = alice
                .read_page("chat.history.general", json!({ "limit": 1 }))
                .await;
            assert_eq!(page.messages[0]["seq"], seq);
            assert_eq!(page.messages[0]["id"], *id);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_room_shows_each_writer_its_message_once_it_is_acknowledged() {
    const WRITERS: u64 = 8;
    const MESSAGES: u64 = 120;
    on_each(async |world: World| {
        let _serving = [
            world.serve_only(&["history"]).await,
            world.serve_only(&["history"]).await,
        ];
        let mut persist = Some(world.serve_only(&["persist"]).await);
        let ask = async |person: &Person, question: Value| {
            let page = person.read_page("chat.history.general", question).await;
            let seqs = page.messages.iter().map(|it| it["seq"].as_u64().unwrap());
            let seqs: Vec<u64> = seqs.collect();
            // The log has nothing but the room's messages, so no sequence is missing.
            let whole: Vec<u64> = (seqs[0]..seqs[0] + seqs.len() as u64).collect();
            assert_eq!(seqs, whole);
            (seqs, page)
        };
        let write = async |(writer, (alice, backend)): (u64, (Person, Client))| {
            let mut before = 0;
            for n in 0..MESSAGES {
                let id = format!("{writer}-{n}");
                let said =
                    json!({ "uid": "bob", "id": id, "user": "Bob", "timestamp": 1, "text": id });
                let seq = append(&backend, "chat.general", Some(&id), said.to_string()).await;

                let (newest, page) = ask(&alice, json!({ "limit": 50 })).await;
                let last = newest[newest.len() - 1];
                assert!(
                    last >= seq && page.head.1 >= seq,
                    "{seq} is not in {newest:?}"
                );
                assert!(newest.len() == 50 || newest[0] == 1, "{newest:?}");

                let after = json!({ "limit": 200, "after": { "epoch": 1, "seq": before } });
                let (next, page) = ask(&alice, after).await;
                assert_eq!(next[0], before + 1);
                assert!(page.more || next.contains(&seq), "{seq} is not in {next:?}");
                before = seq;
            }
        };
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let person = world.person("alice").await;
            writers.push((writer, (person, world.backend().await)));
        }
        let pause = async {
            for _ in 0..3 {
                let running = persist.take().unwrap();
                running.stop(GUARD).await;
                persist = Some(world.serve_only(&["persist"]).await);
                let all = (WRITERS * MESSAGES) as usize;
                let enough = (world.rows().await.len() + 50).min(all);
                until("it stores", async || {
                    (world.rows().await.len() >= enough).then_some(())
                })
                .await;
            }
        };
        tokio::join!(join_all(writers.into_iter().map(write)), pause);
    })
    .await;
}

#[tokio::test]
async fn element_has_the_fields_that_old_and_new_clients_know() {
    on_each(async |world: World| {
        let running = world.serve().await;
        let alice = world.person("alice").await;
        let sent = alice.send("chat.send.general", "1", "hello").await.unwrap();
        world.settled().await;
        running.stop(GUARD).await;
        let _running = world.serve_only(&["send", "history"]).await;
        let waiting = alice
            .send("chat.send.general", "2", "привет 😀")
            .await
            .unwrap();

        let page = alice
            .page("chat.history.general", Value::Null)
            .await
            .unwrap();

        let epoch = page.head.0;
        let element = |id: &str, text: &str, sent: &chat::send::Sent| {
            json!({
                "user": "alice", "uid": "alice", "text": text, "timestamp": sent.timestamp,
                "room": "general", "id": id, "epoch": epoch, "seq": sent.seq,
            })
        };
        assert_eq!(
            page.messages,
            [
                element("1", "hello", &sent),
                element("2", "привет 😀", &waiting)
            ]
        );
        assert_eq!((page.more, page.head.1), (false, waiting.seq));
    })
    .await;
}

#[tokio::test]
async fn empty_room_answers_an_empty_page_and_rooms_do_not_mix() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        let alice = world.person("alice").await;
        alice.send("chat.send.general", "1", "chat").await.unwrap();
        alice
            .send("admin.send.general", "2", "admin")
            .await
            .unwrap();
        alice
            .send("chat.send.General", "3", "other case")
            .await
            .unwrap();
        alice
            .send("chat.send.__proto__", "4", "proto")
            .await
            .unwrap();

        for (of, texts) in [
            ("chat.history.general", &["chat"][..]),
            ("admin.history.general", &["admin"]),
            ("chat.history.General", &["other case"]),
            ("chat.history.__proto__", &["proto"]),
            ("chat.history.nobody", &[]),
            ("admin.history.General", &[]),
        ] {
            assert_eq!(alice.texts(of).await, texts, "{of}");
        }
    })
    .await;
}

#[tokio::test]
async fn repeat_after_the_log_forgot_its_id_is_not_shown_twice() {
    on_each(async |world: World| {
        let _running = world.serve_only(&["history"]).await;
        let (alice, backend) = (world.person("alice").await, world.backend().await);
        let message = |id: &str, text: &str| {
            json!({ "id": id, "uid": "bob", "user": "Bob", "text": text, "timestamp": 1 })
        };
        // Without Nats-Msg-Id the log takes each: as it does once its duplicate window is over.
        for (id, text) in [("1", "a"), ("2", "b"), ("1", "a"), ("3", "c"), ("2", "b")] {
            let logged = message(id, text).to_string();
            append(&backend, "chat.general", None, logged).await;
        }
        assert_eq!(alice.texts("chat.history.general").await, ["a", "b", "c"]);

        let _persist = world.serve_only(&["persist"]).await;
        world.settled().await;

        assert_eq!(alice.texts("chat.history.general").await, ["a", "b", "c"]);
        assert_eq!(world.texts().await, ["a", "b", "c"]);
        assert_eq!(world.dead_letters().await.len(), 0, "a repeat is no poison");
    })
    .await;
}

#[tokio::test]
async fn room_whose_messages_lie_far_apart_in_the_log_is_read_whole() {
    on_each(async |world: World| {
        let _history = world.serve_only(&["history"]).await;
        let (alice, backend) = (world.person("alice").await, world.backend().await);
        let (mut said, mut positions) = (Vec::new(), Vec::new());
        // From neighbours to more than is read message by message.
        for others in [0, 1, 3, 4, 5, 120, 130, 520] {
            stream::iter(0..others)
                .for_each_concurrent(50, async |_| {
                    append(&backend, "chat.other", None, "x").await;
                })
                .await;
            let text = said.len().to_string();
            let logged =
                json!({ "uid": "bob", "id": text, "user": "Bob", "timestamp": 1, "text": text });
            let seq = append(&backend, "chat.general", None, logged.to_string()).await;
            said.push(text);
            positions.push(json!({ "epoch": 1, "seq": seq }));

            let ask = async |question: Value| {
                let page = alice.page("chat.history.general", question).await;
                page.unwrap().texts()
            };
            assert_eq!(ask(json!({})).await, said);
            for (at, position) in positions.iter().enumerate() {
                assert_eq!(ask(json!({ "before": position })).await, said[..at]);
                assert_eq!(ask(json!({ "after": position })).await, said[at + 1..]);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn tail_too_large_to_read_is_told_until_it_is_stored_and_other_rooms_are_served() {
    let world = World::new().await;
    let _history = world.serve_only(&["history"]).await;
    let (alice, backend) = (world.person("alice").await, world.backend().await);
    let text = "😀".repeat(3_700);
    let logged = json!({ "user": "Ops", "text": text, "timestamp": 1 }).to_string();
    // The headers of each count as well.
    let (fits, too_many) = (
        (16 << 20) / (logged.len() + 500),
        (16 << 20) / logged.len() + 1,
    );
    let append_one = async |id: usize| {
        append(
            &backend,
            "chat.general",
            Some(&id.to_string()),
            logged.clone(),
        )
        .await;
    };
    let append_all = |ids| stream::iter(ids).for_each_concurrent(50, append_one);
    let ask = async |_| alice.page("chat.history.general", Value::Null).await;
    append(&backend, "chat.other", Some("other"), logged.clone()).await;
    append_all(0..fits).await;
    let largest = ask(0).await.unwrap();
    append_all(fits..too_many).await;
    // More at once than are read at once.
    let too_much: Vec<_> = stream::iter(0..6)
        .map(ask)
        .buffer_unordered(6)
        .collect()
        .await;

    assert!(largest.messages.len() > 1);
    for answer in too_much {
        assert_eq!(answer.unwrap_err().code, 503);
    }
    assert_eq!(alice.texts("chat.history.other").await, [&*text]);
    let _persist = world.serve_only(&["persist"]).await;
    world.settled().await;
    // Up to 250 ms long the floor of before the storing is known.
    let page = until("the tail is short", async || {
        alice.page("chat.history.general", Value::Null).await.ok()
    })
    .await;
    assert!(page.more && page.messages.len() > 1);
}

#[tokio::test]
async fn database_that_is_away_is_told_and_never_an_empty_page() {
    let mut world = World::new().await;
    world.database.url = "postgres://nobody@127.0.0.1:1/none".to_owned();
    let _running = world.serve_only(&["send", "history"]).await;
    let alice = world.person("alice").await;

    alice.send("chat.send.general", "1", "hello").await.unwrap();
    let error = alice
        .page("chat.history.general", Value::Null)
        .await
        .unwrap_err();

    assert_eq!(error.code, 503, "{}", error.message);
}

/// A room as it should be, oldest first: the position of each message, and its text.
type Expected = Vec<(Value, String)>;

/// Checks the texts of a page, and whether it says that there are more.
fn check(room: &Expected, question: &Value, shown: Vec<String>, more: bool, told: &str) {
    let index = |position: &Value| room.iter().position(|(at, _)| at == position).unwrap();
    let texts = |range: Range<usize>| -> Vec<&String> {
        let range = room[range].iter();
        range.map(|(_, text)| text).collect()
    };
    let limit = usize::try_from(question["limit"].as_u64().unwrap()).unwrap();
    if question["after"].is_object() {
        // The page may repeat messages from before the position: a retry whose original is not in
        // the part of the log that was read. The asker knows those.
        let rest = texts(index(&question["after"]) + 1..room.len());
        let new: Vec<&String> = shown.iter().filter(|text| rest.contains(text)).collect();
        assert!(rest.starts_with(&new), "{told}: {shown:?} of {rest:?}");
        assert!(
            more || new.len() == rest.len(),
            "{told}: {shown:?} of {rest:?}"
        );
    } else {
        let before = &question["before"];
        let end = if before.is_object() {
            index(before)
        } else {
            room.len()
        };
        let start = end.saturating_sub(limit);
        assert_eq!(
            shown.iter().collect::<Vec<_>>(),
            texts(start..end),
            "{told}"
        );
        assert_eq!(more, start > 0, "{told}");
    }
}

#[tokio::test]
async fn pages_are_what_was_said_after_retries_dead_letters_trims_pauses_and_new_logs() {
    on_each(async |world: World| {
        let serving = world.serve_only(&["history"]).await;
        let (alice, backend) = (world.person("alice").await, world.backend().await);
        let mut persist = None;
        let mut rooms: [Expected; 3] = Default::default();
        let seed = fastrand::u64(..);
        let mut chance = fastrand::Rng::with_seed(seed);
        let text = |at: usize, id: usize| {
            json!({ "uid": "bob", "id": format!("{at}-{id}"), "user": "Bob", "timestamp": 1, "text": format!("said {id}") })
                .to_string()
        };
        let said_in = async |at: usize, room: &mut Expected| {
            let said = room.len();
            let seq = append(&backend, &format!("chat.room{at}"), None, text(at, said)).await;
            let page = until("it answers", async || {
                let of = format!("chat.history.room{at}");
                alice.page(&of, json!({ "limit": 1 })).await.ok()
            });
            let at = json!({ "epoch": page.await.head.0, "seq": seq });
            room.push((at, format!("said {said}")));
        };
        // No room is without a message in the log: two lives in which one is are told apart after 4 s only.
        for (at, room) in rooms.iter_mut().enumerate() {
            said_in(at, room).await;
        }
        for step in 0..400 {
            let at = chance.usize(..rooms.len());
            let (name, room) = (format!("chat.room{at}"), &mut rooms[at]);
            let say = |id: usize| text(at, id);
            match chance.u8(..14) {
                0..4 => said_in(at, room).await,
                // A sender's retry, which adds nothing.
                4 if !room.is_empty() => {
                    let said = chance.usize(..room.len());
                    append(&backend, &name, None, say(said)).await;
                }
                // A dead letter.
                5 => {
                    append(&backend, &name, None, "no JSON").await;
                }
                6 => match persist.take() {
                    None => persist = Some(world.serve_only(&["persist"]).await),
                    Some(running) => natsfn::Running::stop(running, GUARD).await,
                },
                7 if persist.is_some() => world.settled().await,
                // What is stored leaves the log.
                // What is stored leaves the log, up to the room's last message.
                8 if persist.is_some() => {
                    world.settled().await;
                    let stored = json!({ "filter": name, "keep": 1 });
                    world.api("STREAM.PURGE.CHAT_MESSAGES", &stored).await;
                }
                // The log is made again, once all of it is stored.
                9 if persist.is_some() => {
                    world.settled().await;
                    world.api("STREAM.DELETE.CHAT_MESSAGES", &Value::Null).await;
                    world.set_up().await.unwrap();
                    for (at, room) in rooms.iter_mut().enumerate() {
                        said_in(at, room).await;
                    }
                }
                _ => {}
            }
            for at in [at, chance.usize(..rooms.len())] {
                let room = &rooms[at];
                let mut question = json!({ "limit": chance.u8(1..6) });
                if let Some((position, _)) = chance.choice(room.iter()) {
                    match chance.u8(..4) {
                        0 => question["before"] = position.clone(),
                        1 => question["after"] = position.clone(),
                        _ => {}
                    }
                }
                // The second time perhaps from memory.
                for _ in 0..2 {
                    let of = format!("chat.history.room{at}");
                    let page = alice.read_page(&of, question.clone()).await;
                    let told = format!("seed {seed}, step {step}, {of} {question}");
                    check(room, &question, page.texts(), page.more, &told);
                }
            }
        }
        if let Some(running) = persist {
            running.stop(GUARD).await;
        }
        serving.stop(GUARD).await;
    })
    .await;
}

#[tokio::test]
async fn message_that_waits_is_in_the_page_where_others_are_stored_while_the_tail_is_read() {
    on_each(async |world: World| {
        let persist = world.serve_only(&["persist"]).await;
        let backend = world.backend().await;
        let send = async |n: i64| {
            let id = n.to_string();
            let message = json!({ "user": "b", "text": &id, "timestamp": 1 }).to_string();
            append(&backend, "chat.general", Some(&id), message).await
        };
        assert_eq!(send(1).await, 1);
        world.settled().await;
        persist.stop(GUARD).await;
        let first = world.rows().await.remove(0);
        let store = async |n: i64| {
            let row = Model {
                seq: n,
                msg_id: n.to_string(),
                text: n.to_string(),
                ..first.clone()
            };
            let row = messages::Entity::insert(row.into_active_model());
            row.exec_without_returning(&world.database.pool)
                .await
                .unwrap();
        };
        // So many that a short reading ends too early; one of them waits to be stored.
        for n in 2..=400 {
            send(n).await;
            if n != 399 {
                store(n).await;
            }
        }

        let client = Client::new(connect(&world.server, "chat", "_INBOX.s.chat").await);
        let db = Db::from(world.database.pool.clone());
        let place = Place::of("chat.history.general").unwrap();
        let pages = StreamCache::new(LOG, 1 << 20, Duration::from_secs(4));
        let read = async |head: Option<Head>| {
            for n in 401..=405 {
                send(n).await;
                store(n).await;
            }
            let tails = Tails::default();
            let read = tail(&tails, &client, &db, &place, Cursor::Last, 2, head.as_ref());
            let read = read.await?;
            let upto = read.upto;
            let stored = rows::page(&db, place.realm, &place.room, Cursor::Last, upto, 2);
            let mut seqs: Vec<i64> = stored.await?.iter().map(|row| row.at.seq).collect();
            seqs.extend(read.rows.iter().map(|waiting| waiting.at.seq));
            seqs.sort_unstable();
            seqs.dedup();
            let expected: Vec<i64> = (seqs[0]..=upto.seq).collect();
            assert_eq!(seqs, expected);
            Ok((Response::default(), false))
        };
        pages.get(&client, "chat.general", (), read).await.unwrap();
    })
    .await;
}

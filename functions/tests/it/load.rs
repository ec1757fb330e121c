//! History under load: a room in which much is written, a floor that stands still, a long tail that
//! many read, a person who asks for too much.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use chat::store::entity::messages;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use natsfn::testing::TestServer;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel, ModelTrait, PaginatorTrait,
    TransactionTrait,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::Database;
use crate::person::{HistoryPage, Person};
use crate::server::{NATS_CONF, connect, server};
use crate::wait::until;
use crate::world::{World, append, on_each, unlimited};

const GENERAL: &str = "chat.history.general";

/// A world whose log does not wait for the disk: these tests fill it, and none cuts the power. There
/// the operator may listen to everything.
async fn quick() -> World {
    World::on(quick_server().await).await
}

async fn quick_server() -> TestServer {
    let text = NATS_CONF.replace("sync_interval: always", "sync_interval: 1m");
    assert_ne!(text, NATS_CONF);
    let own = r#"subscribe: ["_INBOX.o.operator.>"]"#;
    let open = text.replace(own, r#"subscribe: [">"]"#);
    assert_ne!(open, text);
    server(&open).await
}

/// Counts the messages of the log that are asked for from now on.
async fn count_asked_for(world: &World) -> Arc<AtomicU64> {
    let operator = connect(&world.server, "operator", "_INBOX.o.operator").await;
    let asked_for = Arc::new(AtomicU64::new(0));
    let mut requests = operator
        .subscribe("$JS.API.DIRECT.GET.CHAT_MESSAGES")
        .await
        .unwrap();
    operator
        .request("$SYS.REQ.USER.INFO", "".into())
        .await
        .unwrap();
    tokio::spawn({
        let asked_for = asked_for.clone();
        async move {
            // The connection lives as long as this.
            let _operator = operator;
            while let Some(request) = requests.next().await {
                let request: Value = serde_json::from_slice(&request.payload).unwrap();
                asked_for.fetch_add(request["batch"].as_u64().unwrap(), Relaxed);
            }
        }
    });
    asked_for
}

/// Logs `n` messages in a room.
async fn fill(world: &World, room: &str, n: usize) {
    let (backend, subject) = (world.backend().await, format!("chat.{room}"));
    let log = async |number: usize| {
        let message = json!({ "user": "b", "text": number.to_string(), "timestamp": 1 });
        append(&backend, &subject, None, message.to_string()).await;
    };
    stream::iter(0..n).for_each_concurrent(256, log).await;
}

fn seqs(page: &HistoryPage) -> Vec<u64> {
    let seqs = page.messages.iter().map(|message| message["seq"].as_u64());
    seqs.map(Option::unwrap).collect()
}

/// The page's sequences, which must follow one another: the log has no other room's.
fn contiguous(page: &HistoryPage) -> (u64, u64) {
    let seqs = seqs(page);
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "a gap: {seqs:?}"
    );
    (seqs[0], seqs[seqs.len() - 1])
}

#[tokio::test]
async fn readers_of_a_room_with_a_thousand_messages_a_second_get_whole_answers_only() {
    let seconds: u64 = match std::env::var("BUSY_ROOM_SECONDS") {
        Ok(seconds) => seconds.parse().unwrap(),
        Err(_) => 2,
    };
    on_each(async |world: World| {
        let _serving = world.serve().await;
        let (backend, alice) = (world.backend().await, world.person("alice").await);
        let (acked, is_over, asked) = (Cell::new(0), Cell::new(false), Cell::new(0));
        append(&backend, "chat.general", None, message()).await;
        let writing = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            let ticks = stream::poll_fn(move |context| ticks.poll_tick(context).map(Some));
            let ends = Instant::now() + Duration::from_secs(seconds);
            let due = ticks.take_while(|now| std::future::ready(*now < ends));
            let due = due.flat_map(|_| stream::iter(0..10));
            let log = async |_| {
                let seq = append(&backend, "chat.general", None, message()).await;
                acked.set(seq.max(acked.get()));
            };
            due.for_each_concurrent(256, log).await;
            is_over.set(true);
        };
        // What others ask of JetStream at the same time lets the head be told later than the
        // messages are.
        let bustle = async |_| {
            while !is_over.get() {
                world.api("STREAM.INFO.CHAT_MESSAGES", &Value::Null).await;
            }
        };
        let reading = async |_| {
            while !is_over.get() {
                let acked = acked.get();
                let page = match alice.page(GENERAL, Value::Null).await {
                    Ok(page) => page,
                    // The machine stands still for seconds: nothing is known, and nothing is wrong.
                    Err(error) => {
                        assert!([503, 504].contains(&error.code), "{error:?}");
                        continue;
                    }
                };
                let (_, last) = contiguous(&page);
                assert!(last >= acked, "{acked} is acknowledged, {last} the last");
                assert!(page.head.1 >= last);
                asked.set(asked.get() + 1);
            }
        };

        let (readers, others) = (join_all((0..8).map(reading)), join_all((0..4).map(bustle)));
        futures_util::join!(writing, readers, others);

        assert!(asked.get() >= 8 && acked.get() > 100, "{asked:?} {acked:?}");
    })
    .await;
}

fn message() -> String {
    json!({ "user": "b", "text": "x", "timestamp": 1 }).to_string()
}

#[tokio::test]
async fn room_is_read_from_the_database_however_far_the_floor_lies_behind() {
    const STORED: usize = 10_050;
    let world = quick().await;
    // A message that cannot be settled: it is poison, and there is no place for dead letters.
    world.api("STREAM.DELETE.DEAD_LETTERS", &Value::Null).await;
    let backend = world.backend().await;
    let poison = append(&backend, "chat.other", None, "poison").await;
    let persist = world.serve_only(&["persist"]).await;
    fill(&world, "general", STORED).await;
    until("all but one are stored", async || {
        let stored = messages::Entity::find().count(&world.database.pool).await;
        (stored.unwrap() == STORED as u64).then_some(())
    })
    .await;
    persist.stop(crate::wait::GUARD).await;
    assert_eq!(
        world.consumer().await["ack_floor"]["stream_seq"],
        poison - 1
    );
    // These wait, at the end of what is stored.
    fill(&world, "general", 70).await;
    let _history = world.serve_only(&["history"]).await;
    let alice = world.person("alice").await;

    let end = poison + STORED as u64 + 70;
    let at = |seq: u64| json!({ "epoch": 1, "seq": seq });
    for (question, first, last) in [
        (Value::Null, end - 49, end),
        (json!({ "limit": 200 }), end - 199, end),
        (
            json!({ "limit": 200, "before": at(end - 10) }),
            end - 210,
            end - 11,
        ),
        (json!({ "before": at(5_000) }), 4_950, 4_999),
        (json!({ "after": at(5_000) }), 5_001, 5_050),
        (
            json!({ "after": at(end - 100), "limit": 200 }),
            end - 99,
            end,
        ),
        (json!({ "after": at(1) }), poison + 1, poison + 50),
    ] {
        let page = alice.page(GENERAL, question.clone()).await;
        let page = page.unwrap_or_else(|error| panic!("{question}: {error:?}"));
        assert_eq!(contiguous(&page), (first, last), "{question}");
        if last == end && question.get("before").is_none() {
            assert_eq!(page.head.1, end, "{question}");
        }
    }
}

/// Asks for the newest page of a room until it is kept, and then so often that it shows.
async fn page_is_kept(world: &World, of: &str, texts: &[&str]) {
    const N: u64 = 30;
    let alice = world.person("alice").await;
    let operator = connect(&world.server, "operator", "_INBOX.o.operator").await;
    let calls = "$JS.API.STREAM.INFO.CHAT_MESSAGES";
    assert_eq!(alice.texts(of).await, texts);
    let mut readings = operator.subscribe(calls).await.unwrap();
    operator
        .request("$SYS.REQ.USER.INFO", "".into())
        .await
        .unwrap();
    for _ in 0..N {
        assert_eq!(alice.texts(of).await, texts);
    }
    world.api("INFO", &Value::Null).await;
    operator
        .request("$SYS.REQ.USER.INFO", "".into())
        .await
        .unwrap();
    let readings = std::iter::from_fn(|| readings.next().now_or_never().flatten()).count() as u64;
    // A page that is read asks at least once; one that is kept is read again after some seconds.
    assert!(readings < N / 2, "{readings} for {N} questions");
}

#[tokio::test]
async fn page_of_a_room_that_ends_with_a_repeat_or_a_dead_letter_is_kept() {
    let world = quick().await;
    let backend = world.backend().await;
    for (room, is_repeat) in [("repeat", true), ("bad", false)] {
        let subject = format!("chat.{room}");
        let first = json!({ "id": room, "uid": "b", "user": "b", "text": "x", "timestamp": 1 });
        let first = first.to_string();
        let last = if is_repeat {
            first.clone()
        } else {
            "poison".to_owned()
        };
        append(&backend, &subject, None, first).await;
        append(&backend, &subject, None, last).await;
    }
    let _serving = world.serve_only(&["persist", "history"]).await;
    world.settled().await;
    assert_eq!(world.dead_letters().await.len(), 1);
    for room in ["repeat", "bad"] {
        page_is_kept(&world, &format!("chat.history.{room}"), &["x"]).await;
    }
}

#[tokio::test]
async fn page_is_kept_while_a_message_of_another_room_holds_the_floor() {
    let world = quick().await;
    world.api("STREAM.DELETE.DEAD_LETTERS", &Value::Null).await;
    let backend = world.backend().await;
    append(&backend, "chat.other", None, "poison").await;
    append(&backend, "chat.general", None, message()).await;
    let _serving = world.serve_only(&["persist", "history"]).await;
    until("all but one are stored", async || {
        (world.rows().await.len() == 1).then_some(())
    })
    .await;
    page_is_kept(&world, GENERAL, &["x"]).await;
}

#[tokio::test]
async fn page_that_lacks_a_row_which_the_database_has_lost_is_not_kept() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        for _ in 0..2 {
            append(&backend, "chat.general", None, message()).await;
        }
        let persist = world.serve_only(&["persist"]).await;
        world.settled().await;
        persist.stop(crate::wait::GUARD).await;
        let _history = world.serve_only(&["history"]).await;
        let alice = world.person("alice").await;
        let lost = world.rows().await.pop().unwrap();
        let database = &world.database.pool;
        lost.clone().delete(database).await.unwrap();
        assert_eq!(alice.texts(GENERAL).await, ["x"]);

        let put_back = lost.into_active_model().reset_all();
        put_back.insert(database).await.unwrap();

        assert_eq!(alice.texts(GENERAL).await, ["x", "x"]);
    })
    .await;
}

#[tokio::test]
async fn room_of_which_nothing_is_in_the_log_is_read_while_the_consumer_is_away() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        append(&backend, "chat.general", None, message()).await;
        let other = append(&backend, "chat.other", None, message()).await;
        let persist = world.serve_only(&["persist"]).await;
        world.settled().await;
        persist.stop(crate::wait::GUARD).await;
        world
            .api("STREAM.PURGE.CHAT_MESSAGES", &json!({ "seq": other }))
            .await;
        let consumer = "CONSUMER.DELETE.CHAT_MESSAGES.chat-persist";
        let deleted = world.api(consumer, &Value::Null).await;
        assert_eq!(deleted["success"], true, "{deleted}");

        let _history = world.serve_only(&["history"]).await;

        let page = world.person("alice").await.page(GENERAL, Value::Null).await;
        let page = page.unwrap();
        assert_eq!(page.messages.len(), 1);
        assert_eq!(page.head.1, other - 1);
    })
    .await;
}

/// Asks `n` times in a row and returns the codes of the errors.
async fn ask(person: &Person, of: &str, n: usize) -> Vec<u16> {
    let mut codes = Vec::new();
    for _ in 0..n {
        match person.page(of, Value::Null).await {
            Ok(page) => assert!(!page.messages.is_empty()),
            Err(error) => codes.push(error.code),
        }
    }
    codes
}

#[tokio::test]
async fn readers_of_a_long_tail_share_its_readings_and_other_rooms_do_not_wait_for_them() {
    // More than may run at once.
    const READERS: usize = 300;
    const OTHERS: usize = 20;
    const WAITING: usize = 9_900;
    let world = quick().await;
    fill(&world, "general", WAITING).await;
    fill(&world, "other", 10).await;
    let _history = world.serve_only(&["history"]).await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    let asked_for = count_asked_for(&world).await;

    let many = join_all((0..READERS).map(|_| ask(&alice, GENERAL, 2)));
    let other = ask(&bob, "chat.history.other", OTHERS);
    let (many, other) = futures_util::join!(many, other);

    // What was read tells that it was shared, also where a busy machine reaches the deadlines of the
    // questions, or of JetStream.
    let asked_for = asked_for.load(Relaxed);
    assert!(asked_for < 10 * WAITING as u64, "{asked_for} asked for");
    let late = |codes: &[u16]| codes.iter().all(|code| matches!(code, 503 | 504));
    let many = many.concat();
    assert!(late(&many) && many.len() < 2 * READERS, "{many:?}");
    assert!(late(&other) && other.len() < OTHERS / 2, "{other:?}");
    let page = alice.page(GENERAL, json!({ "limit": 200 })).await.unwrap();
    assert_eq!(contiguous(&page), (WAITING as u64 - 199, WAITING as u64));
}

#[tokio::test]
async fn who_asks_for_too_much_history_is_told_when_to_ask_again_and_others_are_served() {
    let mut config = unlimited();
    (config.history.rate, config.history.burst) = (0.1, 4);
    let world = World::with(config).await;
    let _serving = world.serve_only(&["history", "admin-history"]).await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);

    // Whatever the room and the realm, a person has one allowance.
    for of in [
        GENERAL,
        "admin.history.general",
        "chat.history.other",
        GENERAL,
    ] {
        alice.page(of, Value::Null).await.unwrap();
    }
    let refused = alice.page("admin.history.other", Value::Null).await;

    let refused = refused.unwrap_err();
    assert_eq!(refused.code, 429);
    let wait = refused.details.unwrap()["retry_after_ms"].as_u64();
    assert!(wait.is_some_and(|wait| wait > 0), "{wait:?}");
    bob.page(GENERAL, Value::Null).await.unwrap();
}

#[tokio::test]
async fn person_with_thousands_of_questions_in_flight_leaves_the_others_their_turn() {
    const ASKED: usize = 2_000;
    const BOBS: usize = 10;
    let mut config = unlimited();
    config.history.in_flight = chat::config::History::default().in_flight;
    let world = World::with(config).await;
    fill(&world, "general", 200).await;
    let _history = world.serve_only(&["history"]).await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    ask(&bob, GENERAL, 1).await;

    let alices = join_all((0..ASKED).map(|_| ask(&alice, GENERAL, 1)));
    let bobs = ask(&bob, GENERAL, BOBS);
    let (alices, bobs) = futures_util::join!(alices, bobs);

    // Of those that have a turn a busy machine may let some meet their deadline.
    let (refused, late): (Vec<u16>, Vec<u16>) =
        alices.concat().into_iter().partition(|code| *code == 429);
    assert!(refused.len() > ASKED / 2, "{}", refused.len());
    assert!(late.iter().all(|code| *code == 504), "{late:?}");
    // Nobody's place is taken by her.
    assert!(
        bobs.iter().all(|code| *code == 504) && bobs.len() < BOBS / 2,
        "{bobs:?}"
    );
}

/// Tasks append, and ask at once, each for another page: so they share no page, but the readings of a
/// long tail.
async fn ask_for_what_was_just_acknowledged(world: &World) {
    // As many as are read at once: what comes later is in no reading by chance.
    const WAITING: usize = 1_000;
    fill(world, "general", WAITING).await;
    let (backend, alice) = (world.backend().await, world.person("alice").await);
    let writers = (1..=16).map(async |limit| {
        for _ in 0..40 {
            let seq = append(&backend, "chat.general", None, message()).await;
            // A disk or a database that stands still for seconds: nothing is known, and nothing is wrong.
            let page = until("a page", async || {
                let page = alice.page(GENERAL, json!({ "limit": limit })).await;
                page.inspect_err(|error| assert!([503, 504].contains(&error.code), "{error:?}"))
                    .ok()
            })
            .await;
            let (_, last) = contiguous(&page);
            assert!(last >= seq, "{seq} is acknowledged, {last} the last");
            assert!(page.head.1 >= seq);
        }
    });
    join_all(writers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_another_ones_reading_gets_what_was_acknowledged_since_that_one_asked() {
    let world = quick().await;
    let _history = world.serve_only(&["history"]).await;
    ask_for_what_was_just_acknowledged(&world).await;
}

#[tokio::test]
async fn who_asks_while_messages_are_stored_gets_what_was_acknowledged() {
    on_each(async |world: World| {
        let _serving = world.serve_only(&["history", "persist"]).await;
        ask_for_what_was_just_acknowledged(&world).await;
    })
    .await;
}

#[tokio::test]
async fn floor_that_is_read_slowly_is_not_read_by_each_who_waits() {
    const READERS: usize = 100;
    let database = Database::empty_postgres().await;
    let world = World::on_both(quick_server().await, database).await;
    let _serving = world.serve_only(&["history"]).await;
    let alice = world.person("alice").await;
    let operator = connect(&world.server, "operator", "_INBOX.o.operator").await;
    let calls = "$JS.API.CONSUMER.INFO.CHAT_MESSAGES.>";
    let mut readings = operator.subscribe(calls).await.unwrap();
    let settle = async || {
        let asked = operator.request("$SYS.REQ.USER.INFO", "".into());
        asked.await.unwrap();
    };
    settle().await;

    let other = world.database.pool.begin().await.unwrap();
    let lock = "LOCK TABLE epochs IN ACCESS EXCLUSIVE MODE";
    other.execute_unprepared(lock).await.unwrap();
    let rooms = (0..READERS).map(|n| format!("chat.history.room{n}"));
    let answers = rooms.map(|room| {
        let alice = &alice;
        async move { alice.page(&room, json!({})).await.unwrap_err().code }
    });
    let codes = join_all(answers).await;
    other.rollback().await.unwrap();

    assert!(codes.iter().all(|code| matches!(code, 503 | 504)));
    settle().await;
    let readings = std::iter::from_fn(|| readings.next().now_or_never().flatten()).count();
    // One each half second, until the deadline of the last.
    assert!(readings < READERS / 2, "{readings} for {READERS} requests");
    assert!(alice.page(GENERAL, json!({})).await.is_ok());
}

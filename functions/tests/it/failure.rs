//! What fails is loud, held or set apart, and heals by itself.

use chat::message::Message;
use chat::persist::persist;
use chat::store::entity::{epochs, messages};
use chat::subjects;
use natsfn::{
    Batch, Consumer, Endpoint, Json, Outcomes, Path, Result, Retry, Running, Service, Tx,
};
use sea_orm::{ActiveValue::Set, EntityTrait, IntoActiveModel, QueryOrder};
use serde_json::{Value, json};

use crate::person::read;
use crate::wait::until;
use crate::world::{World, append, on_each};

fn message(text: &str) -> String {
    json!({ "user": "b", "text": text, "timestamp": 1 }).to_string()
}

/// What STATS says of persist.
fn persists(running: &Running) -> Value {
    let stats = running.stats();
    let endpoints = stats["endpoints"].as_array().unwrap();
    endpoints
        .iter()
        .find(|endpoint| endpoint["name"] == "persist")
        .unwrap()["data"]
        .clone()
}

#[tokio::test]
async fn poison_is_held_while_dead_letters_cannot_be_written_and_settled_once_they_can() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        world.api("STREAM.DELETE.DEAD_LETTERS", &Value::Null).await;
        let running = world.serve_only(&["persist"]).await;
        append(&backend, "chat.a", None, "poison").await;
        append(&backend, "chat.a", Some("good"), message("good")).await;
        until("the good one is stored", async || {
            (world.rows().await.len() == 1).then_some(())
        })
        .await;

        let consumer = world.consumer().await;
        assert_eq!(
            consumer["ack_floor"]["stream_seq"], 0,
            "held, not terminated"
        );
        assert_eq!(persists(&running)["dead_lettered"], 0);
        until("the lag is visible", async || {
            // fn.chat.persist and STATS read it from the server.
            let state = world.state_of_persist().await;
            (state["ack_pending"] == 1).then_some(())
        })
        .await;

        world.set_up().await.unwrap();
        world.settled().await;
        let letters = world.dead_letters().await;
        assert_eq!(
            (letters.len(), &letters[0].payload[..]),
            (1, &b"poison"[..])
        );
    })
    .await;
}

#[tokio::test]
async fn retry_after_the_duplicate_window_gets_a_sequence_and_no_row() {
    on_each(async |world: World| {
        let mut config =
            world.api("STREAM.INFO.CHAT_MESSAGES", &Value::Null).await["config"].clone();
        config["duplicate_window"] = 100_000_000.into();
        world.api("STREAM.UPDATE.CHAT_MESSAGES", &config).await;
        let running = world.serve().await;
        let alice = world.person("alice").await;
        let first = alice.send("chat.send.general", "1", "hello").await.unwrap();

        let again = until("the log has forgotten the id", async || {
            let again = alice.send("chat.send.general", "1", "hello").await.unwrap();
            (again.seq != first.seq).then_some(again)
        })
        .await;

        assert_eq!(again.seq, 2);
        assert_eq!(alice.texts("chat.history.general").await, ["hello"]);
        world.settled().await;
        let rows = world.rows().await;
        assert_eq!(
            (rows.len(), rows[0].seq, rows[0].timestamp),
            (1, 1, first.timestamp)
        );
        assert_eq!(alice.texts("chat.history.general").await, ["hello"]);
        assert_eq!(world.dead_letters().await.len(), 0);
        running.stop(crate::wait::GUARD).await;
    })
    .await;
}

#[tokio::test]
async fn panic_is_an_error_reply_or_a_dead_letter_and_the_process_lives() {
    async fn fragile_send(Path(room): Path<String>) -> Json<String> {
        assert_ne!(room, "panic", "on purpose");
        Json(room)
    }
    async fn fragile_persist(tx: Tx, messages: Batch<Message>) -> Result<Outcomes> {
        assert!(
            messages.iter().all(|message| message.text != "panic"),
            "on purpose"
        );
        persist(tx, messages).await
    }
    on_each(async |world: World| {
        let log = subjects::log(&world.config.stream);
        let consumer = Consumer::new("persist", log)
            .natural_key()
            .retry(Retry::default().attempts(1));
        let fragile = Service::new("chat", "0.1.0")
            .state(chat::app::App::new(world.config.clone()))
            .database::<migrations::Migrator>()
            .endpoint(Endpoint::new("send", "chat.send.{room}"), fragile_send)
            .consumer(consumer, fragile_persist);
        let running = world.start("chat", fragile, &[]).await.unwrap();
        let (alice, backend) = (world.person("alice").await, world.backend().await);

        let error = read::<Value>(&alice.ask("chat.send.panic", "").await).unwrap_err();
        assert_eq!((error.code, &*error.message), (500, "internal error"));
        let answer = read::<Value>(&alice.ask("chat.send.calm", "").await).unwrap();
        assert_eq!(answer, "calm");
        for text in ["before", "panic", "after"] {
            append(&backend, "chat.a", Some(text), message(text)).await;
        }
        world.settled().await;
        assert_eq!(world.texts().await, ["before", "after"]);
        let letters = world.dead_letters().await;
        assert_eq!(letters.len(), 1);
        assert!(letters[0].reason.contains("panic"), "{}", letters[0].reason);
        assert_eq!(persists(&running)["state"], "running");
    })
    .await;
}

#[tokio::test]
async fn place_that_belongs_to_another_message_begins_a_new_epoch() {
    on_each(async |world: World| {
        let running = world.serve().await;
        let (alice, backend) = (world.person("alice").await, world.backend().await);
        append(&backend, "chat.general", Some("1"), message("one")).await;
        world.settled().await;
        let first = world.rows().await.remove(0);
        let usurper = messages::ActiveModel {
            epoch: Set(first.epoch),
            seq: Set(3),
            realm: Set(first.realm),
            room: Set(first.room.clone()),
            uid: Set("mallory".to_owned()),
            username: Set("Mallory".to_owned()),
            msg_id: Set("x".to_owned()),
            text: Set("from a log that was rolled back".to_owned()),
            timestamp: Set(1),
            created_at: Set(1),
        };
        messages::Entity::insert(usurper)
            .exec_without_returning(&world.database.pool)
            .await
            .unwrap();

        for text in ["two", "three", "four"] {
            append(&backend, "chat.general", Some(text), message(text)).await;
        }
        world.settled().await;

        assert_eq!(persists(&running)["state"], "running");
        let (epochs, rows) = (epochs(&world).await, world.rows().await);
        assert_eq!(epochs, [first.epoch, rows.last().unwrap().epoch]);
        let mut stored = world.texts().await;
        // "two" may have been stored before the clash, in the former epoch.
        let three = stored.iter().position(|text| text == "three").unwrap();
        assert_eq!(rows[three].epoch, epochs[1], "{rows:?}");
        assert_eq!(alice.texts("chat.history.general").await, stored);
        stored.sort_unstable();
        let usurped = "from a log that was rolled back";
        assert_eq!(stored, ["four", usurped, "one", "three", "two"]);
        assert_eq!(world.dead_letters().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn place_ahead_of_a_quiet_log_keeps_history_away_for_a_moment_only() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        let (alice, backend) = (world.person("alice").await, world.backend().await);
        append(&backend, "chat.general", Some("1"), message("one")).await;
        world.settled().await;
        let mut usurper = world.rows().await.remove(0).into_active_model();
        (usurper.seq, usurper.msg_id) = (Set(3), Set("x".to_owned()));
        messages::Entity::insert(usurper)
            .exec_without_returning(&world.database.pool)
            .await
            .unwrap();

        // Nothing comes that could meet it; persist looks by itself.
        until("a new epoch begins", async || {
            (epochs(&world).await.len() == 2).then_some(())
        })
        .await;

        assert_eq!(alice.texts("chat.history.general").await, ["one", "one"]);
        let sent = alice.send("chat.send.general", "2", "two").await.unwrap();
        assert_eq!(sent.seq, 2);
        let all = ["one", "one", "two"];
        assert_eq!(alice.texts("chat.history.general").await, all);
    })
    .await;
}

/// The ids of every epoch.
async fn epochs(world: &World) -> Vec<i64> {
    let find = epochs::Entity::find().order_by_asc(epochs::Column::Id);
    let all = find.all(&world.database.pool).await.unwrap();
    all.iter().map(|epoch| epoch.id).collect()
}

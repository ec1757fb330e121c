//! The log's lives: a recreated stream counts from one again, and nothing mixes.

use serde_json::{Value, json};

use crate::wait::until;
use crate::world::{World, append, on_each};

#[tokio::test]
async fn stream_made_again_begins_a_new_epoch_and_old_rows_stay() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        let alice = world.person("alice").await;
        for id in ["1", "2", "3"] {
            alice
                .send("chat.send.general", id, &format!("old {id}"))
                .await
                .unwrap();
        }
        world.settled().await;
        let old = world.rows().await;
        let first = alice
            .page("chat.history.general", Value::Null)
            .await
            .unwrap();

        let deleted = world.api("STREAM.DELETE.CHAT_MESSAGES", &Value::Null).await;
        assert_eq!(deleted["success"], true);
        world.set_up().await.unwrap();
        for id in ["4", "5", "6", "7"] {
            alice
                .send("chat.send.general", id, &format!("new {id}"))
                .await
                .unwrap();
            // Also while persist has not found the new stream yet.
            let texts = alice.texts("chat.history.general").await;
            assert_eq!(texts.last().unwrap(), &format!("new {id}"));
        }
        until("persist stores the new life", async || {
            (world.rows().await.len() == 7).then_some(())
        })
        .await;

        let rows = world.rows().await;
        assert_eq!(rows[..3], old);
        assert!(rows[3..].iter().all(|row| row.epoch > old[0].epoch));
        assert_eq!(rows[3].seq, 1, "sequences begin anew");
        let page = alice
            .page("chat.history.general", Value::Null)
            .await
            .unwrap();
        let expected = [
            "old 1", "old 2", "old 3", "new 4", "new 5", "new 6", "new 7",
        ];
        assert_eq!(page.texts(), expected);
        assert!(page.head.0 > first.head.0);
        // A reader who was away during the change goes on from where it was.
        let after = json!({ "after": first.messages.last().unwrap() });
        let rest = alice.page("chat.history.general", after).await.unwrap();
        assert_eq!(rest.texts(), expected[3..]);
    })
    .await;
}

#[tokio::test]
async fn consumer_that_was_deleted_is_made_again_and_nothing_is_stored_twice() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        let backend = world.backend().await;
        let log = async |id: &str| {
            let message = json!({ "user": "b", "text": id, "timestamp": 1 }).to_string();
            append(&backend, "chat.general", Some(id), message).await;
        };
        log("1").await;
        world.settled().await;

        world
            .api("CONSUMER.DELETE.CHAT_MESSAGES.chat-persist", &Value::Null)
            .await;
        log("2").await;

        until("the second is stored", async || {
            (world.rows().await.len() == 2).then_some(())
        })
        .await;
        assert_eq!(world.texts().await, ["1", "2"]);
    })
    .await;
}

//! What a trusted back end may publish straight onto the log.

use serde_json::{Value, json};

use crate::world::{World, append, on_each};

#[tokio::test]
async fn message_of_a_back_end_is_stored_without_uid_under_an_id_of_its_own() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        let message = |text: &str| json!({ "user": "Ops", "text": text, "timestamp": 7 });
        let mut with_room = message("with room");
        with_room["room"] = "general".into();
        append(
            &backend,
            "chat.general",
            Some("order-5"),
            message("with id").to_string(),
        )
        .await;
        let bare = append(&backend, "chat.general", None, with_room.to_string()).await;
        append(
            &backend,
            "admin.ops",
            Some("order-6"),
            message("admin").to_string(),
        )
        .await;
        let _running = world.serve().await;
        world.settled().await;

        let rows = world.rows().await;
        let stored: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    &*row.uid,
                    &*row.username,
                    row.room.as_str(),
                    &*row.text,
                    row.timestamp,
                )
            })
            .collect();
        assert_eq!(
            stored,
            [
                ("", "Ops", "general", "with id", 7),
                ("", "Ops", "general", "with room", 7),
                ("", "Ops", "ops", "admin", 7),
            ]
        );
        assert_eq!(rows[0].msg_id, "order-5");
        let (seq, time) = rows[1].msg_id.split_once('-').unwrap();
        assert_eq!(seq, bare.to_string());
        assert_eq!(time.len(), 19, "the log's time in ns: {time}");
        let alice = world.person("alice").await;
        assert_eq!(alice.texts("admin.history.ops").await, ["admin"]);
        let page = alice
            .page("chat.history.general", Value::Null)
            .await
            .unwrap();
        assert_eq!(page.messages[1]["id"], *rows[1].msg_id);
    })
    .await;
}

#[tokio::test]
async fn room_that_differs_from_the_subject_makes_a_dead_letter() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        let _running = world.serve().await;
        let message = json!({ "user": "Ops", "text": "x", "timestamp": 7, "room": "general" });
        append(&backend, "chat.other", Some("1"), message.to_string()).await;
        append(&backend, "chat.general", Some("2"), message.to_string()).await;
        world.settled().await;

        assert_eq!(world.rows().await.len(), 1);
        let letters = world.dead_letters().await;
        assert_eq!((letters.len(), &*letters[0].subject), (1, "chat.other"));
        assert_eq!(
            letters[0].reason,
            "the payload says room general, the subject says other: they must be the same"
        );
        let alice = world.person("alice").await;
        assert_eq!(
            alice.texts("chat.history.other").await,
            Vec::<String>::new()
        );
    })
    .await;
}

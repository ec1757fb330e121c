//! A room that is none is refused, and no subject is built from what somebody wrote.

use serde_json::json;

use crate::bad_input::refused;
use crate::world::World;

#[tokio::test]
async fn room_that_is_none_is_refused_with_what_is_allowed() {
    let world = World::new().await;
    let _running = world
        .serve_only(&["send", "history", "admin-send", "admin-history"])
        .await;
    let alice = world.person("alice").await;
    let draft = json!({ "id": "1", "text": "x" }).to_string();
    let long = "r".repeat(300);

    for room in [
        "*",
        ">",
        "История",
        "$SYS",
        "a,b",
        "a/b",
        "a\u{7f}b",
        "%20",
        &long,
        &"r".repeat(65),
    ] {
        for verb in ["chat.send", "chat.history", "admin.send", "admin.history"] {
            let (code, message) = refused(&alice, &format!("{verb}.{room}"), draft.clone()).await;
            assert_eq!(
                (code, &*message),
                (
                    400,
                    "a room's name is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -"
                ),
                "{verb} {room}"
            );
        }
    }

    assert_eq!(world.log().await["last_seq"], 0, "nothing reached the log");
}

#[tokio::test]
async fn room_that_is_not_one_token_is_refused_by_client_or_server() {
    let world = World::new().await;
    let _running = world.serve_only(&["send", "history"]).await;
    let alice = world.person("alice").await;

    for room in ["a b", "a\r\nPUB chat.general 1\r\nx", "a\tb"] {
        let request = alice
            .nats
            .request(format!("chat.send.{room}"), "{}".into())
            .await;
        assert!(request.is_err(), "{room:?}");
    }
    alice.may_not_publish("chat.send.").await;
    alice.may_not_publish("chat.send.a.b").await;
    alice.may_not_publish("chat.history.a.>").await;

    alice
        .send("chat.send.__proto__", "1", "an ordinary room")
        .await
        .unwrap();
    assert_eq!(world.log().await["last_seq"], 1);
}

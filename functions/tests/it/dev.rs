//! `chat dev` and the commands beside it, as processes.

use async_nats::ConnectOptions;
use serde_json::{Value, json};

use crate::database::Database;
use crate::program::Place;
use crate::wait::{until, within};

/// Sends as a person and returns the answer.
async fn send(place: &Place, user: &str, id: &str) -> Value {
    let draft = json!({ "id": id, "text": id }).to_string();
    place
        .run(&["invoke", "--user", user, "chat.send.general", &draft])
        .await
        .json()
}

/// The ids of the room, oldest first.
async fn ids(place: &Place) -> Vec<String> {
    let history = place.run(&["invoke", "chat.history.general"]).await.json();
    let messages = history.as_array().unwrap();
    messages
        .iter()
        .map(|message| message["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn dev_says_where_everything_is_and_who_may_log_in() {
    let place = Place::new();
    let _dev = place.dev(&[]).await;

    let dev = place.addresses();

    let scheme = |key: &str| {
        dev[key]
            .as_str()
            .unwrap()
            .split("://")
            .next()
            .unwrap()
            .to_owned()
    };
    let schemes = ["nats", "websocket", "monitor", "database"].map(scheme);
    assert_eq!(schemes, ["nats", "ws", "http", "sqlite"]);
    assert_eq!(
        dev["users"]["alice"],
        json!({ "password": "alice123", "inbox_prefix": "_INBOX.u.alice" })
    );
    let text = |name: &str, key: &str| dev[name][key].as_str().unwrap().to_owned();
    for name in ["operator", "backend"] {
        let login =
            ConnectOptions::with_user_and_password(text(name, "user"), text(name, "password"))
                .custom_inbox_prefix(text(name, "inbox_prefix"));
        login.connect(dev["nats"].as_str().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn operator_discovers_every_function_of_dev() {
    let place = Place::new();
    let _dev = place.dev(&[]).await;

    let info = place
        .run(&["invoke", "--user", "operator", "$SRV.INFO.chat"])
        .await
        .json();

    let names: Vec<&str> = info["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["send", "admin-send", "history", "admin-history", "persist"]
    );
}

#[tokio::test]
async fn messages_are_there_after_a_stop_and_after_a_kill() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    send(&place, "alice", "before-the-stop").await;
    assert_eq!(dev.interrupt().await, Some(0));

    let dev = place.dev(&[]).await;
    send(&place, "bob", "before-the-kill").await;
    dev.kill().await;

    let _dev = place.dev(&[]).await;
    assert_eq!(ids(&place).await, ["before-the-stop", "before-the-kill"]);
}

#[tokio::test]
async fn persist_runs_beside_a_dev_without_it_and_is_killed_without_loss() {
    let place = Place::new().variable("CHAT_SEND__RATE", "20");
    let _dev = place.dev(&["--without", "persist"]).await;
    // From here on the rate stands in the file that dev wrote, and there alone.
    let place = place.without_variables();
    let persist = ["--config", ".chat/chat.toml", "serve", "persist"];
    send(&place, "alice", "while-it-is-away").await;
    assert_eq!(ids(&place).await, ["while-it-is-away"]);

    place.start(&persist, "serves persist").await.kill().await;
    let again = place.start(&persist, "serves persist").await;
    let stored = place
        .run(&[
            "invoke",
            "chat.general",
            r#"{"user":"news","text":"x","timestamp":1}"#,
        ])
        .await;

    assert!(
        stored.stdout.contains("persist: acknowledged"),
        "{stored:?}"
    );
    assert_eq!(ids(&place).await.len(), 2);
    assert_eq!(again.interrupt().await, Some(0));
}

#[tokio::test]
async fn dev_keeps_messages_in_postgres_when_database_url_says_so() {
    let database = Database::empty_postgres().await;
    let place = Place::with_database(&database.url);
    let _dev = place.dev(&[]).await;

    send(&place, "alice", "one").await;

    assert_eq!(place.addresses()["database"], database.url);
    until("the row is there", async || {
        use sea_orm::{EntityTrait, PaginatorTrait};
        let rows = chat::store::entity::messages::Entity::find()
            .count(&database.pool)
            .await;
        rows.ok().filter(|rows| *rows == 1)
    })
    .await;
}

#[tokio::test]
async fn setup_beside_dev_plans_nothing_and_takes_over_only_what_there_is() {
    let place = Place::new();
    let _dev = place.dev(&[]).await;

    let plan = place.run(&["setup", "--plan"]).await;
    let typed = place.run(&["setup", "--take-over", "CHAT"]).await;

    assert_eq!(plan.code, Some(0), "{plan:?}");
    for line in [
        "stream CHAT_MESSAGES: stays as it is",
        "stream DEAD_LETTERS: stays as it is",
        "consumer chat-persist of CHAT_MESSAGES: stays as it is",
        "schema: stays as it is",
    ] {
        assert!(plan.stdout.contains(line), "{line:?} in {plan:?}");
    }
    assert_eq!(typed.code, Some(2), "{typed:?}");
    assert!(typed.stderr.contains("CHAT_MESSAGES"), "{typed:?}");
}

#[tokio::test]
async fn dev_takes_the_database_that_the_configuration_names() {
    let database = Database::empty_sqlite().await;
    let place = Place::new().variable("CHAT_DATABASE__URL", &database.url);
    let _dev = place.dev(&[]).await;

    send(&place, "alice", "one").await;

    assert_eq!(place.addresses()["database"], database.url);
    assert_eq!(ids(&place).await, ["one"]);
}

#[tokio::test]
async fn invoke_tells_a_dead_letter_and_dead_shows_replays_and_drops_it() {
    let place = Place::new();
    let _dev = place.dev(&[]).await;

    let bad = place
        .run(&["invoke", "chat.general", r#"{"user":"news"}"#])
        .await;

    assert_eq!(bad.code, Some(1));
    assert!(bad.stdout.contains("persist: dead letter 1:"), "{bad:?}");
    let list = place.run(&["dead", "list"]).await;
    assert!(
        list.stdout.starts_with("1  ") && list.stdout.contains("chat.general"),
        "{list:?}"
    );
    let shown = place.run(&["dead", "show", "1"]).await.json();
    assert_eq!(shown["payload"], json!({ "user": "news" }));
    let none = place.run(&["dead", "replay"]).await;
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.stderr.contains("--all"), "{none:?}");
    let replayed = place.run(&["dead", "replay", "1"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    until("it is a dead letter again", async || {
        let list = place.run(&["dead", "list"]).await;
        list.stdout.starts_with("2  ").then_some(())
    })
    .await;
    assert_eq!(place.run(&["dead", "drop", "2"]).await.code, Some(0));
    assert_eq!(place.run(&["dead", "list"]).await.stdout, "");
    assert_eq!(place.run(&["dead", "show", "2"]).await.code, Some(1));
}

#[tokio::test]
async fn invoke_says_at_once_what_a_user_may_not_do() {
    let place = Place::new();
    let _dev = place.dev(&[]).await;

    let draft = r#"{"id":"x","text":"x"}"#;
    let refused =
        within(place.run(&["invoke", "--user", "charlie", "chat.send.general", draft])).await;

    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("Permissions Violation"),
        "{refused:?}"
    );
    let work = place.run(&["invoke", "page"]).await;
    assert_eq!(work.code, Some(2), "{work:?}");
    assert!(work.stderr.contains("page is background work"), "{work:?}");
}

#[tokio::test]
async fn secrets_are_fresh_for_each_directory_and_stay() {
    let (place, other) = (Place::new(), Place::new());
    let secret = async |place: &Place| {
        let dev = place.dev(&[]).await;
        let secret = place.addresses()["operator"]["password"].clone();
        dev.interrupt().await;
        secret
    };

    let first = secret(&place).await;

    assert_eq!(secret(&place).await, first);
    assert_ne!(secret(&other).await, first);
}

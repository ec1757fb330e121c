//! Rights in chat's own nats.conf that are taken and given back by a reload, while chat runs.

use std::time::Duration;

use natsfn::config::{Login, NatsConfig};
use natsfn::{Connections, Running};
use serde_json::Value;
use tokio::time::Instant;

use crate::server::NATS_CONF;
use crate::wait::until;
use crate::world::{World, append};

/// Every function as the user chat, on connections as `chat serve` makes them.
async fn serve(world: &World) -> Running {
    let config = NatsConfig {
        url: world.server.url().to_owned(),
        ..NatsConfig::default()
    };
    let config = config.login(&Login::new("chat", "chat", "_INBOX.s.chat"));
    let connections = Connections::open(&config, "chat").await.unwrap();
    let definition = world.service().build().unwrap();
    natsfn::start(definition, connections, Some(&world.database.url))
        .await
        .unwrap()
}

fn state(running: &Running, name: &str) -> Value {
    let stats = running.stats();
    let functions = stats["endpoints"].as_array().unwrap();
    let function = functions.iter().find(|function| function["name"] == name);
    function.unwrap()["data"]["state"].clone()
}

#[tokio::test]
async fn send_and_persist_whose_rights_were_taken_work_once_they_are_back() {
    let world = World::new().await;
    let running = serve(&world).await;
    let bob = world.person("bob").await;
    let backend = world.backend().await;
    let send = async |id: &str| {
        let draft = serde_json::json!({ "id": id, "text": "x" }).to_string();
        let request = async_nats::Request::new()
            .payload(draft.into())
            .timeout(Some(Duration::from_secs(2)));
        let answer = bob
            .nats
            .send_request("chat.send.general", request)
            .await
            .ok()?;
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        answer["seq"].as_u64()
    };
    assert!(send("1").await.is_some());
    // `persist` has found its consumer.
    world.settled().await;

    // As an operator does it by mistake: the user chat may hear neither requests nor answers.
    let mistaken = NATS_CONF
        .replace("\"chat.send.* q\"", "\"chat.sent.* q\"")
        .replace("\"_INBOX.s.chat.>\"", "\"_INBOX.s.chad.>\"");
    world.server.reload(&mistaken).unwrap();
    until("it says so", async || {
        let why = running.health().err()?;
        (why.contains("chat.send.*") && why.contains("_INBOX.s.chat.>")).then_some(())
    })
    .await;
    assert_eq!(state(&running, "send"), "holding");
    assert_eq!(state(&running, "persist"), "holding");
    assert_eq!(send("2").await, None);
    let message = r#"{"user":"b","text":"waits","timestamp":1}"#;
    append(&backend, "chat.general", None, message).await;

    world.server.reload(NATS_CONF).unwrap();
    let since = Instant::now();
    until("a message is taken", async || send("2").await).await;
    world.settled().await;

    assert!(since.elapsed() < Duration::from_secs(10));
    assert_eq!(world.texts().await, ["x", "waits", "x"]);
    until("all is well", async || running.health().ok()).await;
    assert_eq!(state(&running, "persist"), "running");
}

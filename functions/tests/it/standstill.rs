//! A nats-server that stands still: its connections stay open, and nobody answers.

use std::time::Duration;

use bytes::Bytes;
use natsfn::config::{Login, NatsConfig};
use natsfn::{Connections, HeaderMap};

use crate::wait::until;
use crate::world::World;

async fn stand_still(world: World, pause: Duration, ping_interval: f64) {
    let config = NatsConfig {
        url: world.server.url().to_owned(),
        ping_interval,
        ..NatsConfig::default()
    };
    let config = config.login(&Login::new("chat", "chat", "_INBOX.s.chat"));
    let connections = Connections::open(&config, "chat").await.unwrap();
    let definition = world.service().build().unwrap();
    let running = natsfn::start(definition, connections, Some(&world.database.url))
        .await
        .unwrap();
    let backend = world.backend().await;
    let write = async |n: u64| {
        let message = format!(r#"{{"user":"b","text":"{n}","timestamp":1}}"#);
        let (id, payload) = (n.to_string(), Bytes::from(message));
        // What is not acknowledged in time is sent again with the same id, as senders do.
        until("it is acknowledged", async || {
            let headers = HeaderMap::new();
            let sent = backend.append("chat.general", Some(&id), headers, payload.clone());
            sent.await.ok()
        })
        .await
    };
    for n in 0..100 {
        write(n).await;
    }

    world.server.pause();
    let waiting = async {
        // Longer than nothing at all, and shorter than a client's own patience: it is the fault.
        tokio::time::sleep(pause).await;
        world.server.resume();
    };
    futures_util::join!(waiting, write(100));
    for n in 101..150 {
        write(n).await;
    }

    world.settled().await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 150);
    until("all is well", async || running.health().ok()).await;
    let bob = world.person("bob").await;
    until("it answers", async || {
        bob.nats
            .request("chat.history.general", "".into())
            .await
            .ok()
    })
    .await;
}

#[tokio::test]
async fn server_that_stands_still_for_five_seconds_is_resumed_and_each_message_stored_once() {
    stand_still(World::new().await, Duration::from_secs(5), 3.0).await;
}

#[tokio::test]
async fn server_that_stands_still_longer_is_connected_to_again_and_each_message_stored_once() {
    // In proportion: as forty seconds are to the default.
    stand_still(World::new().await, Duration::from_secs(3), 0.2).await;
}

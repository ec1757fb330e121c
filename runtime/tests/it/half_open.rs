//! A connection that nothing passes any more and that nobody has closed.

use std::time::Duration;

use natsfn::config::NatsConfig;
use natsfn::{Batch, Bytes, Connections, Service};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::log::consumer;
use crate::network::Network;
use crate::world::{World, next, until};

async fn echo(body: Bytes) -> Bytes {
    body
}

/// A server that notices dead clients soon, as chat's and dev's do, only sooner.
async fn world() -> World {
    let conf = "host: $NATS_CONF_HOST\nport: $NATS_CONF_PORT\nping_interval: \"200ms\"\n\
                jetstream { store_dir: $NATS_CONF_STORE_DIR }";
    World::with(|config| config.text(conf)).await
}

#[tokio::test]
async fn dead_network_is_noticed_and_nothing_is_lost() {
    let world = world().await;
    let network = Network::before(world.server.url()).await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let store = move |batch: Batch<u64>| {
        for n in &batch {
            seen.send(**n).unwrap();
        }
        async {}
    };
    let service = Service::new("a", "1.0.0")
        .endpoint("echo", echo)
        .consumer(consumer().ack_wait(Duration::from_secs(1)), store)
        .build()
        .unwrap();
    natsfn::setup::setup(&service, &world.nats, None)
        .await
        .unwrap();
    let config = NatsConfig {
        url: network.url(),
        ping_interval: 0.2,
        ..NatsConfig::default()
    };
    let connections = Connections::open(&config, "a").await.unwrap();
    let _running = natsfn::start(service, connections, None).await.unwrap();
    world.store("log.a", ["1".to_owned()]).await;
    assert_eq!(next(&mut sightings).await, 1);
    world.settled("LOG", "store", 1).await;

    network.silence();
    let started = Instant::now();
    world.store("log.a", ["2".to_owned()]).await;

    // Until the server has noticed too it goes on to give requests to the dead connection.
    until("it answers, and again", async || {
        for _ in 0..5 {
            let request = async_nats::Request::new().timeout(Some(Duration::from_millis(100)));
            world.nats.send_request("echo", request).await.ok()?;
        }
        Some(())
    })
    .await;
    assert_eq!(next(&mut sightings).await, 2);
    world.settled("LOG", "store", 2).await;
    // In proportion: the interval is a fifteenth of what it is by default, and 10 s are the limit.
    // What is above that is the machine's.
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn silence_is_noticed_within_ten_seconds_by_default() {
    // Two questions without an answer, and the third is not asked.
    assert!(3.0 * NatsConfig::default().ping_interval < 10.0);
}

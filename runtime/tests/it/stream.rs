//! A stream's life: made late, recreated, its consumer deleted, its server restarted.

use natsfn::{Batch, Service};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::log::{consumer, numbers};
use crate::world::{World, function, next, until, within};

#[tokio::test]
async fn stream_recreated_while_running_is_told_apart_and_consumed() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<String>| {
            for item in &batch {
                seen.send((item.seq(), item.stream_created(), (**item).clone()))
                    .unwrap();
            }
            async {}
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", [json!("old").to_string()]).await;
    let _running = world.serve(service()).await;
    let (seq, old_life, text) = next(&mut sightings).await;
    assert_eq!((seq, text.as_str()), (1, "old"));

    world.api("STREAM.DELETE.LOG", &Value::Null).await;
    world.set_up(service()).await;
    world.store("log.a", [json!("new").to_string()]).await;

    let (seq, new_life, text) = next(&mut sightings).await;
    assert_eq!((seq, text.as_str()), (1, "new"));
    assert!(new_life > old_life);
    world.settled("LOG", "store", 1).await;
}

#[tokio::test]
async fn deleted_consumer_is_recreated() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            for item in &batch {
                seen.send(item.seq()).unwrap();
            }
            async {}
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    let _running = world.serve(service()).await;
    assert_eq!(next(&mut sightings).await, 1);

    world.api("CONSUMER.DELETE.LOG.a-store", &Value::Null).await;
    world.store("log.a", numbers(1)).await;

    // It reads from the beginning again: what was done is the inbox's or the key's to know.
    while next(&mut sightings).await != 2 {}
    world.settled("LOG", "store", 2).await;
}

#[tokio::test]
async fn a_stream_that_is_not_there_yet_is_waited_for() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            seen.send(batch.len()).unwrap();
            async {}
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    let running = world.serve(service()).await;
    until("it holds", async || {
        let data = function(&running, 0)["data"].clone();
        (data["state"] == "holding" && data["reason"].as_str()?.contains("setup")).then_some(())
    })
    .await;

    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;

    assert_eq!(next(&mut sightings).await, 1);
    world.settled("LOG", "store", 1).await;
}

#[tokio::test]
async fn a_server_that_restarts_loses_and_repeats_nothing_that_was_acknowledged() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            for item in &batch {
                seen.send(item.seq()).unwrap();
            }
            async {}
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    world.store("log.a", numbers(10)).await;
    world.settled("LOG", "store", 10).await;

    within(world.server.restart()).await;
    until("it takes messages again", async || {
        let client = natsfn::Client::new(world.nats.clone());
        client
            .append(
                "log.a",
                Some("after"),
                natsfn::HeaderMap::new(),
                "11".into(),
            )
            .await
            .ok()
    })
    .await;
    world.settled("LOG", "store", 11).await;

    let mut all = Vec::new();
    while let Ok(seq) = sightings.try_recv() {
        all.push(seq);
    }
    assert_eq!(all, (1..=11).collect::<Vec<_>>());
}

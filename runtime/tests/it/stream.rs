//! A stream's life: made late, recreated, its consumer deleted, its server restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use natsfn::{Batch, Json, Retry, Service};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::captured::Captured;
use crate::log::{attempts, consumer, numbers};
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

/// A function that keeps messages that begin with "old" until the gate lets them go, and fails at the first "new 1".
struct Gated {
    seen: mpsc::UnboundedSender<String>,
    gate: Arc<Semaphore>,
    failed: Arc<AtomicBool>,
}

impl Gated {
    fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (seen, sightings) = mpsc::unbounded_channel();
        let gated = Self {
            seen,
            gate: Arc::new(Semaphore::new(0)),
            failed: Arc::default(),
        };
        (gated, sightings)
    }

    /// Eight messages are in it at once, eight more are ready, and sixteen are queued.
    fn service(&self, retry: Retry) -> Service {
        let (seen, gate, failed) = (self.seen.clone(), self.gate.clone(), self.failed.clone());
        let store = move |Json(text): Json<String>| {
            let (seen, gate, failed) = (seen.clone(), gate.clone(), failed.clone());
            async move {
                seen.send(text.clone()).unwrap();
                if text.starts_with("old") {
                    gate.acquire().await.unwrap().forget();
                }
                if text == "new 1" && !failed.swap(true, Relaxed) {
                    return Err(natsfn::Error::internal("the first time"));
                }
                Ok(())
            }
        };
        let consumer = consumer().max_in_flight(8).retry(retry);
        Service::new("a", "1.0.0").consumer(consumer, store)
    }
}

fn texts(age: &str, n: u64) -> impl Iterator<Item = String> {
    (1..=n).map(move |n| json!(format!("{age} {n}")).to_string())
}

async fn has_pending(world: &World, n: u64) {
    until("they are here", async || {
        let consumer = world.consumer("LOG", "store").await;
        (consumer["num_ack_pending"] == n).then_some(())
    })
    .await;
}

#[tokio::test]
async fn message_of_a_recreated_stream_is_not_settled_by_one_of_the_former_stream() {
    let world = World::new().await;
    let (gated, mut sightings) = Gated::new();
    let service = || gated.service(attempts(5));
    world.set_up(service()).await;
    // Four of them are queued.
    world.store("log.a", texts("old", 20)).await;
    let _running = world.serve(service()).await;
    for _ in 0..8 {
        next(&mut sightings).await;
    }

    world.api("STREAM.DELETE.LOG", &Value::Null).await;
    world.set_up(service()).await;
    world.store("log.a", texts("new", 3)).await;
    has_pending(&world, 3).await;
    gated.gate.add_permits(20);

    let mut after = Vec::new();
    while after.iter().filter(|text| *text == "new 1").count() < 2 {
        after.push(next(&mut sightings).await);
    }
    world.settled("LOG", "store", 3).await;
    let queued = |text: &&String| {
        let number = text.strip_prefix("old ");
        number.is_some_and(|number| number.parse::<u64>().unwrap() > 16)
    };
    assert_eq!(after.iter().find(queued), None, "{after:?}");
}

#[tokio::test]
async fn instance_with_a_full_queue_notices_a_recreated_stream_and_spares_what_another_has_of_it() {
    let captured = Captured::begin();
    let world = World::new().await;
    let (gated, mut sightings) = Gated::new();
    // It comes again once the other instance has let its messages go.
    let service = || {
        let retry = Retry::exponential(Duration::from_secs(4)..=Duration::from_secs(30));
        gated.service(retry.attempts(5))
    };
    world.set_up(service()).await;
    world.store("log.a", texts("old", 32)).await;
    let _full = world.serve(service()).await;
    for _ in 0..8 {
        next(&mut sightings).await;
    }
    has_pending(&world, 32).await;
    let _other = world.serve(service()).await;

    world.api("STREAM.DELETE.LOG", &Value::Null).await;
    world.set_up(service()).await;
    world.store("log.a", texts("new", 3)).await;
    let mut first: Vec<_> = Vec::new();
    for _ in 0..3 {
        first.push(next(&mut sightings).await);
    }
    first.sort_unstable();
    assert_eq!(first, ["new 1", "new 2", "new 3"]);
    until("it notices", async || {
        let told = captured.lines("the stream was recreated or rolled back");
        (!told.is_empty()).then_some(())
    })
    .await;
    gated.gate.add_permits(32);

    while next(&mut sightings).await != "new 1" {}
    world.settled("LOG", "store", 3).await;
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

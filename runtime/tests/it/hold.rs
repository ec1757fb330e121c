//! Holding and halting: nothing is lost while a dependency is down or the world is not as known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use natsfn::{Batch, Error, Kind, Outcomes, Service};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::log::{Calls, attempts, consumer, letters, numbers};
use crate::world::{World, function, next, state, until};

#[tokio::test]
async fn a_dependency_that_is_down_holds_the_consumer_until_it_is_back() {
    let world = World::new().await;
    let (down, calls) = (Arc::new(AtomicBool::new(true)), Calls::default());
    let service = || {
        let (down, calls) = (down.clone(), calls.clone());
        let store = move |batch: Batch<u64>| {
            calls.count(&batch);
            let down = down.load(Ordering::SeqCst);
            async move {
                if down {
                    Err(Error::unavailable("database is gone"))
                } else {
                    Ok(())
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer().retry(attempts(1)).max_batch(5), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(100)).await;
    let running = world.serve(service()).await;

    until("it was tried again and again", async || {
        (calls.of(1).0 >= 4).then_some(())
    })
    .await;
    let data = world.ask_json("fn.a.store", "").await;
    assert_eq!(data["state"], "holding");
    assert_eq!(data["reason"], "database is gone");
    assert_eq!(data["redelivered"], 0);
    // It has stopped fetching: most are still with the server.
    assert!(data["pending"].as_u64().unwrap() >= 80, "{data}");

    down.store(false, Ordering::SeqCst);
    world.settled("LOG", "store", 100).await;
    assert_eq!(state(&running, 0), "running");
    assert!(letters(&world).await.is_empty());
}

#[tokio::test]
async fn a_dependency_that_is_back_holds_no_part_of_a_batch_that_fails_then() {
    let world = World::new().await;
    let (halved, mut halves) = mpsc::unbounded_channel();
    let batches = Arc::new(AtomicUsize::new(0));
    let service = || {
        let (halved, batches) = (halved.clone(), batches.clone());
        let store = move |batch: Batch<u64>| {
            // One that came alone before the others is no batch.
            let nth = match batch.len() {
                1 => batches.load(Ordering::SeqCst),
                _ => batches.fetch_add(1, Ordering::SeqCst) + 1,
            };
            let halved = halved.clone();
            async move {
                match nth {
                    0 => Ok(()),
                    1 => Err(Error::unavailable("database is gone")),
                    2 => Err(Error::bad_request("one of them")),
                    _ => {
                        halved.send(()).unwrap();
                        std::future::pending().await
                    }
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(100)).await;

    let running = world.serve(service()).await;

    next(&mut halves).await;
    assert_eq!(state(&running, 0), "running");
}

#[tokio::test]
async fn a_halt_settles_nothing_and_says_why() {
    let world = World::new().await;
    let calls = Calls::default();
    let service = |halts: bool| {
        let calls = calls.clone();
        let store = move |batch: Batch<u64>| {
            calls.count(&batch);
            async move {
                if halts {
                    Err(Error::new(Kind::Halt, "sequence 1 is\ntaken"))
                } else {
                    Ok(())
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer().retry(attempts(1)), store)
    };
    world.set_up(service(true)).await;
    world.store("log.a", numbers(5)).await;
    let running = world.serve(service(true)).await;
    until("it halts", async || {
        (state(&running, 0) == "halted").then_some(())
    })
    .await;

    // More messages change nothing.
    world.store("log.a", numbers(5)).await;
    let data = world.ask_json("fn.a.store", "").await;
    assert_eq!(
        (&data["state"], &data["reason"]),
        (&"halted".into(), &"sequence 1 is taken".into())
    );
    assert_eq!(
        world.consumer("LOG", "store").await["ack_floor"]["stream_seq"],
        0
    );
    assert!(letters(&world).await.is_empty());
    assert_eq!(calls.of(1).0, 1);

    // A restart, with the cause mended, goes on.
    running.stop(Duration::from_secs(10)).await;
    let _mended = world.serve(service(false)).await;
    world.settled("LOG", "store", 10).await;
}

#[tokio::test]
async fn a_halt_of_one_message_acknowledges_the_others_and_not_that_one() {
    let world = World::new().await;
    let service = || {
        let store = |batch: Batch<u64>| async move {
            let mut outcomes = Outcomes::new();
            for item in batch.iter().filter(|item| item.seq() == 2) {
                outcomes.fail(item.message(), Error::new(Kind::Halt, "two is taken"));
            }
            outcomes
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(3)).await;
    let running = world.serve(service()).await;
    until("it halts", async || {
        (state(&running, 0) == "halted").then_some(())
    })
    .await;
    until("the first is acknowledged", async || {
        let info = world.consumer("LOG", "store").await;
        (info["ack_floor"]["stream_seq"] == 1).then_some(())
    })
    .await;
    assert!(letters(&world).await.is_empty());
}

#[tokio::test]
async fn stream_that_would_lose_messages_is_not_used_until_it_is_mended() {
    let world = World::new().await;
    let service = || Service::new("a", "1.0.0").consumer(consumer(), |_: Batch<u64>| async {});
    world.set_up(service()).await;
    let running = world.serve(service()).await;
    let change = async |max_age: u64| {
        let info = world.api("STREAM.INFO.LOG", &Value::Null).await;
        let mut config = info["config"].clone();
        config["max_age"] = max_age.into();
        let changed = world.api("STREAM.UPDATE.LOG", &config).await;
        assert!(changed["error"].is_null(), "{changed}");
    };
    change(3_600_000_000_000).await;
    // It is looked for again, and recreated, only where the stream can be used.
    world.api("CONSUMER.DELETE.LOG.a-store", &Value::Null).await;
    until("it says what is wrong", async || {
        let reason = function(&running, 0)["data"]["reason"].clone();
        let reason = reason.as_str().unwrap_or_default();
        reason.contains("max_age").then_some(())
    })
    .await;

    change(0).await;
    world.store("log.a", numbers(5)).await;
    world.settled("LOG", "store", 5).await;
}

#[tokio::test]
async fn a_message_is_kept_while_dead_letters_cannot_be_written() {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.api("STREAM.DELETE.DEAD_LETTERS", &Value::Null).await;
    world
        .store("log.a", ["no number".to_owned(), "1".to_owned()])
        .await;
    let running = world.serve(service()).await;

    until("the good one is done and the bad one is kept", async || {
        let info = world.consumer("LOG", "store").await;
        (function(&running, 0)["num_errors"].as_u64().unwrap() >= 2
            && info["num_pending"] == 0
            && info["num_ack_pending"] == 1
            && info["ack_floor"]["stream_seq"] == 0)
            .then_some(())
    })
    .await;
    assert_eq!(function(&running, 0)["data"]["dead_lettered"], 0);

    world.set_up(service()).await;
    world.settled("LOG", "store", 2).await;
    assert_eq!(letters(&world).await.len(), 1);
}

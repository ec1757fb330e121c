//! The path of a message to a function: batches, single items, order, acks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use natsfn::{
    Batch, Consumer, Error, Headers, Json, Kind, Outcomes, Path, Service, Stream, Subject,
};
use tokio::sync::{Semaphore, mpsc};

use crate::log::{attempts, numbers};
use crate::world::{World, function, next, until};

fn stream() -> Stream {
    Stream::new("LOG", ["log.{kind}"])
}

#[tokio::test]
async fn every_message_reaches_the_function_once_in_order_and_is_acknowledged() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            seen.send(
                batch
                    .iter()
                    .map(|item| (item.seq(), **item))
                    .collect::<Vec<_>>(),
            )
            .unwrap();
            async {}
        };
        Service::new("a", "1.0.0").consumer(Consumer::new("store", stream()).max_batch(100), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1000)).await;

    let running = world.serve(service()).await;
    world.settled("LOG", "store", 1000).await;

    let mut all = Vec::new();
    while let Ok(batch) = sightings.try_recv() {
        assert!(batch.len() <= 100, "{}", batch.len());
        all.extend(batch);
    }
    assert_eq!(all, (1..=1000).map(|n| (n, n)).collect::<Vec<_>>());
    assert_eq!(function(&running, 0)["num_requests"], 1000);
    assert_eq!(function(&running, 0)["num_errors"], 0);
}

#[tokio::test]
async fn a_batch_does_not_wait_to_become_larger() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            seen.send(batch.len()).unwrap();
            async {}
        };
        Service::new("a", "1.0.0").consumer(Consumer::new("store", stream()), store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    for _ in 0..3 {
        world.store("log.a", numbers(1)).await;
        assert_eq!(next(&mut sightings).await, 1);
    }
}

#[tokio::test]
async fn single_items_run_side_by_side_up_to_max_in_flight() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let service = || {
        let (seen, gate) = (seen.clone(), gate.clone());
        let store =
            move |Json(n): Json<u64>, Path(kind): Path<String>, Subject(subject): Subject| {
                let (seen, gate) = (seen.clone(), gate.clone());
                async move {
                    seen.send((n, kind, subject)).unwrap();
                    gate.acquire().await.unwrap().forget();
                }
            };
        Service::new("a", "1.0.0")
            .consumer(Consumer::new("store", stream()).max_in_flight(4), store)
    };
    world.set_up(service()).await;
    world.store("log.book", numbers(20)).await;
    let running = world.serve(service()).await;

    for _ in 0..4 {
        let (_, kind, subject) = next(&mut sightings).await;
        assert_eq!((kind.as_str(), subject.as_str()), ("book", "log.book"));
    }
    // Each that ends lets exactly one begin.
    for _ in 0..16 {
        assert!(sightings.try_recv().is_err());
        assert_eq!(function(&running, 0)["data"]["in_flight"], 4);
        gate.add_permits(1);
        next(&mut sightings).await;
    }
    gate.add_permits(4);
    world.settled("LOG", "store", 20).await;
}

#[tokio::test]
async fn a_filter_takes_its_subjects_and_leaves_the_others() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            seen.send(
                batch
                    .iter()
                    .map(|item| item.subject().to_owned())
                    .collect::<Vec<_>>(),
            )
            .unwrap();
            async {}
        };
        let consumer = Consumer::new("store", stream()).filter(["log.a", "log.c"]);
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    for subject in ["log.a", "log.b", "log.c", "log.b"] {
        world.store(subject, numbers(1)).await;
    }
    let _running = world.serve(service()).await;
    until("both are settled", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_pending"] == 0 && info["ack_floor"]["consumer_seq"] == 2).then_some(())
    })
    .await;

    let mut subjects = BTreeSet::new();
    while let Ok(batch) = sightings.try_recv() {
        subjects.extend(batch);
    }
    assert_eq!(
        subjects,
        BTreeSet::from(["log.a".to_owned(), "log.c".to_owned()])
    );
}

#[tokio::test]
async fn headers_reach_a_function_of_single_items() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |Headers(headers): Headers| {
            seen.send(headers.get("X").unwrap().as_str().to_owned())
                .unwrap();
            async {}
        };
        Service::new("a", "1.0.0").consumer(Consumer::new("store", stream()), store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    let mut headers = natsfn::HeaderMap::new();
    headers.insert("X", "y");
    natsfn::Client::new(world.nats.clone())
        .append("log.a", None, headers, "".into())
        .await
        .unwrap();
    assert_eq!(next(&mut sightings).await, "y");
}

#[tokio::test]
async fn the_next_batch_is_fetched_while_one_is_in_the_function() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let service = || {
        let (seen, gate) = (seen.clone(), gate.clone());
        let store = move |batch: Batch<u64>| {
            let (seen, gate) = (seen.clone(), gate.clone());
            async move {
                seen.send(batch.len()).unwrap();
                gate.acquire().await.unwrap().forget();
            }
        };
        Service::new("a", "1.0.0").consumer(Consumer::new("store", stream()).max_batch(5), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(50)).await;
    let _running = world.serve(service()).await;
    let first = next(&mut sightings).await;

    // More than the function has: the server has delivered it to this instance.
    until("the next is fetched", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_ack_pending"].as_u64().unwrap() > first as u64).then_some(())
    })
    .await;

    gate.add_permits(50);
    world.settled("LOG", "store", 50).await;
}

#[tokio::test]
async fn a_message_that_is_redelivered_keeps_its_sequence_and_the_others_do_not_wait_for_it() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            let mut outcomes = Outcomes::new();
            for item in &batch {
                if item.seq() == 1 && item.message().delivered() == 1 {
                    outcomes.fail(item.message(), Error::new(Kind::TooManyRequests, "later"));
                } else {
                    seen.send((item.seq(), item.message().delivered(), **item))
                        .unwrap();
                }
            }
            async { outcomes }
        };
        Service::new("a", "1.0.0").consumer(Consumer::new("store", stream()), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(5)).await;
    let _running = world.serve(service()).await;

    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(next(&mut sightings).await);
    }

    assert_eq!(
        order,
        [(2, 1, 2), (3, 1, 3), (4, 1, 4), (5, 1, 5), (1, 2, 1)]
    );
    world.settled("LOG", "store", 5).await;
}

#[tokio::test]
async fn a_slow_function_keeps_its_messages_until_its_deadline_and_no_longer() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let deadline = Duration::from_secs(4);
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            let delivered = batch[0].message().delivered();
            seen.send((delivered, tokio::time::Instant::now())).unwrap();
            async move {
                if delivered == 1 {
                    std::future::pending::<()>().await;
                }
            }
        };
        let consumer = Consumer::new("store", stream())
            .ack_wait(Duration::from_secs(1))
            .deadline(deadline)
            .retry(attempts(1));
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    let (_one, _other) = (world.serve(service()).await, world.serve(service()).await);
    world.store("log.a", numbers(1)).await;

    let (first, began) = next(&mut sightings).await;
    let (second, again) = next(&mut sightings).await;

    // Four times the ack wait passed, and neither instance was given it again before.
    assert_eq!((first, second), (1, 2));
    assert!(again - began >= deadline, "{:?}", again - began);
    world.settled("LOG", "store", 1).await;
}

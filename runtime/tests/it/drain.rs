//! Stopping: nothing new is taken, nothing taken is lost, what is left is given back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use natsfn::{Batch, Bytes, Consumer, Running, Service, Stream};
use tokio::sync::{Semaphore, mpsc};

use crate::world::{GUARD, World, code, function, next, until, within};

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Stops and starts two instances in turn until `done`; returns the two that are left, and how
/// often one was stopped.
async fn take_turns(
    world: &World,
    service: impl Fn() -> Service,
    mut done: impl FnMut(u64) -> bool,
) -> ([Running; 2], u64) {
    let (mut one, mut other) = (world.serve(service()).await, world.serve(service()).await);
    let mut stops = 0;
    while !done(stops) {
        one.stop(STOP_TIMEOUT).await;
        stops += 1;
        (one, other) = (other, world.serve(service()).await);
    }
    ([one, other], stops)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_two_instances_are_stopped_and_started_in_turn() {
    const REQUESTS: u64 = 4000;
    let world = World::new().await;
    let service = || {
        let echo = |body: Bytes| async move {
            tokio::task::yield_now().await;
            body
        };
        Service::new("a", "1.0.0").endpoint("echo", echo)
    };
    let _first = world.serve(service()).await;
    let nats = world.nats.clone();
    let load = tokio::spawn(async move {
        let asked = futures_util::stream::iter(0..REQUESTS).map(|n| {
            let nats = nats.clone();
            async move {
                let answer = nats.request("echo", n.to_string().into()).await;
                answer
                    .is_ok_and(|answer| answer.payload == n.to_string() && code(&answer).is_none())
            }
        });
        asked
            .buffer_unordered(64)
            .filter(|good| std::future::ready(*good))
            .count()
            .await
    });

    let (_running, stops) = take_turns(&world, service, |_| load.is_finished()).await;

    assert_eq!(
        within(load).await.unwrap(),
        REQUESTS as usize,
        "answered, with {stops} stops"
    );
    assert!(
        stops >= 4,
        "only {stops} stops: the load was over too soon to tell anything"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_or_redelivered_while_two_instances_are_stopped_in_turn() {
    const STOPS: u64 = 6;
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            let seen = seen.clone();
            async move {
                tokio::task::yield_now().await;
                for item in &batch {
                    seen.send((item.seq(), item.message().delivered())).unwrap();
                }
            }
        };
        let consumer = Consumer::new("store", Stream::new("LOG", ["log.>"])).max_batch(20);
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    let stored = Arc::new(AtomicU64::new(0));
    let (nats, count, over) = (
        world.nats.clone(),
        stored.clone(),
        Arc::new(Semaphore::new(0)),
    );
    let enough = over.clone();
    let writer = tokio::spawn(async move {
        let client = natsfn::Client::new(nats);
        while enough.try_acquire().is_err() {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let headers = natsfn::HeaderMap::new();
            client
                .append("log.a", None, headers, n.to_string().into())
                .await
                .unwrap();
        }
    });

    let (_running, _) = take_turns(&world, service, |stops| stops == STOPS).await;
    over.add_permits(1);
    within(writer).await.unwrap();
    let stored = stored.load(Ordering::SeqCst);
    world.settled("LOG", "store", stored).await;

    let mut times: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    while let Ok((seq, delivered)) = sightings.try_recv() {
        times.entry(seq).or_default().push(delivered);
    }
    let once: BTreeMap<u64, Vec<u64>> = (1..=stored).map(|seq| (seq, vec![1])).collect();
    assert_eq!(times, once);
    assert_eq!(world.consumer("LOG", "store").await["num_redelivered"], 0);
}

#[tokio::test]
async fn a_stop_finishes_the_requests_that_are_in_flight() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let wait = gate.clone();
    let waits = move || {
        let gate = wait.clone();
        async move {
            let _ = gate.acquire().await;
        }
    };
    let service = Service::new("a", "1.0.0")
        .endpoint("waits", waits)
        .endpoint("probe", async || {});
    let running = world.serve(service).await;
    let nats = world.nats.clone();
    let asked = tokio::spawn(async move { nats.request("waits", "".into()).await });
    until("it runs", async || {
        (function(&running, 0)["data"]["in_flight"] == 1).then_some(())
    })
    .await;

    let stop = tokio::spawn(running.stop(STOP_TIMEOUT));
    until("nobody takes requests", async || {
        let refused = world.nats.request("probe", "".into()).await;
        refused
            .is_err_and(|error| error.kind() == async_nats::RequestErrorKind::NoResponders)
            .then_some(())
    })
    .await;
    gate.add_permits(1);

    assert_eq!(code(&within(asked).await.unwrap().unwrap()), None);
    within(stop).await.unwrap();
}

#[tokio::test]
async fn a_stop_gives_up_at_its_deadline_and_gives_its_messages_back() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = |hangs: bool| {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            seen.send(batch[0].message().delivered()).unwrap();
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
            }
        };
        let consumer = Consumer::new("store", Stream::new("LOG", ["log.>"]));
        Service::new("a", "1.0.0").consumer(consumer.ack_wait(Duration::from_secs(600)), store)
    };
    world.set_up(service(true)).await;
    let stuck = world.serve(service(true)).await;
    world.store("log.a", ["1".to_owned()]).await;
    assert_eq!(next(&mut sightings).await, 1);

    within(stuck.stop(Duration::from_millis(100))).await;

    // Long before the ack wait.
    let _running = world.serve(service(false)).await;
    assert_eq!(next(&mut sightings).await, 2);
    world.settled("LOG", "store", 1).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_dependency_that_is_down() {
    let world = World::new().await;
    let service = || {
        let down = |_: Batch<u64>| async { Err::<(), _>(natsfn::Error::unavailable("down")) };
        Service::new("a", "1.0.0")
            .consumer(Consumer::new("store", Stream::new("LOG", ["log.>"])), down)
    };
    world.set_up(service()).await;
    world.store("log.a", ["1".to_owned()]).await;
    let running = world.serve(service()).await;
    until("it holds", async || {
        (crate::world::state(&running, 0) == "holding").then_some(())
    })
    .await;

    // Nothing in flight may last as long as the test waits.
    within(running.stop(GUARD * 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_ends_though_nothing_can_be_given_back() {
    // More than the client takes without a connection.
    const N: usize = 5_000;
    let world = World::new().await;
    let (begun, mut calls) = mpsc::unbounded_channel();
    let service = || {
        let begun = begun.clone();
        let wait = move |_: Bytes| {
            begun.send(()).unwrap();
            std::future::pending::<()>()
        };
        let consumer = Consumer::new("wait", Stream::new("LOG", ["log.>"])).max_in_flight(N);
        Service::new("a", "1.0.0").consumer(consumer, wait)
    };
    world.set_up(service()).await;
    world.store("log.a", (0..N).map(|n| n.to_string())).await;
    let running = world.serve(service()).await;
    for _ in 0..N {
        next(&mut calls).await;
    }

    world.server.down().await;
    within(running.stop(Duration::from_secs(1))).await;
}

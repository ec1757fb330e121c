//! Panics outside the function's own call: in the user's other callbacks, and where a value of the
//! user's is dropped. Nothing is dead after one, and no message is held for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use natsfn::{Background, Batch, Consumer, Json, Service, StreamId};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::log::{attempts, consumer, deliver_in_vain, letters, numbers};
use crate::world::{World, code, next, until};

/// A number whose end is a panic where it is 1.
#[derive(Deserialize)]
struct Fragile(u64);

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(self.0 != 1 || std::thread::panicking(), "a one is dropped");
    }
}

/// Lives in a function's future.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped at the deadline");
    }
}

fn counting(consumer: Consumer) -> (Service, mpsc::UnboundedReceiver<u64>) {
    let (seen, sightings) = mpsc::unbounded_channel();
    let store = move |Json(number): Json<u64>| {
        seen.send(number).unwrap();
        async {}
    };
    let service = Service::new("a", "1.0.0").consumer(consumer, store);
    (service, sightings)
}

#[tokio::test]
async fn consumer_whose_floor_panics_looks_again() {
    for is_early in [true, false] {
        let world = World::new().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let floor = move |_: Background, _: StreamId| {
            let is_first = asked.fetch_add(1, Relaxed) == 0;
            assert!(!(is_first && is_early), "before it begins");
            async move {
                assert!(!is_first, "the first time");
                Ok(0)
            }
        };
        world.set_up(counting(consumer()).0).await;
        let (service, mut sightings) = counting(consumer().natural_key().floor(floor));
        world.store("log.a", numbers(1)).await;

        let _running = world.serve(service).await;

        assert_eq!(next(&mut sightings).await, 1);
    }
}

#[tokio::test]
async fn background_work_that_panics_before_it_begins_begins_again() {
    let world = World::new().await;
    let (said, mut heard) = mpsc::unbounded_channel();
    let runs = Arc::new(AtomicUsize::new(0));
    let service = Service::new("a", "1.0.0").task("sweep", move |_, ()| {
        assert!(runs.fetch_add(1, Relaxed) > 0, "the first time");
        let said = said.clone();
        async move {
            said.send(()).unwrap();
            Ok(())
        }
    });

    let _running = world.serve(service).await;

    next(&mut heard).await;
}

/// Message 1 cannot be dropped; it comes after so many deliveries, and 50 others after it.
async fn others_are_handled_after_one_that_cannot_be_dropped(deliveries: u64) {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<Fragile>| async {};
        Service::new("a", "1.0.0").consumer(consumer().max_batch(5), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    deliver_in_vain(&world, deliveries).await;
    let _running = world.serve(service()).await;
    world.settled("LOG", "store", 1).await;

    world.store("log.a", (2..=50).map(|n| n.to_string())).await;

    world.settled("LOG", "store", 50).await;
}

#[tokio::test]
async fn others_are_handled_after_a_value_that_panics_when_it_is_dropped() {
    others_are_handled_after_one_that_cannot_be_dropped(0).await;
    // As one that runs apart.
    others_are_handled_after_one_that_cannot_be_dropped(101).await;
}

#[tokio::test]
async fn message_whose_function_panics_when_it_is_dropped_at_the_deadline_is_a_dead_letter() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |Json(number): Json<u64>| {
            seen.send(number).unwrap();
            async move {
                if number == 1 {
                    let _guard = Guard;
                    std::future::pending::<()>().await;
                }
            }
        };
        let consumer = consumer()
            .retry(attempts(2))
            .deadline(Duration::from_millis(50));
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    let _running = world.serve(service()).await;
    next(&mut sightings).await;

    let mut n = 1;
    until("it is a dead letter", async || {
        n += 1;
        world.store("log.a", [n.to_string()]).await;
        (letters(&world).await.len() == 1).then_some(())
    })
    .await;

    world.settled("LOG", "store", n).await;
    assert_eq!(letters(&world).await[0].sequence, 1);
}

#[tokio::test]
async fn request_whose_function_panics_when_it_is_dropped_at_the_deadline_is_answered() {
    let world = World::new().await;
    let slow = || async {
        let _guard = Guard;
        std::future::pending::<()>().await;
    };
    let endpoint = natsfn::Endpoint::new("slow", "slow").deadline(Duration::from_millis(50));
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, slow))
        .await;

    assert_eq!(code(&world.ask("slow", "").await), Some(500));
}

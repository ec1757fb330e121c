//! `Consumer::max_in_flight_by`: a key that hangs takes no more than its own places.

use std::sync::Arc;
use std::time::Duration;

use natsfn::{Batch, Consumer, Error, Json, Message, Outcomes, Result, Retry, Service};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::watch;

use crate::log::{consumer, letters};
use crate::world::{GUARD, World, function, next, state, until};

/// Numbers from here on never hang.
const GOOD: u64 = 1000;

/// A function in which small numbers hang until it is released, and what it saw.
struct Hanging {
    released: watch::Sender<bool>,
    /// How many hang now, and most at once.
    hang: Arc<Mutex<(usize, usize)>>,
    done: UnboundedReceiver<u64>,
}

fn hanging(consumer: Consumer) -> (impl Fn() -> Service, Hanging) {
    let (seen, done) = mpsc::unbounded_channel();
    let (released, release) = watch::channel(false);
    let hang = Arc::new(Mutex::new((0, 0)));
    let counted = hang.clone();
    let service = move || {
        let (seen, release, hang) = (seen.clone(), release.clone(), hang.clone());
        let handle = move |Json(n): Json<u64>| {
            let (seen, mut release, hang) = (seen.clone(), release.clone(), hang.clone());
            async move {
                if n < GOOD {
                    begin(&hang);
                    let _ = release.wait_for(|released| *released).await;
                    hang.lock().0 -= 1;
                }
                let _ = seen.send(n);
            }
        };
        Service::new("a", "1.0.0").consumer(consumer.clone(), handle)
    };
    let hanging = Hanging {
        released,
        hang: counted,
        done,
    };
    (service, hanging)
}

fn subject(message: &Message) -> Result<String> {
    Ok(message.subject().to_owned())
}

fn begin(hang: &Mutex<(usize, usize)>) {
    let mut now = hang.lock();
    now.0 += 1;
    now.1 = now.1.max(now.0);
}

/// Sixteen places, and so many of each subject.
fn limited(n: usize) -> Consumer {
    consumer().max_in_flight(16).max_in_flight_by(n, subject)
}

async fn store(world: &World, subject: &str, numbers: impl IntoIterator<Item = u64>) {
    let payloads = numbers.into_iter().map(|n| n.to_string());
    world.store(subject, payloads).await;
}

/// How often the server has delivered the consumer's messages again.
async fn redelivered(world: &World) -> u64 {
    let info = world.consumer("LOG", "store").await;
    info["delivered"]["consumer_seq"].as_u64().unwrap()
        - info["delivered"]["stream_seq"].as_u64().unwrap()
}

#[tokio::test]
async fn key_that_hangs_leaves_places_to_the_others_and_its_messages_wait() {
    let world = World::new().await;
    let (service, mut hanging) = hanging(limited(2));
    world.set_up(service()).await;
    store(&world, "log.hangs", 0..40).await;
    store(&world, "log.good", GOOD..GOOD + 40).await;
    let running = world.serve(service()).await;

    let mut good = Vec::new();
    while good.len() < 40 {
        good.push(next(&mut hanging.done).await);
    }
    good.sort_unstable();
    assert!(good.iter().copied().eq(GOOD..GOOD + 40), "{good:?}");
    until("two hang", async || {
        (hanging.hang.lock().0 == 2).then_some(())
    })
    .await;
    assert_eq!(state(&running, 0), "running");

    hanging.released.send_replace(true);
    let mut done = Vec::new();
    while done.len() < 40 {
        done.push(next(&mut hanging.done).await);
    }
    world.settled("LOG", "store", 80).await;
    assert_eq!(hanging.hang.lock().1, 2, "more than the places of one key");
    done.sort_unstable();
    assert!(done.iter().copied().eq(0..40), "{done:?}");
    assert_eq!(redelivered(&world).await, 0);
    assert!(letters(&world).await.is_empty());
}

#[tokio::test]
async fn more_than_may_wait_come_again_and_are_done_once() {
    const MANY: u64 = 1100;
    let world = World::new().await;
    let (service, mut hanging) = hanging(limited(8));
    let numbers = (0..MANY).map(|n| n % GOOD);
    world.set_up(service()).await;
    store(&world, "log.hangs", numbers).await;
    let running = world.serve(service()).await;
    until("all are here, and some are given back", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_ack_pending"] == MANY).then_some(())
    })
    .await;
    store(&world, "log.good", [GOOD]).await;
    assert_eq!(next(&mut hanging.done).await, GOOD);

    hanging.released.send_replace(true);
    world.settled("LOG", "store", MANY + 1).await;
    assert_eq!(hanging.hang.lock().1, 8, "more than the places of one key");
    for _ in 0..MANY {
        next(&mut hanging.done).await;
    }
    assert!(hanging.done.is_empty(), "one was done twice");
    assert!(redelivered(&world).await > 0, "all could wait");
    assert_eq!(function(&running, 0)["num_errors"], 0);
}

#[tokio::test]
async fn what_waits_at_a_stop_is_done_by_another_instance() {
    let world = World::new().await;
    let (service, mut hanging) = hanging(limited(2));
    world.set_up(service()).await;
    store(&world, "log.hangs", 0..40).await;
    let running = world.serve(service()).await;
    until("two hang and the others wait", async || {
        let data = &function(&running, 0)["data"];
        (hanging.hang.lock().0 == 2 && data["ack_pending"] == 40).then_some(())
    })
    .await;

    tokio::join!(running.stop(GUARD), async {
        hanging.released.send_replace(true);
    });
    let _another = world.serve(service()).await;

    let mut done = Vec::new();
    while done.len() < 40 {
        done.push(next(&mut hanging.done).await);
    }
    done.sort_unstable();
    assert!(done.iter().copied().eq(0..40), "{done:?}");
    world.settled("LOG", "store", 40).await;
}

#[tokio::test]
async fn place_is_given_back_whatever_the_function_does() {
    let world = World::new().await;
    let (seen, mut done) = mpsc::unbounded_channel();
    let retry = Retry::fixed(Duration::from_millis(10)).attempts(2);
    let consumer = consumer()
        .max_in_flight_by(1, subject)
        .deadline(Duration::from_millis(100))
        .retry(retry);
    let service = || {
        let seen = seen.clone();
        Service::new("a", "1.0.0").consumer(consumer.clone(), move |Json(n): Json<u64>| {
            let seen = seen.clone();
            async move {
                match n {
                    1 => return Err(Error::bad_request("no")),
                    2 => return Err(Error::internal("down").retry_later()),
                    3 => panic!("a fault"),
                    4 => std::future::pending().await,
                    _ => {}
                }
                let _ = seen.send(n);
                Ok(())
            }
        })
    };
    world.set_up(service()).await;
    store(&world, "log.a", 1..=5).await;
    let _running = world.serve(service()).await;

    assert_eq!(next(&mut done).await, 5);
}

#[tokio::test]
async fn message_whose_key_cannot_be_told_is_a_dead_letter() {
    let world = World::new().await;
    let (seen, mut done) = mpsc::unbounded_channel();
    let key = |message: &Message| match message.payload().as_ref() {
        b"1" => Err(Error::bad_request("it has no customer")),
        b"2" => panic!("a fault in the key"),
        _ => Ok(String::new()),
    };
    let service = || {
        let seen = seen.clone();
        let consumer = consumer().max_in_flight_by(1, key);
        Service::new("a", "1.0.0").consumer(consumer, move |Json(n): Json<u64>| {
            let _ = seen.send(n);
            async {}
        })
    };
    world.set_up(service()).await;
    store(&world, "log.a", 1..=3).await;
    let _running = world.serve(service()).await;

    assert_eq!(next(&mut done).await, 3);
    until("both are dead letters", async || {
        (letters(&world).await.len() == 2).then_some(())
    })
    .await;
    let mut reasons: Vec<_> = letters(&world)
        .await
        .into_iter()
        .map(|it| it.reason)
        .collect();
    reasons.sort();
    assert!(reasons[0].contains("it has no customer"), "{reasons:?}");
    assert!(
        reasons[1].contains("panicked: a fault in the key"),
        "{reasons:?}"
    );
}

#[test]
fn limit_of_nothing_and_limit_of_batches_are_mistakes() {
    let none = consumer().max_in_flight_by(0, subject);
    let service = Service::new("a", "1.0.0").consumer(none, async |Json(_): Json<u64>| {});
    let problem = service.build().err().unwrap().to_string();
    assert!(
        problem.contains("max_in_flight_by must be at least 1"),
        "{problem}"
    );

    let takes_batch = async |_: Batch<u64>| Outcomes::new();
    let service = Service::new("a", "1.0.0").consumer(limited(2), takes_batch);
    let problem = service.build().err().unwrap().to_string();
    assert!(
        problem.contains("is for functions of single messages"),
        "{problem}"
    );
}

//! `Consumer::max_in_flight_by`: a key that hangs takes no more than its own places.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use natsfn::{Batch, Consumer, Error, Json, Message, Outcomes, Result, Retry, Service};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::watch;

use crate::log::{consumer, deliver_all_in_vain, letters};
use crate::world::{World, next, state, until};

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

/// Eight places, two of each subject.
fn limited() -> Consumer {
    consumer().max_in_flight(8).max_in_flight_by(2, subject)
}

async fn store(world: &World, subject: &str, numbers: impl IntoIterator<Item = u64>) {
    let payloads = numbers.into_iter().map(|n| n.to_string());
    world.store(subject, payloads).await;
}

#[tokio::test]
async fn key_that_hangs_leaves_places_to_the_others_and_is_done_without_an_attempt_too_many() {
    let world = World::new().await;
    let (service, mut hanging) = hanging(limited());
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
    let mut times = BTreeMap::<u64, u32>::new();
    while times.len() < 40 {
        *times.entry(next(&mut hanging.done).await).or_default() += 1;
    }
    world.settled("LOG", "store", 80).await;
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert_eq!(hanging.hang.lock().1, 2, "more than the places of one key");
    assert_eq!(running.stats()["endpoints"][0]["num_errors"], 0);
    assert!(letters(&world).await.is_empty());
}

#[tokio::test]
async fn key_has_no_more_places_for_what_an_earlier_process_left() {
    let world = World::new().await;
    let (service, mut hanging) = hanging(limited());
    world.set_up(service()).await;
    store(&world, "log.hangs", 0..20).await;
    // So often that each may be what ends the process.
    deliver_all_in_vain(&world, 20, 11).await;
    let _running = world.serve(service()).await;

    until("one hangs", async || {
        (hanging.hang.lock().0 == 1).then_some(())
    })
    .await;
    store(&world, "log.good", [GOOD]).await;
    assert_eq!(next(&mut hanging.done).await, GOOD);
    hanging.released.send_replace(true);

    world.settled("LOG", "store", 21).await;
    assert!(hanging.hang.lock().1 <= 2);
}

#[tokio::test]
async fn message_whose_key_cannot_be_told_fails_alone() {
    let world = World::new().await;
    let (seen, mut done) = mpsc::unbounded_channel();
    let key = |message: &Message| match message.payload().as_ref() {
        b"1" => Err(Error::bad_request("it has no customer")),
        b"2" => panic!("a fault in the key"),
        _ => Ok(String::new()),
    };
    let retry = Retry::fixed(Duration::from_millis(10)).attempts(2);
    let service = || {
        let seen = seen.clone();
        let consumer = consumer().max_in_flight_by(1, key).retry(retry);
        Service::new("a", "1.0.0").consumer(consumer, move |Json(n): Json<u64>| {
            let _ = seen.send(n);
            async {}
        })
    };
    world.set_up(service()).await;
    store(&world, "log.a", 1..=3).await;
    let _running = world.serve(service()).await;

    assert_eq!(next(&mut done).await, 3);
    // A failure counts where others succeed.
    let dead = async {
        until("both are dead letters", async || {
            store(&world, "log.a", [4]).await;
            (letters(&world).await.len() == 2).then_some(())
        })
        .await;
    };
    dead.await;
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
    let service = Service::new("a", "1.0.0").consumer(limited(), takes_batch);
    let problem = service.build().err().unwrap().to_string();
    assert!(
        problem.contains("is for functions of single messages"),
        "{problem}"
    );
}

//! Messages that take all their time, or are refused each time: they are tried beside the others, and
//! not for ever.

use std::time::{Duration, Instant};

use natsfn::{Batch, Error, Kind, Outcomes, Service};
use serde_json::json;
use tokio::sync::mpsc;

use crate::log::{attempts, consumer, letters};
use crate::world::{World, next};

/// What the function has seen.
enum Sighting {
    SlowBegins,
    SlowEnds,
    Good(u64),
}

/// Sends `SlowEnds` when it is dropped, as the future of a call is that did not finish in time.
struct Ends(mpsc::UnboundedSender<Sighting>);

impl Drop for Ends {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.0.send(Sighting::SlowEnds);
    }
}

#[tokio::test]
async fn message_that_never_finishes_keeps_no_other_waiting_and_is_a_dead_letter_in_the_end() {
    let deadline = Duration::from_millis(1500);
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            for n in batch.iter().filter(|n| ***n != 0) {
                seen.send(Sighting::Good(**n)).unwrap();
            }
            let slow = batch.iter().any(|n| **n == 0).then(|| {
                seen.send(Sighting::SlowBegins).unwrap();
                Ends(seen.clone())
            });
            async move {
                if slow.is_some() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let consumer = consumer().retry(attempts(1)).deadline(deadline);
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    world.store("log.a", ["0".to_owned()]).await;

    // The first try stands in the others' way: nobody can know. From the second on it does not.
    while !matches!(next(&mut sightings).await, Sighting::SlowEnds) {}
    let mut n = 0;
    let (mut tries, mut beside) = (Vec::new(), None);
    while letters(&world).await.is_empty() {
        n += 1;
        world.store("log.a", [n.to_string()]).await;
        loop {
            match next(&mut sightings).await {
                Sighting::SlowBegins => beside = Some(0),
                Sighting::SlowEnds => tries.extend(beside.take()),
                Sighting::Good(good) => {
                    beside = beside.map(|beside| beside + 1);
                    if good == n {
                        break;
                    }
                }
            }
        }
    }

    println!("good ones beside each further try: {tries:?}");
    assert!(!tries.is_empty() && tries.iter().all(|beside| *beside > 0));
    let letters = letters(&world).await;
    assert_eq!(
        (letters[0].sequence, letters[0].kind.as_str()),
        (1, "Timeout")
    );
    assert_eq!(letters[0].reason, "not finished after 1.5s");
    world.settled("LOG", "store", n + 1).await;
}

#[tokio::test]
async fn message_that_is_always_refused_with_429_is_a_dead_letter_after_its_time() {
    let time = Duration::from_secs(2);
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            let mut outcomes = Outcomes::new();
            for item in batch.iter().filter(|item| ***item == 0) {
                seen.send(Instant::now()).unwrap();
                let error = Error::new(Kind::TooManyRequests, "slow down")
                    .with_details(json!({ "retry_after_ms": 1200 }));
                outcomes.fail(item.message(), error);
            }
            async { outcomes }
        };
        let consumer = consumer().retry(attempts(1).within(time));
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    world.store("log.a", ["0", "1"].map(str::to_owned)).await;
    let _running = world.serve(service()).await;

    world.settled("LOG", "store", 2).await;

    let first = next(&mut sightings).await;
    let second = next(&mut sightings).await;
    assert!(second - first >= Duration::from_millis(1200), "as it says");
    let letters = letters(&world).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].kind, "TooManyRequests");
    let reason = &letters[0].reason;
    assert!(
        reason.starts_with("slow down (given up after 3 tries"),
        "{reason}"
    );
}

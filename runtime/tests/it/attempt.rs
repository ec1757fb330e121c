//! Attempts: what counts as one, who runs alone, and when a message is tried again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use natsfn::{Batch, Error, Kind, Outcomes, Service};
use tokio::sync::{mpsc, watch};

use crate::log::{Calls, attempts, consumer, deliver_in_vain, letters, numbers};
use crate::world::{World, function, next, state, until};

/// A failure is an attempt where others succeed: stores good messages until there is a dead letter.
/// Returns the last sequence.
async fn good_ones_until_one_is_given_up(world: &World) -> u64 {
    let mut n = 3;
    until("it is given up", async || {
        n += 1;
        world.store("log.a", [n.to_string()]).await;
        (letters(world).await.len() == 1).then_some(())
    })
    .await;
    n
}

#[tokio::test]
async fn an_internal_failure_is_tried_again_until_its_attempts_are_used_up() {
    let world = World::new().await;
    let calls = Calls::default();
    let good = watch::channel(0_u64).0;
    let service = || {
        let (calls, good) = (calls.clone(), good.clone());
        let store = move |batch: Batch<u64>| {
            calls.count(&batch);
            let bad = batch.iter().any(|n| **n == 2);
            good.send_modify(|good| *good += u64::from(!bad));
            let (alone, mut good) = (batch.len() == 1, good.subscribe());
            async move {
                if bad && alone {
                    // Each try is an attempt: others succeed beside it. One has, once the next begins.
                    let two_more = *good.borrow() + 2;
                    let _ = good.wait_for(|good| *good >= two_more).await;
                }
                if bad {
                    Err(Error::internal("cannot"))
                } else {
                    Ok(())
                }
            }
        };
        let consumer = consumer().retry(attempts(3)).max_in_flight(2);
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(3)).await;
    let _running = world.serve(service()).await;
    let n = good_ones_until_one_is_given_up(&world).await;
    world.settled("LOG", "store", n).await;

    let letters = letters(&world).await;
    let letter = &letters[0];
    assert_eq!(
        (letter.sequence, letter.attempts, letter.kind.as_str()),
        (2, 3, "Internal")
    );
    assert_eq!(letter.reason, "cannot");
    assert_eq!(calls.of(2).1, 3, "an attempt is a failure alone");
}

#[tokio::test]
async fn a_panic_is_an_attempt_and_the_others_are_done() {
    let world = World::new().await;
    let service = || {
        let store = |batch: Batch<u64>| async move {
            assert!(batch.iter().all(|n| **n != 2), "two is too much");
        };
        Service::new("a", "1.0.0").consumer(consumer().retry(attempts(2)), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(3)).await;
    let running = world.serve(service()).await;
    let n = good_ones_until_one_is_given_up(&world).await;
    world.settled("LOG", "store", n).await;

    let letters = letters(&world).await;
    assert_eq!((letters[0].sequence, letters[0].attempts), (2, 2));
    assert!(
        letters[0].reason.contains("two is too much"),
        "{}",
        letters[0].reason
    );
    assert_eq!(state(&running, 0), "running");
}

#[tokio::test]
async fn a_redelivery_burns_no_attempt() {
    let world = World::new().await;
    let calls = Calls::default();
    let service = || {
        let calls = calls.clone();
        let store = move |batch: Batch<u64>| {
            calls.count(&batch);
            let delivered = batch[0].message().delivered();
            async move {
                if delivered < 4 {
                    Err(Error::internal("not yet"))
                } else {
                    Ok(())
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer().retry(attempts(2)), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    deliver_in_vain(&world, 2).await;

    // The third delivery is the first attempt, the fourth succeeds.
    let _running = world.serve(service()).await;
    world.settled("LOG", "store", 1).await;

    assert_eq!(calls.of(1), (2, 2));
    assert!(letters(&world).await.is_empty());
}

#[tokio::test]
async fn a_message_delivered_over_10_times_runs_alone() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            for item in &batch {
                seen.send((item.seq(), item.message().delivered(), batch.len()))
                    .unwrap();
            }
            async {}
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    deliver_in_vain(&world, 11).await;
    world.store("log.a", numbers(20)).await;
    let _running = world.serve(service()).await;
    world.settled("LOG", "store", 21).await;

    let mut sizes = BTreeMap::new();
    while let Ok((seq, delivered, size)) = sightings.try_recv() {
        assert!(
            sizes.insert(seq, (delivered, size)).is_none(),
            "{seq} twice"
        );
    }
    assert_eq!(sizes[&1], (12, 1));
    assert_eq!(sizes.len(), 21);
}

#[tokio::test]
async fn outcomes_name_the_messages_that_failed() {
    let world = World::new().await;
    let calls = Calls::default();
    let service = || {
        let calls = calls.clone();
        let store = move |batch: Batch<u64>| {
            calls.count(&batch);
            let mut outcomes = Outcomes::new();
            for item in &batch {
                let first = item.message().delivered() == 1;
                match item.seq() {
                    2 => outcomes.fail(item.message(), Error::new(Kind::Conflict, "two is taken")),
                    4 if first => outcomes.fail(item.message(), Error::internal("later")),
                    _ => {}
                }
            }
            async { outcomes }
        };
        Service::new("a", "1.0.0").consumer(consumer().retry(attempts(2)), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(5)).await;
    let _running = world.serve(service()).await;
    world.settled("LOG", "store", 5).await;

    let letters = letters(&world).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].sequence, letters[0].kind.as_str()),
        (2, "Conflict")
    );
    for seq in [1, 2, 3, 5] {
        assert_eq!(calls.of(seq).0, 1, "{seq}");
    }
    assert_eq!(calls.of(4).0, 2);
}

#[tokio::test]
async fn what_timed_out_together_runs_alone_and_burns_no_attempt() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            let sizes: Vec<_> = batch.iter().map(|item| (item.seq(), batch.len())).collect();
            let hangs = batch.iter().any(|item| item.message().delivered() == 1);
            for size in sizes {
                seen.send((hangs, size)).unwrap();
            }
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
            }
        };
        let consumer = consumer()
            .retry(attempts(1))
            .deadline(Duration::from_millis(100));
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(5)).await;
    let running = world.serve(service()).await;
    world.settled("LOG", "store", 5).await;

    let mut done = BTreeMap::new();
    while let Ok((hung, (seq, size))) = sightings.try_recv() {
        if !hung {
            assert!(done.insert(seq, size).is_none(), "{seq} twice");
        }
    }
    assert_eq!(done, (1..=5).map(|seq| (seq, 1)).collect());
    assert!(letters(&world).await.is_empty());
    assert_eq!(function(&running, 0)["last_error"], "504:try again");
}

#[tokio::test]
async fn too_many_requests_is_tried_again_and_burns_no_attempt() {
    let world = World::new().await;
    let calls = Calls::default();
    let service = || {
        let calls = calls.clone();
        let store = move |batch: Batch<u64>| {
            calls.count(&batch);
            let early = batch[0].message().delivered() < 3;
            async move {
                if early {
                    Err(Error::new(Kind::TooManyRequests, "slow down"))
                } else {
                    Ok(())
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer().retry(attempts(1)), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    let _running = world.serve(service()).await;
    world.settled("LOG", "store", 1).await;

    assert_eq!(calls.of(1).0, 3);
    assert!(letters(&world).await.is_empty());
}

#[tokio::test]
async fn what_failed_is_not_tried_again_at_once() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            seen.send(Instant::now()).unwrap();
            let first = batch[0].message().delivered() == 1;
            async move {
                if first {
                    Err(Error::internal("not yet"))
                } else {
                    Ok(())
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    let _running = world.serve(service()).await;

    let first = next(&mut sightings).await;
    let pause = next(&mut sightings).await - first;

    assert!(pause >= Duration::from_millis(375), "{pause:?}");
}

//! Errors that concern their message alone: it comes again with growing pauses and is given up in time, also
//! while no other message succeeds; the function goes on.

use std::time::Duration;

use natsfn::{Batch, Consumer, Error, Json, Kind, Outcomes, Result, Retry, Service};
use tokio::sync::mpsc::{self, UnboundedSender};

use crate::log::{consumer, deliver_all_in_vain, letters};
use crate::retry::{called_with, delay, is_about, naks};
use crate::world::{World, next, state, until};

const MINUTE: Duration = Duration::from_secs(60);

type Fault = fn() -> Error;

const FAULTS: [Fault; 7] = [
    || Error::internal("refused").retry_later(),
    || Error::unavailable("away").retry_later(),
    || Error::new(Kind::Conflict, "not yet").retry_later(),
    || Error::new(Kind::TooManyRequests, "slow down").retry_later(),
    || Error::unavailable("away").retry_in(Duration::ZERO),
    || Error::internal("refused").retry_in(Duration::ZERO),
    || Error::new(Kind::Timeout, "late").retry_in(Duration::ZERO),
];

/// What becomes of a number: those below the number of faults are bad.
fn handle(n: u64, faults: &[Fault]) -> Result<()> {
    match faults.get(usize::try_from(n).unwrap()) {
        Some(fault) => Err(fault()),
        None => Ok(()),
    }
}

#[derive(Clone, Copy, Debug)]
enum Takes {
    Single,
    /// A batch whose bad messages it names.
    Named,
    /// A batch that fails as a whole.
    Whole,
}

const EACH: [Takes; 3] = [Takes::Single, Takes::Named, Takes::Whole];

/// A function that tells which numbers it was called with.
fn service(
    takes: Takes,
    consumer: Consumer,
    faults: &'static [Fault],
    seen: &UnboundedSender<u64>,
) -> Service {
    let seen = seen.clone();
    let service = Service::new("a", "1.0.0");
    match takes {
        Takes::Single => service.consumer(consumer, move |Json(n): Json<u64>| {
            let _ = seen.send(n);
            async move { handle(n, faults) }
        }),
        Takes::Named | Takes::Whole => service.consumer(consumer, move |batch: Batch<u64>| {
            let mut outcomes = Outcomes::new();
            let mut all = Ok(());
            for item in &batch {
                let _ = seen.send(**item);
                match (takes, handle(**item, faults)) {
                    (Takes::Named, Err(error)) => outcomes.fail(item.message(), error),
                    (_, handled) => all = all.and(handled),
                }
            }
            async move { all.map(|()| outcomes) }
        }),
    }
}

/// Numbers in a stream.
async fn store(world: &World, numbers: impl IntoIterator<Item = u64>) {
    let payloads = numbers.into_iter().map(|n| n.to_string());
    world.store("log.a", payloads).await;
}

async fn dead(world: &World, n: usize) {
    until("all are dead letters", async || {
        (letters(world).await.len() == n).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_is_a_dead_letter_in_time_while_nothing_succeeds() {
    for takes in EACH {
        let world = World::new().await;
        let (seen, _sightings) = mpsc::unbounded_channel();
        let retry = Retry::fixed(Duration::from_millis(10)).within(Duration::from_millis(500));
        let service = || service(takes, consumer().retry(retry), &FAULTS, &seen);
        world.set_up(service()).await;
        store(&world, 0..FAULTS.len() as u64).await;
        let running = world.serve(service()).await;

        dead(&world, FAULTS.len()).await;

        for letter in letters(&world).await {
            let reason = &letter.reason;
            assert!(reason.contains("given up after"), "{takes:?}: {reason}");
        }
        assert_eq!(state(&running, 0), "running", "{takes:?}");
    }
}

#[tokio::test]
async fn attempts_are_counted_while_nothing_succeeds() {
    const LATER: &[Fault] = FAULTS.split_at(3).0;
    for takes in EACH {
        let world = World::new().await;
        let (seen, _sightings) = mpsc::unbounded_channel();
        let retry = Retry::fixed(Duration::from_millis(10)).attempts(3);
        let service = || service(takes, consumer().retry(retry), LATER, &seen);
        world.set_up(service()).await;
        store(&world, 0..3).await;
        let _running = world.serve(service()).await;

        dead(&world, 3).await;

        for letter in letters(&world).await {
            assert_eq!(letter.attempts, 3, "{takes:?}: {}", letter.reason);
        }
    }
}

#[tokio::test]
async fn pauses_grow_and_others_go_on_while_nothing_succeeds() {
    const LATER: &[Fault] = FAULTS.split_at(3).0;
    for takes in EACH {
        let world = World::new().await;
        let (seen, mut sightings) = mpsc::unbounded_channel();
        let retry =
            Retry::exponential(Duration::from_secs(1)..=15 * MINUTE).within(24 * 60 * MINUTE);
        let service = || service(takes, consumer().retry(retry), LATER, &seen);
        world.set_up(service()).await;
        store(&world, 0..3).await;
        // Eight deliveries of each to processes that are gone.
        deliver_all_in_vain(&world, 3, 8).await;
        let mut naks = naks(&world).await;
        let running = world.serve(service()).await;
        for _ in 0..3 {
            is_about(delay(&mut naks).await, Duration::from_secs(256));
        }

        // Good ones behind bad ones, in one batch where it takes batches.
        store(&world, [0, 1, 2, 8, 0, 9]).await;

        called_with(8, &mut sightings).await;
        called_with(9, &mut sightings).await;
        until("the bad ones alone wait", async || {
            let info = world.consumer("LOG", "store").await;
            (info["num_ack_pending"] == 7 && info["num_pending"] == 0).then_some(())
        })
        .await;
        assert_eq!(state(&running, 0), "running", "{takes:?}");
        assert!(letters(&world).await.is_empty());
    }
}

#[tokio::test]
async fn time_goes_on_in_another_process_which_took_over_ten_deliveries() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let retry = Retry::fixed(Duration::from_millis(10)).within(Duration::from_secs(2));
    let service = || service(Takes::Single, consumer().retry(retry), &FAULTS, &seen);
    world.set_up(service()).await;
    store(&world, 0..3).await;
    deliver_all_in_vain(&world, 3, 12).await;
    let running = world.serve(service()).await;
    next(&mut sightings).await;
    running.stop(Duration::from_secs(5)).await;

    let _running = world.serve(service()).await;

    dead(&world, 3).await;
}

/// The transaction is rolled back, and what it wrote is not there.
#[cfg(feature = "sea-orm")]
#[tokio::test]
async fn each_is_a_dead_letter_in_time_where_its_transaction_is_rolled_back() {
    use natsfn::{Stream, Tx, setup};
    use sea_orm::ConnectionTrait;

    use crate::database::Database;
    use crate::sql::{Migrator, ROWS};

    let store_number = |tx: Tx, Json(n): Json<u64>| async move {
        let insert = format!("INSERT INTO numbers (number) VALUES ({n})");
        tx.execute_unprepared(&insert).await?;
        handle(n, &FAULTS)
    };
    for database in Database::each().await {
        let world = World::new().await;
        let definition = || {
            let retry = Retry::fixed(Duration::from_millis(10)).within(Duration::from_millis(500));
            let consumer = Consumer::new("store", Stream::new("LOG", ["log.>"])).retry(retry);
            let service = Service::new("a", "1.0.0").database::<Migrator>();
            service.consumer(consumer, store_number).build().unwrap()
        };
        let url = Some(&*database.url);
        setup::setup(&definition(), &world.nats, url).await.unwrap();
        store(&world, 0..FAULTS.len() as u64).await;
        let nats = world.connect().await;
        let _running = natsfn::start(definition(), nats, url).await.unwrap();

        dead(&world, FAULTS.len()).await;

        assert_eq!(database.number(ROWS).await, 0);
        store(&world, [9]).await;
        until("the good one is there", async || {
            (database.number(ROWS).await == 1).then_some(())
        })
        .await;
    }
}

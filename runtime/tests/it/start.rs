//! Where a consumer begins, and where it goes on after it was deleted.

use std::time::Duration;

use natsfn::setup::{self, Options};
use natsfn::{Batch, Consumer, Service, Start};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::log::consumer;
use crate::world::{World, function, next, state, until};

fn service(consumer: Consumer, seen: &UnboundedSender<u64>) -> Service {
    let seen = seen.clone();
    let store = move |batch: Batch<u64>| {
        for item in &batch {
            seen.send(**item).unwrap();
        }
        async {}
    };
    Service::new("a", "1.0.0").consumer(consumer, store)
}

/// Stores the numbers of a range.
async fn store(world: &World, range: std::ops::RangeInclusive<u64>) {
    world.store("log.a", range.map(|n| n.to_string())).await;
}

/// What the function was called with up to a number.
async fn up_to(n: u64, seen: &mut UnboundedReceiver<u64>) -> Vec<u64> {
    let mut all = Vec::new();
    while all.last() != Some(&n) {
        all.push(next(seen).await);
    }
    all
}

/// The stream is there, with three messages, before the function.
async fn with_history(seen: &UnboundedSender<u64>) -> World {
    let world = World::new().await;
    world.set_up(service(consumer(), seen)).await;
    delete(&world).await;
    store(&world, 1..=3).await;
    world
}

async fn delete(world: &World) {
    let deleted = world.api("CONSUMER.DELETE.LOG.a-store", &Value::Null).await;
    assert_eq!(deleted["success"], true, "{deleted}");
}

async fn lines(world: &World, service: Service, options: Options) -> String {
    let service = service.build().unwrap();
    let lines = setup::setup_with(&service, &world.nats, None, &options).await;
    lines.unwrap().join("\n")
}

#[tokio::test]
async fn new_consumer_gets_what_is_stored_once_setup_has_made_it() {
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let world = with_history(&seen).await;
    let service = || service(consumer().start(Start::New), &seen);

    let plan = lines(&world, service(), Options::default().only_plan()).await;
    assert!(
        plan.contains(
            "consumer a-store of LOG: is made, and begins with what is stored from then on"
        ),
        "{plan}"
    );
    world.set_up(service()).await;
    // Before the function has ever run.
    store(&world, 4..=5).await;
    let _running = world.serve(service()).await;

    assert_eq!(up_to(5, &mut sightings).await, [4, 5]);
    world.settled("LOG", "store", 5).await;
}

#[tokio::test]
async fn consumer_begins_at_the_time_that_its_definition_says() {
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let world = with_history(&seen).await;
    let third = world.api("STREAM.MSG.GET.LOG", &json!({ "seq": 3 })).await;
    let time = natsfn_time(&third["message"]["time"]);
    let service = || service(consumer().start(Start::Since(time)), &seen);

    world.set_up(service()).await;
    // The same definition once more has nothing to say.
    let plan = lines(&world, service(), Options::default().only_plan()).await;
    assert!(
        plan.ends_with("consumer a-store of LOG: stays as it is"),
        "{plan}"
    );
    store(&world, 4..=4).await;
    let _running = world.serve(service()).await;

    assert_eq!(up_to(4, &mut sightings).await, [3, 4]);
}

fn natsfn_time(text: &Value) -> std::time::SystemTime {
    let time = time::OffsetDateTime::parse(
        text.as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    );
    time.unwrap().into()
}

#[tokio::test]
async fn consumer_that_is_deleted_while_the_function_runs_goes_on_where_it_was() {
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let world = with_history(&seen).await;
    let service = || service(consumer().start(Start::New), &seen);
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    store(&world, 4..=5).await;
    up_to(5, &mut sightings).await;
    world.settled("LOG", "store", 5).await;

    delete(&world).await;
    store(&world, 6..=9).await;

    let again = up_to(9, &mut sightings).await;
    assert!(
        again.ends_with(&[6, 7, 8, 9]) && again.iter().all(|n| *n >= 4),
        "{again:?}"
    );
    world.settled("LOG", "store", 9).await;
    let info = world.consumer("LOG", "store").await;
    assert_eq!(info["config"]["deliver_policy"], "by_start_sequence");
    // It is still the consumer of this definition.
    let plan = lines(&world, service(), Options::default().only_plan()).await;
    assert!(
        plan.ends_with("consumer a-store of LOG: stays as it is"),
        "{plan}"
    );
}

#[tokio::test]
async fn stream_that_is_made_again_is_new_from_its_first_message_on() {
    for is_consumer_deleted_first in [false, true] {
        let (seen, mut sightings) = mpsc::unbounded_channel();
        let world = with_history(&seen).await;
        let service = || service(consumer().start(Start::New), &seen);
        world.set_up(service()).await;
        let running = world.serve(service()).await;
        store(&world, 4..=4).await;
        up_to(4, &mut sightings).await;

        let mut config = world.api("STREAM.INFO.LOG", &Value::Null).await["config"].clone();
        if is_consumer_deleted_first {
            delete(&world).await;
            until("it is looked for", async || {
                let reasons = running.readiness().not_ready().await;
                let reasons = format!("{reasons:?}");
                reasons.contains("is being looked for").then_some(())
            })
            .await;
        }
        world.api("STREAM.DELETE.LOG", &Value::Null).await;
        config.as_object_mut().unwrap().remove("created");
        let made = world.api("STREAM.CREATE.LOG", &config).await;
        assert!(made["error"].is_null(), "{made}");
        store(&world, 10..=12).await;

        assert_eq!(up_to(12, &mut sightings).await, [10, 11, 12]);
    }
}

#[tokio::test]
async fn function_that_finds_no_consumer_and_knows_of_none_waits_for_setup() {
    for (start, handled) in [(Start::New, vec![6]), (Start::All, vec![1, 2, 3, 4, 5, 6])] {
        let (seen, mut sightings) = mpsc::unbounded_channel();
        let world = with_history(&seen).await;
        let service = || service(consumer().start(start), &seen);
        world.set_up(service()).await;
        delete(&world).await;
        store(&world, 4..=5).await;

        let running = world.serve(service()).await;
        if start == Start::New {
            let reason = until("it holds", async || {
                let data = function(&running, 0)["data"].clone();
                let reason = data["reason"].as_str()?.to_owned();
                (data["state"] == "holding").then_some(reason)
            })
            .await;
            assert!(
                reason.contains("a-store") && reason.contains("`a setup`"),
                "{reason}"
            );
            world.set_up(service()).await;
        }
        until("it is at work", async || {
            (state(&running, 0) == "running").then_some(())
        })
        .await;
        store(&world, 6..=6).await;

        assert_eq!(up_to(6, &mut sightings).await, handled);
    }
}

#[tokio::test]
async fn setup_says_that_a_consumer_keeps_its_place_where_the_definition_says_another_start() {
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let world = with_history(&seen).await;
    world.set_up(service(consumer(), &seen)).await;
    let service = || service(consumer().start(Start::New), &seen);

    for options in [Options::default().only_plan(), Options::default()] {
        let told = lines(&world, service(), options).await;
        let line = told.lines().find(|line| line.contains("keeps its place"));
        let line = line.unwrap_or_else(|| panic!("{told}"));
        for part in [
            "consumer a-store of LOG",
            "behind message 0",
            "began with the stream's first message",
            "the definition says what is stored from then on",
            "nats consumer rm LOG a-store",
        ] {
            assert!(line.contains(part), "{line}");
        }
    }
    let _running = world.serve(service()).await;
    assert_eq!(
        up_to(3, &mut sightings).await,
        [1, 2, 3],
        "nothing is skipped"
    );
}

#[tokio::test]
async fn floor_and_start_are_a_mistake_together() {
    let (seen, _sightings) = mpsc::unbounded_channel();
    let consumer = consumer().natural_key().start(Start::New);
    let service = service(consumer.floor(|_, _| async { Ok(0) }), &seen);
    let error = service.build().err().unwrap().to_string();
    assert!(error.contains("remove .start(..)"), "{error}");
}

#[cfg(feature = "sea-orm")]
#[tokio::test]
async fn inbox_knows_where_a_consumer_was_that_is_gone_when_the_function_starts() {
    use crate::database::Database;
    use crate::sql::{ROWS, service_from};

    for database in Database::each().await {
        let world = World::new().await;
        let service = || service_from(Start::New);
        let set_up = async || {
            let service = service().build().unwrap();
            let url = Some(&*database.url);
            setup::setup(&service, &world.nats, url).await.unwrap();
        };
        let serve = async || {
            let service = service().build().unwrap();
            let nats = world.connect().await;
            natsfn::start(service, nats, Some(&database.url))
                .await
                .unwrap()
        };
        let has_rows = async |n: i64| {
            until("the rows are there", async || {
                (database.number(ROWS).await >= n).then_some(())
            })
            .await;
            assert_eq!(database.number(ROWS).await, n);
        };
        let store = async |from: u64, to: u64| {
            world
                .store("numbers.a", (from..to).map(|n| n.to_string()))
                .await;
        };
        set_up().await;
        world
            .api("CONSUMER.DELETE.NUMBERS.numbers-store", &Value::Null)
            .await;
        store(0, 10).await;
        set_up().await;
        store(10, 20).await;
        let running = serve().await;
        has_rows(10).await;
        running.stop(Duration::from_secs(5)).await;

        for (is_setup, rows) in [(false, 15_i64), (true, 20)] {
            world
                .api("CONSUMER.DELETE.NUMBERS.numbers-store", &Value::Null)
                .await;
            let n = 10 + rows.cast_unsigned();
            store(n - 5, n).await;
            if is_setup {
                set_up().await;
            }
            let running = serve().await;
            has_rows(rows).await;
            world.settled("NUMBERS", "store", n).await;
            has_rows(rows).await;
            running.stop(Duration::from_secs(5)).await;
        }
        // Nor is anything skipped of a stream that was made again while nobody ran.
        for (is_setup, rows) in [(true, 25), (false, 30)] {
            let stream = world.api("STREAM.INFO.NUMBERS", &Value::Null).await;
            world.api("STREAM.DELETE.NUMBERS", &Value::Null).await;
            let made = world.api("STREAM.CREATE.NUMBERS", &stream["config"]).await;
            assert!(made["error"].is_null(), "{made}");
            store(100, 105).await;
            if is_setup {
                set_up().await;
            }
            let running = serve().await;
            has_rows(rows).await;
            running.stop(Duration::from_secs(5)).await;
        }
    }
}

/// Copies a directory.
#[cfg(feature = "sea-orm")]
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[cfg(feature = "sea-orm")]
#[tokio::test]
async fn stream_that_was_rolled_back_and_filled_again_is_handled_from_there_on() {
    use crate::database::Database;
    use crate::sql::{ROWS, service_from};

    for is_setup in [false, true] {
        let [database, _] = Database::each().await;
        let world = World::new().await;
        let built = || service_from(Start::New).build().unwrap();
        let url = Some(&*database.url);
        let set_up = async |options: Options| {
            let told = setup::setup_with(&built(), &world.nats, url, &options).await;
            told.unwrap().join("\n")
        };
        let serve = async || {
            natsfn::start(built(), world.connect().await, url)
                .await
                .unwrap()
        };
        let store = async |from: u64, to: u64| {
            let numbers = (from..to).map(|n| n.to_string());
            world.store("numbers.a", numbers).await;
        };
        let has_rows = async |n: i64| {
            until("the rows are there", async || {
                (database.number(ROWS).await == n).then_some(())
            })
            .await;
        };
        set_up(Options::default()).await;
        store(0, 5).await;
        world.server.down().await;
        let (disk, backup) = (
            world.server.data().join("jetstream"),
            tempfile::tempdir().unwrap(),
        );
        copy(&disk, backup.path());
        world.server.up().await;
        until("the server is back", async || world.nats.flush().await.ok()).await;
        for (from, to) in [(5, 20), (20, 21)] {
            // The first batch of a process notes up to where everything is settled.
            let running = serve().await;
            store(from, to).await;
            has_rows(to.cast_signed()).await;
            world.settled("NUMBERS", "store", to).await;
            running.stop(Duration::from_secs(5)).await;
        }

        world.server.down().await;
        std::fs::remove_dir_all(&disk).unwrap();
        copy(backup.path(), &disk);
        world.server.up().await;
        let deleted = async || {
            let deleted = world.api("CONSUMER.DELETE.NUMBERS.numbers-store", &Value::Null);
            (deleted.await["success"] == true).then_some(())
        };
        until("the consumer is gone", deleted).await;
        store(100, 130).await;
        if is_setup {
            for options in [Options::default().only_plan(), Options::default()] {
                let told = set_up(options).await;
                assert!(told.contains("begins with what was stored since"), "{told}");
                assert!(
                    told.contains("UPDATE natsfn_life SET settled_ns = 0"),
                    "{told}"
                );
            }
        }
        let _running = serve().await;

        has_rows(21 + 30).await;
        world.settled("NUMBERS", "store", 35).await;
        has_rows(21 + 30).await;
    }
}

#[cfg(feature = "sea-orm")]
#[tokio::test]
async fn inbox_that_has_forgotten_its_place_lets_the_consumer_begin_where_the_definition_says() {
    use crate::database::Database;
    use crate::sql::{ROWS, service_from};

    let [database, _] = Database::each().await;
    let world = World::new().await;
    let built = || service_from(Start::New).build().unwrap();
    let url = Some(&*database.url);
    let set_up = async || {
        let told = setup::setup_with(&built(), &world.nats, url, &Options::default()).await;
        told.unwrap().join("\n")
    };
    let serve = async || {
        natsfn::start(built(), world.connect().await, url)
            .await
            .unwrap()
    };
    let has_rows = async |n: i64| {
        until("the rows are there", async || {
            (database.number(ROWS).await == n).then_some(())
        })
        .await;
    };
    set_up().await;
    let running = serve().await;
    for n in 1..=2_u64 {
        world.store("numbers.a", [n.to_string()]).await;
        has_rows(n.cast_signed()).await;
        world.settled("NUMBERS", "store", n).await;
    }
    running.stop(Duration::from_secs(5)).await;
    let delete = "CONSUMER.DELETE.NUMBERS.numbers-store";
    world.api(delete, &Value::Null).await;
    world.store("numbers.a", ["3".to_owned()]).await;

    let told = set_up().await;
    let forget = told.lines().find_map(|line| line.split_once("run setup: "));
    let (_, forget) = forget.unwrap_or_else(|| panic!("{told}"));
    database.execute(forget).await;
    world.api(delete, &Value::Null).await;
    let told = set_up().await;
    assert!(
        told.contains("begins with what is stored from then on"),
        "{told}"
    );
    world.store("numbers.a", ["4".to_owned()]).await;
    let _running = serve().await;

    world.settled("NUMBERS", "store", 4).await;
    has_rows(3).await;
}

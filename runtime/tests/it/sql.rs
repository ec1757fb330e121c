//! A function's effect on a database: once, with its answer or its ack, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use natsfn::failpoint::{Failpoints, Fault};
use natsfn::testing::{Outcome, local};
use natsfn::{
    Batch, Consumer, Db, Endpoint, Error, HeaderMap, Json, Kind, Outcomes, Result, Service, Start,
    Stream, Tx,
};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Statement, TransactionSession, TransactionTrait, sqlx,
};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};
use tokio::sync::{Semaphore, mpsc};

use crate::captured::Captured;
use crate::database::Database;
use crate::world::{World, code, function, next, until, within};

pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateNumbers)]
    }
}

struct CreateNumbers;

impl MigrationName for CreateNumbers {
    fn name(&self) -> &str {
        "m0001_numbers"
    }
}

#[sea_orm::prelude::async_trait::async_trait]
#[expect(
    elided_lifetimes_in_paths,
    reason = "async_trait takes only what is written alike"
)]
impl MigrationTrait for CreateNumbers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let create = "CREATE TABLE numbers (number bigint NOT NULL)";
        manager.get_connection().execute_unprepared(create).await?;
        let ballast = "CREATE TABLE ballast (bytes text)";
        manager.get_connection().execute_unprepared(ballast).await?;
        Ok(())
    }
}

async fn insert(db: &impl ConnectionTrait, number: i64) -> Result<(), DbErr> {
    let insert = format!("INSERT INTO numbers (number) VALUES ({number})");
    db.execute_unprepared(&insert).await.map(drop)
}

async fn count(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let count = Statement::from_string(db.get_database_backend(), "SELECT count(*) FROM numbers");
    let row = db.query_one_raw(count).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

async fn insert_by_sqlx(tx: &Tx, number: i64) -> Result<()> {
    const INSERT: &str = "INSERT INTO numbers (number) VALUES ($1)";
    if tx.get_database_backend() == DbBackend::Postgres {
        let mut connection = tx.postgres().await?;
        let insert = sqlx::query(INSERT).bind(number);
        insert.execute(&mut *connection).await?;
    } else {
        let mut connection = tx.sqlite().await?;
        let insert = sqlx::query(INSERT).bind(number);
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Negative numbers fail, the others are stored: even ones by sea-orm, odd ones by sqlx.
async fn store(tx: Tx, numbers: Batch<i64>) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    for number in &numbers {
        if **number < 0 {
            outcomes.fail(number.message(), Error::bad_request("negative"));
        } else {
            match **number % 2 {
                0 => insert(&tx, **number).await?,
                _ => insert_by_sqlx(&tx, **number).await?,
            }
        }
    }
    Ok(outcomes)
}

pub(crate) fn service() -> Service {
    service_from(Start::All)
}

pub(crate) fn service_from(start: Start) -> Service {
    let stream = Stream::new("NUMBERS", ["numbers.{kind}"]);
    Service::new("numbers", "1.0.0")
        .database::<Migrator>()
        .consumer(Consumer::new("store", stream).start(start), store)
}

pub(crate) const ROWS: &str = "SELECT count(*) FROM numbers";

#[tokio::test]
async fn request_is_committed_with_its_answer_and_rolled_back_with_its_error() {
    for database in Database::each().await {
        let add = |tx: Tx, Json(number): Json<i64>| async move {
            insert(&tx, number).await?;
            if number < 0 {
                Err(Error::new(Kind::Conflict, "negative"))
            } else {
                Ok(())
            }
        };
        let how_many = |db: Db| async move { Ok::<_, Error>(Json(count(&db).await?)) };
        let service = service().endpoint("add", add).endpoint("count", how_many);
        let local = local(service).database(&database.url).await.unwrap();

        local.request::<()>("add", &1).await.unwrap();
        assert_eq!(local.request::<()>("add", &-1).await.unwrap_err().code, 409);

        assert_eq!(local.request::<i64>("count", &()).await.unwrap(), 1);
        assert_eq!(database.number(ROWS).await, 1);
    }
}

#[tokio::test]
async fn request_whose_function_misses_the_deadline_in_its_transaction_says_so() {
    for database in Database::each().await {
        let captured = Captured::begin();
        let world = World::new().await;
        let definition = || {
            let hangs = |tx: Tx| async move {
                insert(&tx, 1).await?;
                std::future::pending::<Result<()>>().await
            };
            let endpoint = Endpoint::new("hangs", "hangs").deadline(Duration::from_secs(1));
            service().endpoint(endpoint, hangs).build().unwrap()
        };
        natsfn::setup::setup(&definition(), &world.nats, Some(&database.url))
            .await
            .unwrap();
        let _running = natsfn::start(definition(), world.connect().await, Some(&database.url))
            .await
            .unwrap();

        assert_eq!(code(&world.ask("hangs", "").await), Some(504));

        let told = captured.lines("not finished after");
        assert_eq!(told.len(), 1, "{:#?}", captured.lines(""));
        assert_eq!(database.number(ROWS).await, 0);
    }
}

#[tokio::test]
async fn request_whose_plan_is_of_an_earlier_schema_runs_again_at_once() {
    let [_, database] = Database::each().await;
    let all = |tx: Tx| async move {
        // A parameter makes it a prepared statement, and the star a plan that a new column spoils.
        let all = Statement::from_sql_and_values(
            tx.get_database_backend(),
            "SELECT * FROM numbers WHERE number > $1",
            [0_i64.into()],
        );
        let rows = tx.query_all_raw(all).await?;
        Ok::<_, Error>(Json(rows.len()))
    };
    let service = service().endpoint("all", all);
    let local = local(service).database(&database.url).await.unwrap();
    for column in ["a", "b", "c"] {
        local.request::<usize>("all", &()).await.unwrap();
        let change = format!("ALTER TABLE numbers ADD COLUMN {column} text");
        database.execute(&change).await;

        let answer = local.request::<usize>("all", &()).await;

        assert_eq!(answer, Ok(0));
    }
}

#[tokio::test]
async fn function_that_keeps_its_tx_is_an_error_and_stores_nothing() {
    for database in Database::each().await {
        let (kept, mut keeps) = mpsc::unbounded_channel();
        let keep = move |tx: Tx| {
            let kept = kept.clone();
            async move {
                insert(&tx, 1).await?;
                kept.send(tx).unwrap();
                Ok::<_, Error>(())
            }
        };
        let local = local(service().endpoint("keep", keep))
            .database(&database.url)
            .await
            .unwrap();

        assert_eq!(
            local.request::<()>("keep", &()).await.unwrap_err().code,
            500
        );

        let late = insert(&next(&mut keeps).await, 2).await;
        assert!(late.unwrap_err().to_string().contains("over"));
        assert_eq!(database.number(ROWS).await, 0);
    }
}

#[tokio::test]
async fn redelivered_batch_is_stored_once_and_only_its_failures_run_again() {
    for database in Database::each().await {
        let refused = Arc::new(AtomicBool::new(true));
        let refuses = refused.clone();
        let store = move |tx: Tx, numbers: Batch<i64>| {
            let refuses = refuses.load(Ordering::SeqCst);
            async move {
                let mut outcomes = Outcomes::new();
                for number in &numbers {
                    if refuses && **number == 2 {
                        outcomes.fail(number.message(), Error::bad_request("not yet"));
                    } else {
                        insert(&tx, **number).await?;
                    }
                }
                Ok::<_, Error>(outcomes)
            }
        };
        let numbers = Consumer::new("store", Stream::new("NUMBERS", ["numbers"]));
        let service = Service::new("numbers", "1.0.0")
            .database::<Migrator>()
            .consumer(numbers, store);
        let local = local(service).database(&database.url).await.unwrap();
        use Outcome::{Acked, DeadLetter};
        let outcomes = local.deliver("store", [1, 2, 3]).await;
        assert_eq!(outcomes, [Acked, DeadLetter, Acked]);
        refused.store(false, Ordering::SeqCst);
        for _ in 0..2 {
            let outcomes = local.redeliver("store").await;
            assert_eq!(outcomes, [Acked, Acked, Acked]);
        }
        assert_eq!(database.number(ROWS).await, 3);
        assert_eq!(
            database
                .number("SELECT CAST(sum(number) AS bigint) FROM numbers")
                .await,
            6
        );
    }
}

#[tokio::test]
async fn message_over_which_only_the_commit_fails_is_a_dead_letter_alone() {
    let database = Database::postgres().await;
    let local = local(service()).database(&database.url).await.unwrap();
    let deferred = "ALTER TABLE numbers ADD UNIQUE (number) DEFERRABLE INITIALLY DEFERRED";
    database.execute(deferred).await;
    use Outcome::{Acked, DeadLetter};
    let outcomes = local.deliver("store", [1, 2, 2, 3, 4]).await;
    assert_eq!(outcomes, [Acked, Acked, DeadLetter, Acked, Acked]);
    assert_eq!(database.number(ROWS).await, 4);
}

#[tokio::test]
async fn batch_whose_ack_fails_after_the_commit_is_stored_once() {
    for database in Database::each().await {
        let world = World::new().await;
        let failpoints = Failpoints::new();
        failpoints.at("ack", [Fault::Fail(Kind::Unavailable)]);
        let definition = || service().failpoints(failpoints.clone()).build().unwrap();
        natsfn::setup::setup(&definition(), &world.nats, Some(&database.url))
            .await
            .unwrap();
        world
            .store("numbers.a", (1..=100).map(|n| n.to_string()))
            .await;

        let running = natsfn::start(definition(), world.connect().await, Some(&database.url))
            .await
            .unwrap();
        // How many the first batch had, which ran twice, is the stream's to say.
        until("all are stored and some were stored before", async || {
            let again = function(&running, 0)["data"]["duplicates"] != 0;
            (again && database.number(ROWS).await >= 100).then_some(())
        })
        .await;
        world.settled("NUMBERS", "store", 100).await;

        assert_eq!(database.number(ROWS).await, 100);
        assert_eq!(
            database
                .number("SELECT count(DISTINCT number) FROM numbers")
                .await,
            100
        );
        drop(running);
    }
}

#[tokio::test]
async fn numbers_acknowledged_around_a_full_disk_are_stored_once() {
    let [database, _] = Database::each().await;
    let world = World::new().await;
    let full = Arc::new(AtomicBool::new(false));
    let disk = full.clone();
    let store = move |tx: Tx, numbers: Batch<i64>| {
        // SQLite's own limit makes the same error as a file system without space.
        let pages = if disk.load(Ordering::Relaxed) {
            1
        } else {
            u32::MAX - 1
        };
        async move {
            tx.execute_unprepared(&format!("PRAGMA max_page_count = {pages}"))
                .await?;
            let part = tx.begin().await?;
            let rows: Vec<_> = numbers.iter().map(|n| format!("({})", **n)).collect();
            let insert = format!("INSERT INTO numbers (number) VALUES {}", rows.join(","));
            part.execute_unprepared(&insert).await?;
            let ballast = "INSERT INTO ballast (bytes) VALUES (zeroblob(9000))";
            part.execute_unprepared(ballast).await?;
            part.commit().await?;
            Ok::<_, Error>(())
        }
    };
    let definition = || {
        let stream = Stream::new("NUMBERS", ["numbers.{kind}"]);
        Service::new("numbers", "1.0.0")
            .database::<Migrator>()
            .consumer(Consumer::new("store", stream), store.clone())
            .build()
            .unwrap()
    };
    natsfn::setup::setup(&definition(), &world.nats, Some(&database.url))
        .await
        .unwrap();
    let running = natsfn::start(definition(), world.connect().await, Some(&database.url))
        .await
        .unwrap();
    let mut sent = 0;
    for round in 0..5 {
        full.store(round < 4, Ordering::Relaxed);
        world
            .store("numbers.a", (1..=10).map(|n| (sent + n).to_string()))
            .await;
        sent += 10;
        if round < 4 {
            until("it holds", async || {
                (function(&running, 0)["data"]["state"] == "holding").then_some(())
            })
            .await;
            full.store(false, Ordering::Relaxed);
        }
        until("another connection reads all of them", async || {
            (database.number(ROWS).await >= sent).then_some(())
        })
        .await;
    }
    world
        .settled("NUMBERS", "store", sent.cast_unsigned())
        .await;
    assert_eq!(database.number(ROWS).await, sent);
    let distinct = "SELECT count(DISTINCT number) FROM numbers";
    assert_eq!(database.number(distinct).await, sent);
}

#[tokio::test]
async fn each_call_delivers_new_messages_and_so_does_another_test_on_the_same_database() {
    for database in Database::each().await {
        for tests in 1..=2 {
            let local = local(service()).database(&database.url).await.unwrap();
            for number in [1, 2] {
                let (subject, payload) = ("numbers.a", number.to_string().into());
                let outcome = local.deliver_one("store", subject, HeaderMap::new(), payload);
                assert_eq!(outcome.await, Outcome::Acked);
            }
            assert_eq!(local.deliver("store", [3, 4]).await, [Outcome::Acked; 2]);
            assert_eq!(local.redeliver("store").await, [Outcome::Acked; 2]);
            assert_eq!(database.number(ROWS).await, tests * 4);
        }
    }
}

#[tokio::test]
async fn calls_that_wait_for_a_connection_of_other_calls_are_no_outage() {
    // More than there are connections.
    const N: i64 = 30;
    let world = World::new().await;
    let database = Database::postgres().await;
    let (begun, mut calls) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let definition = || {
        let (begun, gate) = (begun.clone(), gate.clone());
        let store = move |tx: Tx, Json(number): Json<i64>| {
            let (begun, gate) = (begun.clone(), gate.clone());
            async move {
                insert(&tx, number).await?;
                begun.send(()).unwrap();
                gate.acquire().await.unwrap().forget();
                Ok::<_, Error>(())
            }
        };
        let stream = Stream::new("NUMBERS", ["numbers.{kind}"]);
        Service::new("numbers", "1.0.0")
            .database::<Migrator>()
            .consumer(Consumer::new("store", stream), store)
            .build()
            .unwrap()
    };
    natsfn::setup::setup(&definition(), &world.nats, Some(&database.url))
        .await
        .unwrap();
    world
        .store("numbers.a", (0..N).map(|n| n.to_string()))
        .await;

    let running = natsfn::start(definition(), world.connect().await, Some(&database.url))
        .await
        .unwrap();
    for _ in 0..9 {
        next(&mut calls).await;
    }
    until("all others wait", async || {
        (function(&running, 0)["data"]["in_flight"] == N).then_some(())
    })
    .await;
    assert!(calls.try_recv().is_err(), "one connection is left");
    gate.add_permits(N as usize);
    world.settled("NUMBERS", "store", N as u64).await;

    assert_eq!(function(&running, 0)["num_errors"], 0);
    assert_eq!(database.number(ROWS).await, N);
}

#[tokio::test]
async fn service_on_another_schema_does_not_start_and_says_why() {
    let [sqlite, postgres] = Database::each().await;
    for (database, expected) in [
        (
            sqlite,
            "the database's file cannot be opened; where there is none, `numbers setup` makes it",
        ),
        (
            postgres,
            "the database's schema is older than this program: 5 migrations are missing \
             (m0001_inbox, m0002_identity, m0003_inbox_times, m0004_settled_filters, m0001_numbers); \
             run `numbers setup`",
        ),
    ] {
        let world = World::new().await;
        let definition = service().build().unwrap();
        let start = natsfn::start(definition, world.connect().await, Some(&database.url)).await;
        assert_eq!(start.err().unwrap().to_string(), expected);
    }
}

#[tokio::test]
async fn background_work_reaches_the_database() {
    for database in Database::each().await {
        let world = World::new().await;
        let (done, mut dones) = mpsc::unbounded_channel();
        let definition = || {
            let done = done.clone();
            let ping = Endpoint::from("ping");
            service()
                .endpoint(ping, || async {})
                .task("ping", move |mut background, ()| {
                    let done = done.clone();
                    async move {
                        insert(&background.db()?, 7).await?;
                        done.send(()).unwrap();
                        background.stopped().await;
                        Ok(())
                    }
                })
                .build()
                .unwrap()
        };
        natsfn::setup::setup(&definition(), &world.nats, Some(&database.url))
            .await
            .unwrap();
        let running = natsfn::start(definition(), world.connect().await, Some(&database.url))
            .await
            .unwrap();
        within(dones.recv()).await.unwrap();
        assert_eq!(database.number(ROWS).await, 1);
        drop(running);
    }
}

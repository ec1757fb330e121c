//! What becomes of a message where the database answers with an error: a bad one is a dead letter alone, a
//! fault of the database buries none, and a conflict with another transaction is neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use natsfn::{
    Batch, Consumer, Definition, Endpoint, Error, Json, Result, Retry, Running, Service, Tx,
};
use parking_lot::Mutex;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use tokio::sync::Barrier;

use crate::captured::Captured;
use crate::database::Database;
use crate::log::{consumer, letters};
use crate::sql::Migrator;
use crate::world::{World, code, function, until};

const STORED: &str = "SELECT count(*) FROM ballast";

/// Runs `sql` for each text of a batch.
fn service(sql: &'static str) -> Definition {
    let store = move |tx: Tx, batch: Batch<String>| async move {
        for text in &batch {
            let values = [text.as_str().into()];
            let backend = tx.get_database_backend();
            tx.execute_raw(Statement::from_sql_and_values(backend, sql, values))
                .await?;
        }
        Ok::<_, Error>(())
    };
    let retry = Retry::fixed(Duration::from_millis(20)).attempts(2);
    Service::new("a", "1.0.0")
        .database::<Migrator>()
        .consumer(consumer().retry(retry), store)
        .build()
        .unwrap()
}

async fn set_up(world: &World, service: Definition, url: &str) {
    natsfn::setup::setup(&service, &world.nats, Some(url))
        .await
        .unwrap();
}

async fn serve(world: &World, service: Definition, url: &str) -> Running {
    natsfn::start(service, world.connect().await, Some(url))
        .await
        .unwrap()
}

const INSERT: &str = "INSERT INTO ballast (bytes) VALUES ($1)";

/// A message that the database refuses among others.
struct Bad {
    prepare: &'static str,
    sql: &'static str,
    text: String,
    kind: &'static str,
    reason: &'static str,
}

impl Bad {
    fn new(prepare: &'static str, sql: &'static str, text: &str) -> Self {
        Self {
            prepare,
            sql,
            text: text.to_owned(),
            kind: "Internal",
            reason: "",
        }
    }

    fn is(self, kind: &'static str, reason: &'static str) -> Self {
        Self {
            kind,
            reason,
            ..self
        }
    }

    /// It becomes a dead letter, and all others of its batch are stored.
    async fn becomes_the_only_dead_letter(self, database: &Database) {
        let world = World::new().await;
        let url = match self.kind {
            "Timeout" => format!("{}&options[statement_timeout]=200ms", database.url),
            _ => database.url.clone(),
        };
        set_up(&world, service(self.sql), &url).await;
        database.execute(self.prepare).await;
        let texts = (1..=10).map(|n| match n {
            5 => format!("{:?}", self.text),
            n => format!("\"{n}\""),
        });
        world.store("log.a", texts).await;
        let _running = serve(&world, service(self.sql), &url).await;

        // An unknown error counts where others succeed.
        let mut n = 10;
        until("it is given up", async || {
            n += 1;
            world.store("log.a", [format!("\"{n}\"")]).await;
            (!letters(&world).await.is_empty()).then_some(())
        })
        .await;
        world.settled("LOG", "store", n).await;

        let letters = letters(&world).await;
        let sequences: Vec<_> = letters.iter().map(|letter| letter.sequence).collect();
        assert_eq!(sequences, [5], "{}", letters[0].reason);
        assert_eq!(letters[0].kind, self.kind, "{}", letters[0].reason);
        assert!(
            letters[0].reason.contains(self.reason),
            "{}",
            letters[0].reason
        );
        let stored = u64::try_from(database.number(STORED).await).unwrap();
        assert_eq!(stored, n - 1);
    }
}

#[tokio::test]
async fn text_that_no_index_takes_is_the_only_dead_letter() {
    let hex = |n: u64| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let long: String = (1..=1000).map(hex).collect();
    Bad::new("CREATE UNIQUE INDEX one ON ballast (bytes)", INSERT, &long)
        .is("BadRequest", "index row")
        .becomes_the_only_dead_letter(&Database::postgres().await)
        .await;
}

#[tokio::test]
async fn json_that_jsonb_refuses_is_the_only_dead_letter() {
    let sql = "INSERT INTO ballast (bytes) VALUES (($1::jsonb)::text)";
    Bad::new("", sql, r#"{"a": "\u0000"}"#)
        .is("BadRequest", "unsupported Unicode escape sequence")
        .becomes_the_only_dead_letter(&Database::postgres().await)
        .await;
}

#[tokio::test]
async fn json_that_sqlite_refuses_is_the_only_dead_letter() {
    let [sqlite, _] = Database::each().await;
    Bad::new("", "INSERT INTO ballast (bytes) VALUES (json($1))", "{")
        .is("Internal", "malformed JSON")
        .becomes_the_only_dead_letter(&sqlite)
        .await;
}

#[tokio::test]
async fn text_that_a_trigger_refuses_is_the_only_dead_letter() {
    let refuses = "CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE EXCEPTION 'a trigger says no'; END $$; \
        CREATE TRIGGER refuses BEFORE INSERT ON ballast FOR EACH ROW WHEN (NEW.bytes = 'bad') EXECUTE FUNCTION refuses()";
    Bad::new(refuses, INSERT, "bad")
        .is("Internal", "a trigger says no")
        .becomes_the_only_dead_letter(&Database::postgres().await)
        .await;
}

#[tokio::test]
async fn text_whose_statement_takes_too_long_is_the_only_dead_letter() {
    let sql =
        "INSERT INTO ballast (bytes) SELECT CASE $1 WHEN 'bad' THEN pg_sleep(60)::text ELSE $1 END";
    Bad::new("", sql, "bad")
        .is("Timeout", "statement timeout")
        .becomes_the_only_dead_letter(&Database::postgres().await)
        .await;
}

/// The values of a batch that no single statement takes, and each alone would.
#[tokio::test]
async fn batch_that_names_a_key_twice_is_halved_and_nothing_is_buried() {
    let database = Database::postgres().await;
    let store = |tx: Tx, batch: Batch<String>| async move {
        let rows: Vec<_> = batch.iter().map(|text| format!("('{}')", **text)).collect();
        let rows = rows.join(", ");
        let upsert = format!(
            "INSERT INTO ballast (bytes) VALUES {rows} ON CONFLICT (bytes) DO UPDATE SET bytes = EXCLUDED.bytes"
        );
        tx.execute_unprepared(&upsert).await?;
        Ok::<_, Error>(())
    };
    let service = || {
        let service = Service::new("a", "1.0.0").database::<Migrator>();
        service.consumer(consumer(), store).build().unwrap()
    };
    let world = World::new().await;
    set_up(&world, service(), &database.url).await;
    database
        .execute("CREATE UNIQUE INDEX one ON ballast (bytes)")
        .await;
    let texts = ["a", "b", "c", "d", "a", "e", "f", "g"];
    world
        .store("log.a", texts.map(|it| format!("{it:?}")))
        .await;
    let _running = serve(&world, service(), &database.url).await;
    world.settled("LOG", "store", 8).await;

    assert_eq!(database.number(STORED).await, 7);
    assert!(letters(&world).await.is_empty());
}

/// A fault of the database: every message is good.
async fn buries_nothing(prepare: &str, said: &str, cure: &str) {
    let database = Database::postgres().await;
    let world = World::new().await;
    set_up(&world, service(INSERT), &database.url).await;
    database.execute(prepare).await;
    world
        .store("log.a", (1..=10).map(|n| format!("\"{n}\"")))
        .await;
    let running = serve(&world, service(INSERT), &database.url).await;

    let reason = until("it holds", async || {
        assert_eq!(letters(&world).await.len(), 0);
        let data = function(&running, 0)["data"].clone();
        let reason = data["reason"].as_str()?.to_owned();
        (data["state"] == "holding").then_some(reason)
    });
    let reason = reason.await;
    assert!(reason.contains(said), "{reason}");
    database.execute(cure).await;
    world.settled("LOG", "store", 10).await;

    assert!(letters(&world).await.is_empty());
    assert_eq!(database.number(STORED).await, 10);
}

#[tokio::test]
async fn rows_without_a_partition_bury_nothing() {
    buries_nothing(
        "DROP TABLE ballast; CREATE TABLE ballast (bytes text) PARTITION BY LIST (bytes)",
        "no message succeeds",
        "CREATE TABLE rest PARTITION OF ballast DEFAULT",
    )
    .await;
}

#[tokio::test]
async fn sequence_that_is_exhausted_buries_nothing() {
    buries_nothing(
        "CREATE SEQUENCE s MAXVALUE 2; SELECT nextval('s'), nextval('s'); \
         ALTER TABLE ballast ADD COLUMN n bigint; ALTER TABLE ballast ALTER n SET DEFAULT nextval('s')",
        "an operator must look",
        "ALTER SEQUENCE s NO MAXVALUE",
    )
    .await;
}

#[tokio::test]
async fn inbox_that_takes_no_row_buries_nothing() {
    buries_nothing(
        "ALTER TABLE natsfn_inbox ADD CONSTRAINT none CHECK (seq < 0)",
        "a statement of the runtime's own",
        "ALTER TABLE natsfn_inbox DROP CONSTRAINT none",
    )
    .await;
}

/// Lets the first call of each of two functions meet, and none after them.
#[derive(Clone)]
struct Meeting {
    barrier: Arc<Barrier>,
    left: Arc<AtomicUsize>,
    /// The database's processes that they met on.
    pids: Arc<Mutex<Vec<String>>>,
}

impl Meeting {
    fn new() -> Self {
        Self {
            barrier: Arc::new(Barrier::new(2)),
            left: Arc::new(AtomicUsize::new(2)),
            pids: Arc::default(),
        }
    }

    async fn arrive(&self, tx: &Tx) -> Result<(), DbErr> {
        let left = |left: usize| left.checked_sub(1);
        let met = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
        if met.is_ok() {
            let pid =
                Statement::from_string(tx.get_database_backend(), "SELECT pg_backend_pid()::text");
            if let Some(row) = tx.query_one_raw(pid).await? {
                self.pids.lock().push(row.try_get_by_index(0)?);
            }
            self.barrier.wait().await;
        }
        Ok(())
    }

    /// Whether the connections that they met on are still open.
    async fn both_are_connected(&self, database: &Database) -> bool {
        let pids = self.pids.lock().join(", ");
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE pid IN ({pids})");
        database.number(&count).await == 2
    }
}

#[tokio::test]
async fn calls_that_lock_crosswise_run_again_at_once_and_are_no_outage() {
    let captured = Captured::begin();
    let database = Database::postgres().await;
    let meeting = Meeting::new();
    let service = || {
        let locks = |[first, second]: [i64; 2]| {
            let meeting = meeting.clone();
            move |tx: Tx, Json(_): Json<i64>| {
                let meeting = meeting.clone();
                async move {
                    let lock = |n| format!("UPDATE numbers SET number = number WHERE number = {n}");
                    tx.execute_unprepared(&lock(first)).await?;
                    meeting.arrive(&tx).await?;
                    tx.execute_unprepared(&lock(second)).await?;
                    let insert = "INSERT INTO ballast (bytes) VALUES ('done')";
                    tx.execute_unprepared(insert).await?;
                    Ok::<_, Error>(())
                }
            }
        };
        let log = || natsfn::Stream::new("LOG", ["log.>"]);
        Service::new("a", "1.0.0")
            .database::<Migrator>()
            .consumer(Consumer::new("forth", log()), locks([1, 2]))
            .consumer(Consumer::new("back", log()), locks([2, 1]))
            .build()
            .unwrap()
    };
    let world = World::new().await;
    set_up(&world, service(), &database.url).await;
    database
        .execute("INSERT INTO numbers VALUES (1), (2)")
        .await;
    world.store("log.a", ["1".to_owned()]).await;
    let _running = serve(&world, service(), &database.url).await;
    world.settled("LOG", "forth", 1).await;
    world.settled("LOG", "back", 1).await;

    assert!(!captured.lines("deadlock detected").is_empty());
    assert_eq!(captured.lines("a dependency is down"), [""; 0]);
    assert!(meeting.both_are_connected(&database).await);
    assert_eq!(database.number(STORED).await, 2);
}

#[tokio::test]
async fn request_that_cannot_be_serialized_at_its_commit_runs_again_at_once() {
    let captured = Captured::begin();
    let database = Database::postgres().await;
    let meeting = Meeting::new();
    let service = || {
        let meeting = meeting.clone();
        let add = move |tx: Tx| {
            let meeting = meeting.clone();
            async move {
                let serializable = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
                tx.execute_unprepared(serializable).await?;
                let add = "INSERT INTO numbers SELECT count(*) FROM numbers";
                tx.execute_unprepared(add).await?;
                meeting.arrive(&tx).await?;
                Ok::<_, Error>(())
            }
        };
        let service = Service::new("a", "1.0.0").database::<Migrator>();
        service
            .endpoint(Endpoint::new("add", "add"), add)
            .build()
            .unwrap()
    };
    let world = World::new().await;
    set_up(&world, service(), &database.url).await;
    let _running = serve(&world, service(), &database.url).await;

    let (one, other) = tokio::join!(world.ask("add", ""), world.ask("add", ""));

    assert_eq!([code(&one), code(&other)], [None, None]);
    assert!(!captured.lines("could not serialize").is_empty());
    assert!(meeting.both_are_connected(&database).await);
    let sum = "SELECT CAST(sum(number) AS bigint) FROM numbers";
    assert_eq!(database.number(sum).await, 1, "as one after the other");
}

#[tokio::test]
async fn request_whose_statement_takes_too_long_is_told_to_try_again() {
    let database = Database::postgres().await;
    let sleep = |tx: Tx| async move {
        tx.execute_unprepared("SELECT pg_sleep(60)").await?;
        Ok::<_, Error>(())
    };
    let service = Service::new("a", "1.0.0").database::<Migrator>();
    let url = format!("{}&options[statement_timeout]=200ms", database.url);
    let local = natsfn::testing::local(service.endpoint("sleep", sleep));
    let local = local.database(&url).await.unwrap();

    let error = local.request::<()>("sleep", &()).await.unwrap_err();

    assert_eq!((error.code, error.message.as_str()), (504, "try again"));
}

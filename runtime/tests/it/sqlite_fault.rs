//! SQLite's file at fault (FAULTS 35): what is acknowledged is what another connection reads, nothing
//! is buried, and it goes on by itself when the cause goes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use natsfn::{Batch, Consumer, Error, Running, Service, Stream, Tx, setup};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection};

use crate::database::Database;
use crate::sql::{Migrator, ROWS};
use crate::world::{World, function, until};

async fn store(tx: Tx, numbers: Batch<i64>) -> Result<(), Error> {
    // A test need not wait for locks as long as the runtime does.
    tx.execute_unprepared("PRAGMA busy_timeout = 20").await?;
    let rows: Vec<_> = numbers.iter().map(|n| format!("({})", **n)).collect();
    let insert = format!("INSERT INTO numbers (number) VALUES {}", rows.join(","));
    tx.execute_unprepared(&insert).await?;
    Ok(())
}

/// A service that stores numbers in a SQLite file.
struct Numbers {
    world: World,
    database: Database,
    sent: i64,
}

impl Numbers {
    async fn set_up() -> Self {
        let [database, _] = Database::each().await;
        let world = World::new().await;
        setup::setup(&service(), &world.nats, Some(&database.url))
            .await
            .unwrap();
        Self {
            world,
            database,
            sent: 0,
        }
    }

    async fn serve(&self) -> Running {
        let nats = self.world.connect().await;
        natsfn::start(service(), nats, Some(&self.database.url))
            .await
            .unwrap()
    }

    async fn send(&mut self) {
        let numbers = (self.sent..self.sent + 10).map(|n| n.to_string());
        self.world.store("numbers.a", numbers).await;
        self.sent += 10;
    }

    /// A connection beside the service's.
    async fn connect(&self) -> DatabaseConnection {
        let mut options = ConnectOptions::new(&self.database.url);
        options.max_connections(1).sqlx_logging(false);
        sea_orm::Database::connect(options).await.unwrap()
    }

    async fn all_are_stored_once(&self, running: &Running) {
        self.world
            .settled("NUMBERS", "store", self.sent.cast_unsigned())
            .await;
        assert_eq!(self.database.number(ROWS).await, self.sent);
        let distinct = "SELECT count(DISTINCT number) FROM numbers";
        assert_eq!(self.database.number(distinct).await, self.sent);
        assert_eq!(function(running, 0)["data"]["dead_lettered"], 0);
    }
}

fn service() -> natsfn::Definition {
    let stream = Stream::new("NUMBERS", ["numbers.{kind}"]);
    Service::new("numbers", "1.0.0")
        .database::<Migrator>()
        .consumer(Consumer::new("store", stream), store)
        .build()
        .unwrap()
}

async fn holds(running: &Running, why: &str) {
    until("it holds", async || {
        let data = function(running, 0)["data"].clone();
        let reason = data["reason"].as_str()?;
        (data["state"] == "holding" && reason.contains(why)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn commit_that_a_reader_blocks_is_no_commit() {
    let mut numbers = Numbers::set_up().await;
    let reader = numbers.connect().await;
    // Without the write-ahead log a COMMIT waits for the readers.
    let mode = "PRAGMA journal_mode = DELETE";
    reader.execute_unprepared(mode).await.unwrap();
    let running = numbers.serve().await;
    for _ in 0..3 {
        // A COMMIT keeps new readers out while it writes, which may take longer than they wait.
        until("the reader reads", async || {
            let read = reader.execute_unprepared("BEGIN; SELECT * FROM numbers");
            if read.await.is_ok() {
                return Some(());
            }
            let _ = reader.execute_unprepared("ROLLBACK").await;
            None
        })
        .await;
        numbers.send().await;
        holds(&running, "database is locked").await;
        reader.execute_unprepared("COMMIT").await.unwrap();
        numbers.all_are_stored_once(&running).await;
    }
}

#[tokio::test]
async fn file_that_is_damaged_holds_everything_until_it_is_put_back() {
    let mut numbers = Numbers::set_up().await;
    let running = numbers.serve().await;
    numbers.send().await;
    numbers.all_are_stored_once(&running).await;
    let other = numbers.connect().await;
    let path = numbers.database.url.strip_prefix("sqlite://").unwrap();
    let path = Path::new(path).to_owned();
    // Its head alone; and everything but its first page.
    for (from, upto, why) in [
        (0, 16, "file is not a database"),
        (4096, usize::MAX, "malformed"),
    ] {
        // What others write makes the service's connections read the file again.
        other
            .execute_unprepared("INSERT INTO ballast (bytes) VALUES ('x')")
            .await
            .unwrap();
        let moved = "PRAGMA wal_checkpoint(TRUNCATE)";
        other.execute_unprepared(moved).await.unwrap();
        let whole = std::fs::read(&path).unwrap();
        let upto = upto.min(whole.len());
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xff; upto - from], from as u64)
            .unwrap();
        numbers.send().await;
        holds(&running, why).await;

        file.write_all_at(&whole, 0).unwrap();

        numbers.all_are_stored_once(&running).await;
    }
}

//! A database in which somebody else holds the lock (FAULTS 33 and 40): `persist` holds and goes on, `history`
//! fails at its deadline, and no connection is left behind.

use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::Database;
use crate::person::read;
use crate::wait::until;
use crate::world::{World, append, unlimited};

/// More than a process has connections.
const READERS: usize = 30;

async fn log(world: &World, n: usize) {
    let backend = world.backend().await;
    for n in 0..n {
        let message = json!({ "user": "b", "text": n.to_string(), "timestamp": 1 });
        append(&backend, "chat.general", None, message.to_string()).await;
    }
}

async fn persist_is_holding(world: &World) {
    until("persist holds", async || {
        (world.state_of_persist().await["state"] == "holding").then_some(())
    })
    .await;
}

#[tokio::test]
async fn table_that_is_locked_holds_persist_and_history_fails_at_its_deadline() {
    let database = Database::empty_postgres().await;
    let world = World::of(database, unlimited()).await;
    let _serving = world.serve().await;
    log(&world, 10).await;
    world.settled().await;
    let alice = world.person("alice").await;
    let ask = async |_| {
        let asked = Instant::now();
        let answer = alice.ask("chat.history.general", "").await;
        let code = read::<Value>(&answer).map_or_else(|error| error.code, |_| 200);
        (code, asked.elapsed())
    };

    let other = world.database.pool.begin().await.unwrap();
    let lock = "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE";
    other.execute_unprepared(lock).await.unwrap();
    log(&world, 10).await;
    let answers = join_all((0..READERS).map(ask)).await;
    persist_is_holding(&world).await;
    other.commit().await.unwrap();

    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    println!("the slowest of {READERS} failed after {slowest:?}");
    for (code, took) in answers {
        assert!(matches!(code, 503 | 504), "{code}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    world.settled().await;
    assert_eq!(world.rows().await.len(), 20);
    let answers = join_all((0..READERS).map(ask)).await;
    assert!(answers.iter().all(|(code, _)| *code == 200), "{answers:?}");
}

#[tokio::test]
async fn database_that_somebody_else_writes_holds_persist_until_it_is_free() {
    let world = World::new().await;
    let _serving = world.serve().await;
    let alice = world.person("alice").await;
    log(&world, 10).await;
    world.settled().await;

    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let other = world.database.pool.begin_with_options(options);
    let other = other.await.unwrap();
    log(&world, 10).await;
    persist_is_holding(&world).await;
    // Readers need no writer's lock.
    let texts = alice.texts("chat.history.general").await;
    assert_eq!(texts.len(), 20);
    other.rollback().await.unwrap();

    let free = Instant::now();
    world.settled().await;
    println!("stored {:?} after it was free", free.elapsed());
    assert_eq!(world.rows().await.len(), 20);
    assert!(free.elapsed() < Duration::from_secs(10));
}

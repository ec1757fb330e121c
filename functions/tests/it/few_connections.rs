//! A PostgreSQL with few connections, and two hundred who read (FAULTS 34): `persist` goes on, and everybody
//! is answered.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::Database;
use crate::person::read;
use crate::postgres::Postgres;
use crate::wait::until;
use crate::world::{World, append, unlimited};

const READERS: usize = 200;

/// So many messages are stored while everybody reads, and as many again once every connection of
/// chat's was ended under it.
const N: usize = 100;

#[expect(clippy::print_stdout, reason = "how long it took, for whoever looks")]
async fn persist_goes_on(max_connections: u32) {
    let setting = format!("max_connections={max_connections}");
    let postgres = Postgres::with(&[&setting]).await;
    let world = World::of(Database::of_url(&postgres.url).await, unlimited()).await;
    let _serving = world.serve().await;
    let (backend, alice) = (world.backend().await, world.person("alice").await);
    let is_over = Cell::new(false);
    let answers: RefCell<BTreeMap<u16, usize>> = RefCell::default();
    let longest = Cell::new(Duration::ZERO);
    let ask = async |_| {
        while !is_over.get() {
            let asked = Instant::now();
            let answer = alice.ask("chat.history.general", "").await;
            let code = read::<Value>(&answer).map_or_else(|error| error.code, |_| 200);
            longest.set(longest.get().max(asked.elapsed()));
            *answers.borrow_mut().entry(code).or_default() += 1;
        }
    };
    let store = async |rows: usize| {
        let began = Instant::now();
        for n in 0..N {
            let message = json!({ "user": "b", "text": n.to_string(), "timestamp": 1 });
            append(&backend, "chat.general", None, message.to_string()).await;
        }
        until("everything is stored while they read", async || {
            (world.rows().await.len() == rows).then_some(())
        })
        .await;
        began.elapsed()
    };
    let work = async {
        until("everybody reads", async || {
            (answers.borrow().values().sum::<usize>() > READERS).then_some(())
        })
        .await;
        let first = store(N).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chat'";
        world.database.pool.execute_unprepared(end).await.unwrap();
        let second = store(2 * N).await;
        is_over.set(true);
        (first, second)
    };
    let (_, (first, second)) = futures_util::join!(join_all((0..READERS).map(ask)), work);

    let answers = answers.into_inner();
    println!(
        "{max_connections} connections: {N} messages stored in {first:?}, after a cut in {second:?}; answers {answers:?}, the longest after {:?}",
        longest.get()
    );
    assert!(
        answers.keys().all(|code| [200, 429, 503].contains(code)),
        "{answers:?}"
    );
    assert!(answers[&200] > READERS, "{answers:?}");
    // Readers hold what there is; each wait for a connection lasts up to 3 s.
    assert!(second < Duration::from_secs(60), "{second:?}");
}

#[tokio::test]
async fn persist_goes_on_beside_two_hundred_readers_on_ten_connections() {
    persist_goes_on(10).await;
}

#[tokio::test]
async fn persist_goes_on_beside_two_hundred_readers_on_twenty_connections() {
    persist_goes_on(20).await;
}

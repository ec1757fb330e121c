//! `persist` starts with a backlog of a million messages, while people send more (FAULTS 30).

use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::sleep;

use crate::ledger::Ledger;
use crate::world::World;
use crate::{Failure, number};

/// Unacknowledged publishes at once.
const AT_ONCE: usize = 1_000;

pub(crate) async fn run(world: &mut World, ledger: &Ledger) -> Result<String, Failure> {
    let waiting = number("LEDGER_MESSAGES", 1_000_000);
    append(world, ledger, waiting).await?;

    let nats = world.connect("alice").await?;
    let writers = ledger.write(&nats, usize::MAX);
    sleep(Duration::from_secs(10)).await;
    let before = ledger.p99_since_last();
    world.serve_persist()?;
    let started = Instant::now();
    let db = sea_orm::Database::connect(world.database()?).await?;
    loop {
        sleep(Duration::from_millis(500)).await;
        if crate::ledger::rows(&db).await? >= waiting {
            break;
        }
    }
    let drained = started.elapsed();
    let during = ledger.p99_since_last();
    writers.stop(ledger).await?;
    println!(
        "  {waiting} drained in {:.1} s; persist's memory at most {} MiB; p99 of a send {:.1} ms before, {:.1} ms during",
        drained.as_secs_f64(),
        world.persists[0].peak_mib().unwrap_or_default(),
        before.as_secs_f64() * 1e3,
        during.as_secs_f64() * 1e3,
    );
    Ok("none".to_owned())
}

/// Appends that many messages to the log as the trusted back end.
pub(crate) async fn append(world: &World, ledger: &Ledger, n: usize) -> Result<(), Failure> {
    let backend = jetstream::new(world.connect("backend").await?);
    let first = ledger.acked();
    let published = stream::iter(first..first + n)
        .map(|i| publish(&backend, i))
        .buffer_unordered(AT_ONCE);
    let mut published = std::pin::pin!(published);
    while let Some(id) = published.next().await {
        ledger.note_acked(id?);
    }
    Ok(())
}

async fn publish(backend: &jetstream::Context, i: usize) -> Result<String, Failure> {
    let id = format!("b{i}");
    let message = json!({ "user": "backend", "text": format!("message {i}"), "timestamp": 1 });
    let message = jetstream::message::PublishMessage::build()
        .message_id(&id)
        .payload(message.to_string().into());
    let room = format!("chat.room{}", i % 50);
    // Repeats a timed-out publish: the stream deduplicates it, or later the table's key.
    loop {
        let sent = backend.send_publish(room.clone(), message.clone()).await?;
        match sent.await {
            Ok(_) => return Ok(id),
            Err(error) if error.kind() == jetstream::context::PublishErrorKind::TimedOut => {}
            Err(error) => return Err(error.into()),
        }
    }
}

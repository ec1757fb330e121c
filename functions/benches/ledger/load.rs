//! 2,000 messages are sent a second while 200 people ask for the history, on a PostgreSQL with few
//! connections: does anything grow, and does `persist` keep up?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::{Client, Request};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::ledger::{Ledger, rows};
use crate::world::World;
use crate::{Failure, number};

/// Messages sent a second.
const RATE: u32 = 2_000;

/// Histories in flight.
const READERS: usize = 200;

/// Between two lines of the report.
const REPORT: Duration = Duration::from_secs(30);

/// Longer than the deadline of `history`: after this it will not answer.
const UNANSWERED: Duration = Duration::from_secs(8);

#[derive(Default)]
struct Reads {
    answered: AtomicUsize,
    failed: AtomicUsize,
}

pub(crate) async fn run(world: &mut World, ledger: &Ledger) -> Result<String, Failure> {
    let lasts = Duration::from_secs(number("LEDGER_SECONDS", 600));
    world.serve_persist()?;
    let nats = world.connect("alice").await?;
    let reads = Arc::new(Reads::default());
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        readers.spawn(read(nats.clone(), Arc::clone(&reads)));
    }
    let db = sea_orm::Database::connect(world.database()?).await?;
    let (started, mut reported) = (Instant::now(), Instant::now());
    let mut sends = JoinSet::new();
    // It catches up with the ticks that it was late for.
    let mut tick = interval(Duration::from_secs(1) / RATE);
    let mut n = 0_usize;
    while started.elapsed() < lasts {
        tick.tick().await;
        let (nats, ledger_of_it) = (nats.clone(), ledger.clone());
        let room = ["general", "random", "help"][n % 3];
        sends.spawn(async move { ledger_of_it.send(&nats, format!("l{n}"), room).await });
        n += 1;
        while let Some(ended) = sends.try_join_next() {
            ended??;
        }
        if reported.elapsed() >= REPORT {
            let acked = ledger.acked();
            println!(
                "  {:>4.0} s: {:.0} acknowledged a second, p99 {:.1?}, {} under way; not stored {}; {} histories, {} failed; memory: persist {} MiB, dev {} MiB",
                started.elapsed().as_secs_f64(),
                acked as f64 / started.elapsed().as_secs_f64(),
                ledger.p99_since_last(),
                sends.len(),
                acked.saturating_sub(rows(&db).await?),
                reads.answered.swap(0, Relaxed),
                reads.failed.swap(0, Relaxed),
                world.persists[0].mib().unwrap_or_default(),
                world.dev.mib().unwrap_or_default(),
            );
            reported = Instant::now();
        }
    }
    readers.shutdown().await;
    while let Some(ended) = sends.join_next().await {
        ended??;
    }
    let ended = Instant::now();
    while rows(&db).await? < ledger.acked() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "  all stored {:.1?} after the last was sent",
        ended.elapsed()
    );
    Ok("none".to_owned())
}

/// Asks for the newest messages of a room, again and again.
async fn read(nats: Client, reads: Arc<Reads>) {
    loop {
        let request = Request::new().timeout(Some(UNANSWERED));
        let answer = nats.send_request("chat.history.general", request).await;
        let is_good = answer.is_ok_and(|answer| {
            serde_json::from_slice::<Value>(&answer.payload)
                .is_ok_and(|answer| answer["code"].is_null())
        });
        let count = if is_good {
            &reads.answered
        } else {
            &reads.failed
        };
        count.fetch_add(1, Relaxed);
    }
}

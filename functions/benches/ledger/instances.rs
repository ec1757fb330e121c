//! One to ten `persist` share a backlog; then they come and go while people send.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::backlog;
use crate::ledger::{Ledger, rows};
use crate::world::World;
use crate::{Failure, number};

/// How many share the backlog, one after the other.
const INSTANCES: [usize; 4] = [1, 2, 4, 10];

/// How often one comes or goes.
const EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(world: &mut World, ledger: &Ledger) -> Result<String, Failure> {
    let waiting = number("LEDGER_MESSAGES", 200_000);
    let lasts = Duration::from_secs(number("LEDGER_SECONDS", 60));
    let seed = number("LEDGER_SEED", fastrand::u64(..));
    println!("  LEDGER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let db = sea_orm::Database::connect(world.database()?).await?;
    for instances in INSTANCES {
        backlog::append(world, ledger, waiting).await?;
        let (before, started) = (rows(&db).await?, Instant::now());
        for _ in 0..instances {
            world.serve_persist()?;
        }
        while rows(&db).await? < ledger.acked() {
            sleep(Duration::from_millis(50)).await;
        }
        let stored = ledger.acked() - before;
        println!(
            "  {instances:>2} instances: {:.0} messages a second, from their start",
            stored as f64 / started.elapsed().as_secs_f64()
        );
        end(world, instances).await?;
    }

    let nats = world.connect("alice").await?;
    let writers = ledger.write(&nats, usize::MAX);
    let (started, mut changes) = (Instant::now(), 0);
    world.serve_persist()?;
    while started.elapsed() < lasts {
        sleep(EVERY).await;
        let running = world.persists.len();
        if running == 1 || running < 10 && random.bool() {
            world.serve_persist()?;
        } else {
            world.persists.swap(0, running - 1);
            end(world, 1).await?;
        }
        changes += 1;
    }
    writers.stop(ledger).await?;
    Ok(changes.to_string())
}

/// Ends the last ones with a drain.
async fn end(world: &mut World, instances: usize) -> Result<(), Failure> {
    let ending = world.persists.split_off(world.persists.len() - instances);
    for persist in &ending {
        persist.signal("-TERM")?;
    }
    for mut persist in ending {
        tokio::task::spawn_blocking(move || persist.wait()).await??;
    }
    Ok(())
}

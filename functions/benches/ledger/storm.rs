//! A random fault every five seconds (FAULTS 64): nats-server or one of two `persist` is killed,
//! suspended for a while, or terminated. The printed seed repeats the same faults.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::ledger::Ledger;
use crate::world::World;
use crate::{Failure, number};

const EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn run(world: &mut World, ledger: &Ledger) -> Result<String, Failure> {
    let seed = number("LEDGER_SEED", fastrand::u64(..));
    let lasts = Duration::from_secs(number("LEDGER_SECONDS", 600));
    println!("  LEDGER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    world.serve_persist()?;
    world.serve_persist()?;
    let nats = world.connect("alice").await?;
    let writers = ledger.write(&nats, usize::MAX);
    let started = Instant::now();
    let mut faults = 0;
    while started.elapsed() < lasts {
        sleep(EVERY).await;
        let pause = Duration::from_millis(random.u64(500..12_000));
        match random.u8(0..5) {
            0 => world.signal_server("-9")?,
            1 => {
                world.signal_server("-STOP")?;
                sleep(pause).await;
                world.signal_server("-CONT")?;
            }
            2 => {
                world.persists.remove(random.usize(0..2));
                world.serve_persist()?;
            }
            3 => {
                let persist = &world.persists[random.usize(0..2)];
                persist.signal("-STOP")?;
                sleep(pause).await;
                persist.signal("-CONT")?;
            }
            _ => {
                let mut persist = world.persists.remove(random.usize(0..2));
                persist.signal("-TERM")?;
                tokio::task::spawn_blocking(move || persist.wait()).await??;
                world.serve_persist()?;
            }
        }
        faults += 1;
    }
    writers.stop(ledger).await?;
    Ok(faults.to_string())
}

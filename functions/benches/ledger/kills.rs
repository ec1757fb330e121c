//! `persist` is killed 20 times and nats-server twice while messages are sent (FAULTS 1 and 16).

use std::time::Duration;

use crate::ledger::{Ledger, WRITERS};
use crate::world::World;
use crate::{Failure, number};

const PERSIST_KILLS: usize = 20;
const SERVER_KILLS: usize = 2;

pub(crate) async fn run(world: &mut World, ledger: &Ledger) -> Result<String, Failure> {
    let total = number("LEDGER_MESSAGES", 20_000) / WRITERS * WRITERS;
    world.serve_persist()?;
    let nats = world.connect("alice").await?;
    let mut writers = ledger.write(&nats, total / WRITERS);
    let mut killed = (0, 0);
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    while !writers.are_done()? {
        tick.tick().await;
        let acked = ledger.acked();
        if killed.0 < PERSIST_KILLS && acked > total * (killed.0 + 1) / (PERSIST_KILLS + 2) {
            world.persists.clear();
            world.serve_persist()?;
            killed.0 += 1;
        }
        if killed.1 < SERVER_KILLS && acked > total * (killed.1 + 1) / (SERVER_KILLS + 1) {
            world.signal_server("-9")?;
            killed.1 += 1;
        }
    }
    Ok(format!("{}+{}", killed.0, killed.1))
}

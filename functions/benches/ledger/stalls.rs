//! Processes that are suspended (SIGSTOP) instead of killed: nats-server for 5 s, 40 s and 6 min,
//! one of two `persist` for 60 s, far longer than the ack wait (FAULTS 10 and 18).

use std::time::Duration;

use tokio::time::sleep;

use crate::Failure;
use crate::ledger::Ledger;
use crate::world::World;

pub(crate) async fn run(world: &mut World, ledger: &Ledger) -> Result<String, Failure> {
    world.serve_persist()?;
    world.serve_persist()?;
    let nats = world.connect("alice").await?;
    let writers = ledger.write(&nats, usize::MAX);
    let pause = Duration::from_secs(5);
    for seconds in [5, 40, 360] {
        sleep(pause).await;
        world.signal_server("-STOP")?;
        sleep(Duration::from_secs(seconds)).await;
        world.signal_server("-CONT")?;
    }
    sleep(pause).await;
    world.persists[0].signal("-STOP")?;
    sleep(Duration::from_secs(60)).await;
    let meanwhile = ledger.acked();
    world.persists[0].signal("-CONT")?;
    sleep(pause).await;
    writers.stop(ledger).await?;
    println!("  acknowledged when the suspended persist resumed: {meanwhile}");
    Ok("2+1".to_owned())
}

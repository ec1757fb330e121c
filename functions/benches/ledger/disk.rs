//! The database's file system is full for 3, 6 and 60 s while messages are sent (FAULTS 35).
//!
//! `LEDGER_DISK` names a directory on a small file system, for instance `mount -t tmpfs -o size=200m
//! tmpfs DIR`. SQLite only: PostgreSQL would need a tablespace there.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::Failure;
use crate::ledger::Ledger;
use crate::world::World;

/// A small file system, from the environment.
pub(crate) fn directory() -> Result<PathBuf, Failure> {
    let directory = std::env::var_os("LEDGER_DISK")
        .ok_or("LEDGER_DISK must name a directory on a small file system")?;
    Ok(directory.into())
}

pub(crate) async fn run(world: &mut World, ledger: &Ledger) -> Result<String, Failure> {
    world.serve_persist()?;
    let nats = world.connect("alice").await?;
    let writers = ledger.write(&nats, usize::MAX);
    let ballast = directory()?.join("ballast");
    for seconds in [3, 6, 60] {
        sleep(Duration::from_secs(3)).await;
        fill(&ballast)?;
        sleep(Duration::from_secs(seconds)).await;
        std::fs::remove_file(&ballast)?;
    }
    sleep(Duration::from_secs(5)).await;
    writers.stop(ledger).await?;
    Ok("3".to_owned())
}

/// Writes until the file system is full.
fn fill(ballast: &Path) -> Result<(), Failure> {
    let mut file = File::create(ballast)?;
    let bytes = [0; 4096];
    while file.write_all(&bytes).is_ok() {}
    Ok(())
}

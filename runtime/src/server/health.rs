//! Watches whether JetStream can write. After its disk was full it cannot, though there is room again: until the
//! process is started anew it acknowledges nothing. Neither can it beyond the limit that it took from what was
//! free at its start.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::keeper::{Keeper, Status};
use super::limit::Limit;
use super::{STOP_DEADLINE, monitoring};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// How long an answer may take. One that does not come says nothing about the disk.
const MONITORING_TIMEOUT: Duration = Duration::from_secs(2);
/// What can be written where there is room again.
const ROOM: usize = 1 << 20;
/// The pause after a start that did not help, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Starts the server again whenever JetStream cannot write and the disk can be written, until the keeper ends.
pub(super) async fn watch(keeper: Keeper, data: &Path) {
    let mut pause = FIRST_PAUSE;
    let mut not_before = Instant::now();
    let mut is_told = false;
    let mut outlasted = None;
    loop {
        sleep(LOOK).await;
        let monitor = match keeper.status() {
            Status::Ready(addresses) => addresses.monitor,
            Status::Failed(_) | Status::Ended => return,
            Status::Starting | Status::Down => None,
        };
        let Some(monitor) = monitor else { continue };
        let Some(fault) = fault(&monitor).await else {
            if not_before + pause < Instant::now() {
                pause = FIRST_PAUSE;
            }
            is_told = false;
            continue;
        };
        if !is_told {
            is_told = true;
            tracing::error!(
                fault = %fault,
                "JetStream does not acknowledge; nats-server is started again once its disk has room"
            );
        }
        if Instant::now() < not_before {
            continue;
        }
        let is_curable = match &fault {
            Fault::CannotWrite(_) => has_room(data).await,
            // One that a start has not changed is somebody's setting.
            Fault::AtLimit(limit) => outlasted != Some(limit.bytes()) && limit.would_grow(data),
        };
        if !is_curable {
            continue;
        }
        if let Fault::AtLimit(limit) = &fault {
            outlasted = Some(limit.bytes());
        }
        tracing::warn!("the disk has room: nats-server is started again");
        keeper.replace(Signal::TERM);
        let ready = keeper.reached(|status| matches!(status, Status::Ready(_)));
        if timeout(STOP_DEADLINE, ready).await.is_err() {
            keeper.replace(Signal::KILL);
        }
        not_before = Instant::now() + pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why a message is not stored.
enum Fault {
    CannotWrite(String),
    AtLimit(Limit),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotWrite(error) => out.write_str(error),
            Self::AtLimit(limit) => limit.fmt(out),
        }
    }
}

async fn fault(monitor: &str) -> Option<Fault> {
    if let Some(error) = write_error(monitor).await {
        return Some(Fault::CannotWrite(error));
    }
    let limit: Limit = ask(monitor, "/jsz").await?;
    limit.is_reached().then_some(Fault::AtLimit(limit))
}

/// Why a stream cannot be written. With `js-enabled-only`, the question of most health checks, the server says
/// that all is well.
async fn write_error(monitor: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Health {
        #[serde(default)]
        error: String,
    }
    let health: Health = ask(monitor, "/healthz").await?;
    Some(health.error).filter(|error| error.contains("JetStream") && error.contains("write error"))
}

async fn ask<T: DeserializeOwned>(monitor: &str, path: &str) -> Option<T> {
    let body = timeout(MONITORING_TIMEOUT, monitoring::get(monitor, path)).await;
    serde_json::from_slice(&body.ok()?.ok()?).ok()
}

/// Whether something can be written where the streams lie: what a quota or a broken disk leaves is told by
/// nothing else.
async fn has_room(data: &Path) -> bool {
    let file = data.join("room");
    let tried = tokio::task::spawn_blocking(move || {
        let written = write(&file);
        let _ = fs::remove_file(&file);
        written.is_ok()
    });
    tried.await.unwrap_or(false)
}

fn write(file: &Path) -> io::Result<()> {
    let mut file = File::create(file)?;
    file.write_all(&vec![0; ROOM])?;
    file.sync_all()
}

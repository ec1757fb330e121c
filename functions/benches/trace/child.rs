//! A process that serves, traced or not.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Failure;
use crate::collector::Mode;

/// The environment variable that tells a child which part it runs.
pub(crate) const PART: &str = "TRACE_PART";

/// Starts a child, and waits until it serves.
pub(crate) async fn start(
    part: &str,
    arguments: &[&str],
    url: &str,
    mode: &Mode,
) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(arguments)
        .env(PART, part)
        .env("NATS_URL", url)
        .envs(mode.variables())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    if let Ok(database) = std::env::var("BENCH_DATABASE_URL") {
        command.env("CHAT_DATABASE__URL", database);
    }
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if line.contains(" serves ") {
            return Ok(child);
        }
    }
    Err(format!("{part} does not serve").into())
}

/// The child's processor time, on a system with Linux's `/proc`.
pub(crate) fn processor_time(child: &Child) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id()?)).ok()?;
    let nanoseconds = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Some(Duration::from_nanos(nanoseconds))
}

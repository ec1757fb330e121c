//! A process that is measured from outside.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::Outcome;

/// The environment variable that makes this program a part of a benchmark, as `NAME/PART`.
const PART: &str = "BENCH_PART";

/// Which part of which benchmark this process is.
pub(crate) fn part() -> Option<(String, String)> {
    let text = std::env::var(PART).ok()?;
    let (name, part) = text.split_once('/')?;
    Some((name.to_owned(), part.to_owned()))
}

/// A process, killed when this is dropped.
pub(crate) struct Process {
    child: Child,
}

/// Another process of this program, which [`crate::contests::Contest::part`] runs.
pub(crate) fn command(contest: &str, part: &str) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    // For natsfn's command line; the other parts have none.
    command.arg("serve").env(PART, format!("{contest}/{part}"));
    Ok(command)
}

impl Process {
    /// Starts a command, which reads and prints nothing.
    pub(crate) fn spawn(mut command: Command) -> Outcome<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn()?;
        Ok(Self { child })
    }

    /// The memory that it has, in bytes, from Linux's `/proc`.
    pub(crate) fn memory(&self) -> Outcome<u64> {
        let id = self.child.id().ok_or("the process has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.split_whitespace().next());
        Ok(kib.ok_or("no VmRSS")?.parse::<u64>()? << 10)
    }

    /// Ends it, and waits for its end.
    pub(crate) async fn end(mut self) -> Outcome {
        Ok(self.child.kill().await?)
    }

    /// The processor time so far.
    pub(crate) fn processor_time(&self) -> Outcome<ProcessorTime> {
        let id = self.child.id().ok_or("the process has ended")?;
        ProcessorTime::of(&id.to_string())
    }
}

/// Processor time of a process.
#[derive(Clone, Copy)]
pub(crate) struct ProcessorTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl ProcessorTime {
    /// Of this process.
    pub(crate) fn of_this() -> Outcome<Self> {
        Self::of("self")
    }

    /// From Linux's `/proc`.
    fn of(id: &str) -> Outcome<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The second field is a name in parentheses, which may have spaces; utime and stime are the 14th and 15th.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        // A hundredth of a second on every Linux.
        let ticks = |at: usize| Outcome::Ok(Duration::from_millis(fields[at].parse::<u64>()? * 10));
        Ok(Self {
            user: ticks(11)?,
            system: ticks(12)?,
        })
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

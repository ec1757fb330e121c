//! The request to stop: SIGINT (Ctrl-C), SIGTERM, SIGQUIT, or SIGHUP (the terminal was closed).

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::say;
use crate::error::run_error::RunError;

/// Receives the signals from its creation on.
pub(in crate::cli) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    /// `None` if the program was started with this signal ignored, as by `nohup`: it should outlive its
    /// terminal.
    hangup: Option<Signal>,
}

impl Stop {
    /// Begins to listen: from now on a signal does not end the process by itself.
    pub(in crate::cli) fn listen() -> Result<Self, RunError> {
        let hangup = SignalKind::hangup();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup: if is_ignored(hangup) {
                None
            } else {
                Some(signal(hangup)?)
            },
        })
    }

    /// Returns at the first signal. A second one ends the process at once, for a user in a hurry. A
    /// second hangup does not: a shell and the kernel may both send one when a terminal is closed.
    pub(in crate::cli) async fn requested(mut self) {
        // Once it was listened to, a signal never ends the process by itself.
        let hangup = self.hangup.take();
        tokio::select! {
            () = self.pressed() => {}
            () = hung_up(hangup) => {}
        }
        tokio::spawn(async move {
            self.pressed().await;
            std::process::exit(130);
        });
    }

    /// As [`Stop::requested`], and says so.
    pub(in crate::cli) async fn announced(self) {
        self.requested().await;
        say("stopping");
    }

    async fn pressed(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

async fn hung_up(hangup: Option<Signal>) {
    match hangup {
        Some(mut hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether this process was started with a signal ignored; always false outside Linux.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

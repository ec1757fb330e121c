//! The thread that owns the process: it starts it, waits for its end, and starts it again.

use std::mem;
use std::process::Child;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::watch;

use super::launch::{Addresses, Launch, Launcher};
use crate::error::run_error::RunError;

/// How often the ports file is looked for while the process starts.
const LOOK: Duration = Duration::from_millis(5);
/// A process that lived this long is started again at once.
const LIVED_WELL: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The process's state, as others see it.
#[derive(Clone, Debug)]
pub(super) enum Status {
    Starting,
    Ready(Addresses),
    /// The first start failed; there will be no other.
    Failed(String),
    Down,
    Ended,
}

/// What the thread shall bring about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Up,
    Down,
    End,
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    status: watch::Receiver<Status>,
}

struct Shared {
    process: Mutex<Process>,
    changed: Condvar,
    status: watch::Sender<Status>,
}

struct Process {
    wanted: Wanted,
    child: Option<Child>,
    /// The child's end is asked for, so the next one need not wait.
    is_replaced: bool,
}

impl Keeper {
    /// Starts the thread. `setpriv` ties the process to the thread that starts it, not to the whole
    /// program: so this one starts it and ends only after it.
    pub(super) fn start(launcher: Launcher) -> Result<(Self, JoinHandle<()>), RunError> {
        let (sender, status) = watch::channel(Status::Starting);
        let process = Mutex::new(Process {
            wanted: Wanted::Up,
            child: None,
            is_replaced: false,
        });
        let shared = Arc::new(Shared {
            process,
            changed: Condvar::new(),
            status: sender,
        });
        let own = shared.clone();
        let thread = thread::Builder::new()
            .name("nats-server".to_owned())
            .spawn(move || own.keep(launcher))
            .map_err(|error| RunError::while_doing("a thread cannot be started", error))?;
        Ok((Self { shared, status }, thread))
    }

    /// Waits for a status; the last one where the thread has ended.
    pub(super) async fn reached(&self, is_it: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.status.clone();
        let is_it = |status: &Status| is_it(status) || matches!(status, Status::Ended);
        match status.wait_for(is_it).await {
            Ok(status) => status.clone(),
            Err(_) => Status::Ended,
        }
    }

    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.shared.process.lock().child.as_ref().map(Child::id)
    }

    /// Says what is wanted from now on, and to the process what that means for it.
    pub(super) fn want(&self, wanted: Wanted, signal: Signal) {
        let mut process = self.shared.process.lock();
        if process.wanted != Wanted::End {
            process.wanted = wanted;
        }
        process.signal(signal);
        self.shared.changed.notify_all();
    }

    /// Ends the process; the thread starts it again.
    pub(super) fn replace(&self, signal: Signal) {
        let mut process = self.shared.process.lock();
        if process.child.is_some() {
            process.is_replaced = true;
            // Whoever waits for the next process must not see this one's status.
            self.shared.status.send_replace(Status::Starting);
        }
        process.signal(signal);
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.shared.process.lock().signal(signal);
    }

    /// Lets the process stand still, and returns when it does: the signal alone is only on its way.
    pub(super) fn pause(&self) {
        let process = self.shared.process.lock();
        process.signal(Signal::STOP);
        if let Some(pid) = process.child.as_ref().and_then(pid) {
            wait(pid, WaitIdOptions::STOPPED | WaitIdOptions::EXITED);
        }
    }
}

/// Waits for a change of the process's state, which stays for others to see: an ended process stays
/// a zombie, so that its id cannot go to another one before the lock is held.
fn wait(pid: Pid, change: WaitIdOptions) {
    let options = change | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(pid), options).is_err_and(|error| error == rustix::io::Errno::INTR) {}
}

impl Process {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.as_ref().and_then(pid) {
            // It may have ended just now; the thread finds out.
            let _ = kill_process(pid, signal);
        }
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(child.id().cast_signed())
}

impl Shared {
    fn keep(&self, mut launcher: Launcher) {
        let mut is_first = true;
        let mut pause = Duration::ZERO;
        while self.wait_until_up(pause) {
            let started = Instant::now();
            let reason = match self.run(&mut launcher) {
                Ok(reason) => {
                    is_first = false;
                    reason
                }
                Err(reason) if is_first => {
                    self.status.send_replace(Status::Failed(reason));
                    return;
                }
                Err(reason) => reason,
            };
            let (wanted, is_replaced) = {
                let mut process = self.process.lock();
                (process.wanted, mem::take(&mut process.is_replaced))
            };
            if wanted == Wanted::Up {
                self.status.send_replace(Status::Starting);
                tracing::warn!(reason, "nats-server ended and is started again");
            }
            pause = match pause {
                _ if is_replaced || wanted != Wanted::Up || started.elapsed() > LIVED_WELL => {
                    Duration::ZERO
                }
                Duration::ZERO => Duration::from_millis(100),
                pause => (pause * 2).min(LONGEST_PAUSE),
            };
        }
        self.status.send_replace(Status::Ended);
    }

    /// Waits until a process is wanted, but at least for the pause; `false` at the end.
    fn wait_until_up(&self, pause: Duration) -> bool {
        let mut process = self.process.lock();
        let is_up = |process: &mut Process| process.wanted == Wanted::Up;
        self.changed.wait_while_for(&mut process, is_up, pause);
        while process.wanted == Wanted::Down {
            self.status.send_replace(Status::Down);
            self.changed.wait(&mut process);
        }
        process.wanted == Wanted::Up
    }

    /// One life of the process: why it ended, or why it never was ready.
    fn run(&self, launcher: &mut Launcher) -> Result<String, String> {
        let (report, pid) = {
            // The signals of others wait until there is a process that they can go to.
            let mut process = self.process.lock();
            if process.wanted != Wanted::Up {
                return Ok(String::new());
            }
            let Launch { child, report } = launcher.spawn()?;
            let pid = pid(&child);
            process.child = Some(child);
            (report, pid)
        };
        let addresses = loop {
            if let Some(addresses) = report.addresses() {
                break addresses;
            }
            if self.has_ended() {
                return Err(format!("nats-server did not start: {}", report.reason()));
            }
            if report.is_of_another() {
                let script = self.process.lock().child.take();
                if let Some(mut script) = script {
                    let _ = script.kill().and_then(|()| script.wait());
                }
                launcher.end_other();
                return Err(format!(
                    "{} is a script that starts nats-server and stays, so its signals would not reach the server: let \
                     NATS_SERVER name the program itself, or the script begin it by `exec`",
                    launcher.program()
                ));
            }
            thread::sleep(LOOK);
        };
        launcher.keep_ports(&addresses);
        self.status.send_replace(Status::Ready(addresses));
        if let Some(pid) = pid {
            wait(pid, WaitIdOptions::EXITED);
        }
        let child = self.process.lock().child.take();
        let status = child.and_then(|mut child| child.wait().ok());
        Ok(status.map_or_else(|| "it is gone".to_owned(), |status| status.to_string()))
    }

    /// Whether the process has ended; then it is forgotten.
    fn has_ended(&self) -> bool {
        let mut process = self.process.lock();
        let has_ended = match &mut process.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => true,
        };
        if has_ended {
            process.child = None;
        }
        has_ended
    }
}

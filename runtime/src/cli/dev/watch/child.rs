//! A process that serves the program, and how it is started.

use std::ffi::OsStr;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Fuse;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{self, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::output::complain;
use crate::config::RuntimeConfig;
use crate::error::run_error::RunError;
use crate::service::dev_listener::DevListener;

/// A process ends within this time after its drain: the last traces are sent, connections are closed.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// With what every instance is started.
pub(in crate::cli::dev) struct Launch<'a> {
    /// The configuration that the command line names.
    pub(in crate::cli::dev) config: Option<&'a Path>,
    pub(in crate::cli::dev) joined: PathBuf,
    pub(in crate::cli::dev) without: &'a [String],
    /// The listener of a task: while this lives, who connects waits for an instance.
    pub(in crate::cli::dev) listener: Option<DevListener>,
}

impl Launch<'_> {
    /// # Errors
    /// The program cannot be started.
    pub(super) fn start(&self, program: &Path) -> Result<Child, RunError> {
        let failed = |error: io::Error| {
            RunError::new(format!("{} cannot be started: {error}", program.display()))
        };
        let parent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = parent.local_addr().map_err(failed)?.to_string();
        let mut command = Command::new(program);
        command.arg("dev-instance");
        let mut option = |name: &str, value: &OsStr| {
            command.arg(name).arg(value);
        };
        option("--joined", self.joined.as_os_str());
        option("--parent", address.as_ref());
        if let Some(config) = self.config {
            option("--config", config.as_os_str());
        }
        for name in self.without {
            option("--without", name.as_ref());
        }
        if let Some(listener) = &self.listener {
            option("--listener", listener.task.as_ref());
            if let Some(websocket) = &listener.websocket {
                option("--websocket", websocket.as_ref());
            }
        }
        let stdin = match &self.listener {
            Some(listener) => OwnedFd::from(listener.listener().map_err(failed)?).into(),
            None => Stdio::null(),
        };
        // Ctrl-C in a terminal goes to the whole process group, and a child that drains already would end at once.
        command.stdin(stdin).process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        Child::new(child, parent).map_err(failed)
    }
}

/// How long it drains, and what it says of itself.
type Words = (Duration, String);

/// A process that serves, or will soon.
pub(super) struct Child {
    process: process::Child,
    /// What it says once it serves. It is waited for again after the connection ended without it.
    words: Fuse<oneshot::Receiver<Words>>,
    /// How long what is in flight may take.
    drain: Duration,
    /// Holds the connection by whose end the process learns of ours.
    _connection: AbortOnDropHandle<()>,
}

impl Child {
    fn new(process: process::Child, parent: std::net::TcpListener) -> io::Result<Self> {
        parent.set_nonblocking(true)?;
        let parent = TcpListener::from_std(parent)?;
        let (tell, words) = oneshot::channel();
        let connection = async move {
            let Ok((stream, _)) = parent.accept().await else {
                return;
            };
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            if stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                let _ = tell.send(read(line.trim_end()));
                // Until the process ends.
                let _ = stream.read_u8().await;
            }
        };
        Ok(Self {
            process,
            words: words.fuse(),
            drain: unknown_drain(),
            _connection: AbortOnDropHandle::new(tokio::spawn(connection)),
        })
    }

    /// Waits until it serves, and returns what it says of itself; as an error how it ended.
    pub(super) async fn ready(&mut self) -> Result<String, ExitStatus> {
        tokio::select! {
            biased;
            Ok((drain, words)) = &mut self.words => {
                self.drain = drain;
                Ok(words)
            }
            ended = self.process.wait() => Err(ended.unwrap_or_default()),
        }
    }

    /// Waits for its end.
    pub(super) async fn end(&mut self) -> ExitStatus {
        // It is our child, and waited for here only.
        self.process.wait().await.unwrap_or_default()
    }

    /// Lets it drain, and waits for its end. One that does not end is killed.
    pub(super) async fn drain(mut self) {
        // It may have ended by itself.
        let Some(id) = self.process.id() else { return };
        if let Some(pid) = Pid::from_raw(id.cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let limit = self.drain + AFTER_DRAIN;
        if timeout(limit, self.end()).await.is_err() {
            complain(format_args!(
                "the program's process {id} has not stopped within {limit:?}; it is killed"
            ));
            let _ = self.process.kill().await;
        }
    }
}

/// Reads what [`instance`](crate::cli::dev::instance) writes: seconds, and the words.
fn read(line: &str) -> Words {
    let (seconds, words) = line.split_once(' ').unwrap_or_default();
    let drain = seconds.parse().ok();
    let drain = drain.and_then(|it| Duration::try_from_secs_f64(it).ok());
    (drain.unwrap_or_else(unknown_drain), words.to_owned())
}

fn unknown_drain() -> Duration {
    RuntimeConfig::default().drain(None)
}

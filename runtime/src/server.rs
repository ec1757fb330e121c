//! A nats-server child process for development and tests. It ends with this process. If it dies alone,
//! it is restarted on the same ports; if its disk was full, or nearly so at its start, it is restarted
//! once there is room.

mod binary;
mod config;
#[cfg(feature = "cli")]
mod fetch;
mod health;
mod keeper;
mod launch;
mod limit;
pub(crate) mod monitoring;
mod stale;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::AbortHandle;

use crate::error::Source;
use crate::error::run_error::RunError;
use keeper::{Keeper, Status, Wanted};

#[cfg(feature = "cli")]
pub(crate) use binary::cached_binary;
#[cfg(feature = "cli")]
pub(crate) use binary::missing;
pub use config::{Ports, ServerConfig};
#[cfg(feature = "cli")]
pub(crate) use fetch::fetch;
pub use launch::Addresses;

/// How long a server may take to stop cleanly before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// A nats-server that runs. Dropping it kills the server.
///
/// ```no_run
/// use natsfn::server::{Server, ServerConfig};
///
/// # async fn run() -> Result<(), natsfn::RunError> {
/// let server = Server::start(ServerConfig::new("target/nats")).await?;
/// println!("NATS is at {}", server.url());
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    kept: Kept,
    health: AbortHandle,
    addresses: Addresses,
    data: PathBuf,
}

impl Server {
    /// Starts a server and waits until clients can connect.
    ///
    /// # Errors
    /// No nats-server is new enough, a port is in use, the directory cannot be written, or the
    /// configuration is wrong; the error names the cure.
    pub async fn start(config: ServerConfig) -> Result<Self, RunError> {
        let data = config.data.clone();
        let launcher = tokio::task::spawn_blocking(move || launch::Launcher::prepare(config))
            .await
            .map_err(Source::from)??;
        let kept = Kept::start(launcher)?;
        match kept
            .keeper
            .reached(|status| matches!(status, Status::Ready(_) | Status::Failed(_)))
            .await
        {
            Status::Ready(addresses) => {
                let (watched, directory) = (kept.keeper.clone(), data.clone());
                let watch = async move { health::watch(watched, &directory).await };
                Ok(Self {
                    kept,
                    health: tokio::spawn(watch).abort_handle(),
                    addresses,
                    data,
                })
            }
            Status::Failed(reason) => Err(RunError::new(reason)),
            _ => Err(RunError::new(
                "nats-server was not started: its keeper ended",
            )),
        }
    }

    /// The server's addresses. They do not change while this value lives.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Where clients connect.
    pub fn url(&self) -> &str {
        &self.addresses.nats
    }

    /// The file that the server logs to.
    pub fn log(&self) -> PathBuf {
        launch::log_file(&self.data)
    }

    /// The directory of streams, log and configuration.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The process, if there is one at the moment.
    pub fn pid(&self) -> Option<u32> {
        self.kept.keeper.pid()
    }

    /// Kills the process, as a crash does. It is restarted; [`Server::ready`] waits for that.
    pub fn kill(&self) {
        self.kept.keeper.replace(Signal::KILL);
    }

    /// Stops the process cleanly and waits until it runs again.
    pub async fn restart(&self) {
        self.kept.keeper.replace(Signal::TERM);
        self.ready().await;
    }

    /// Waits until clients can connect.
    pub async fn ready(&self) {
        self.kept
            .keeper
            .reached(|status| matches!(status, Status::Ready(_)))
            .await;
    }

    /// Kills the process and keeps it down until [`Server::up`].
    pub async fn down(&self) {
        self.kept.keeper.want(Wanted::Down, Signal::KILL);
        self.kept
            .keeper
            .reached(|status| matches!(status, Status::Down))
            .await;
    }

    /// Starts the process again after [`Server::down`] and waits until clients can connect.
    pub async fn up(&self) {
        self.kept.keeper.want(Wanted::Up, Signal::CONT);
        self.ready().await;
    }

    /// Replaces the configuration, as `nats-server --signal reload` does. The server's log says when it
    /// is in effect.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn reload(&self, text: &str) -> Result<(), RunError> {
        launch::write_configuration(&self.data, text)?;
        self.kept.keeper.signal(Signal::HUP);
        Ok(())
    }

    /// Suspends the process: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.kept.keeper.pause();
    }

    /// Resumes the process after [`Server::pause`].
    pub fn resume(&self) {
        self.kept.keeper.signal(Signal::CONT);
    }

    /// Stops the process cleanly, or kills it if that takes too long.
    pub async fn stop(self) {
        self.kept.keeper.want(Wanted::End, Signal::TERM);
        // A suspended process does not handle the first signal.
        self.kept.keeper.signal(Signal::CONT);
        let ended = self
            .kept
            .keeper
            .reached(|status| matches!(status, Status::Ended));
        let _ = tokio::time::timeout(STOP_DEADLINE, ended).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.health.abort();
    }
}

/// A process that ends with this value, also where nobody waits for its start any more.
struct Kept {
    keeper: Keeper,
    thread: Option<JoinHandle<()>>,
}

impl Kept {
    fn start(launcher: launch::Launcher) -> Result<Self, RunError> {
        let (keeper, thread) = Keeper::start(launcher)?;
        let thread = Some(thread);
        Ok(Self { keeper, thread })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.want(Wanted::End, Signal::KILL);
        if let Some(thread) = self.thread.take() {
            // It only panics where there is nothing left to keep.
            let _ = thread.join();
        }
    }
}

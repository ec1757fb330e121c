//! Hosts the services of a program in this process: starts each, starts it again when its connection
//! dies, drains all of them.

pub(super) mod board;
pub(super) mod listener;
pub(super) mod stop;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::program::Program;
use crate::config::{NatsConfig, RuntimeConfig};
use crate::error::run_error::{Reason, RunError};
use crate::nats::connect::{Trouble, pause};
use crate::nats::connections::Connections;
use crate::run::running::Running;
use crate::run::start::start;
use crate::service::Definition;
use board::{Board, Service as Told};

/// With a dead connection there is nobody to wait for.
const GIVE_UP: Duration = Duration::from_secs(1);

/// Serves every service of which something is served, until the word to stop, then drains them.
/// `ready` is called once all of them are.
///
/// # Errors
/// One cannot start, or `ready` fails: the others are drained too.
pub(super) async fn serve(
    program: Program,
    config: &RuntimeConfig,
    board: &Board,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce() -> Result<(), RunError>,
) -> Result<(), RunError> {
    let hosts: Vec<Host> = program
        .into_served()
        .into_iter()
        .map(|definition| {
            let (nats, section) = config.first_of(&[definition.name()]);
            Host {
                drain: config.drain(definition.drain),
                definition,
                nats,
                section,
                database_url: config.database_url().map(str::to_owned),
                troubles: Default::default(),
            }
        })
        .collect();
    board.begin(hosts.iter().map(Host::starting));
    let (word, ready) = (CancellationToken::new(), Cell::new(Some(ready)));
    let missing = Cell::new(hosts.len());
    let is_ready = || {
        missing.set(missing.get() - 1);
        let last = if missing.get() == 0 {
            ready.take()
        } else {
            None
        };
        last.map_or(Ok(()), |ready| ready())
    };
    let running = join_all(hosts.iter().map(async |host| {
        let ran = host.run(&word, board, is_ready).await;
        if ran.is_err() {
            board.drain();
            word.cancel();
        }
        ran
    }));
    let mut running = std::pin::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = stop => {
            board.drain();
            word.cancel();
            running.await
        }
    };
    ended.into_iter().collect()
}

/// A service, and what it needs to start.
struct Host {
    definition: Definition,
    nats: NatsConfig,
    /// Where in the configuration the login stands.
    section: String,
    database_url: Option<String>,
    /// How long what is in flight may take at a stop.
    drain: Duration,
    /// Why it has not started: what keeps it from being connected, and what from the rest.
    troubles: [Arc<Trouble>; 2],
}

impl Host {
    /// Starts, says so, serves until the word to stop, drains.
    async fn run(
        &self,
        stop: &CancellationToken,
        board: &Board,
        ready: impl FnOnce() -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let mut running = tokio::select! {
            running = self.start() => running?,
            () = stop.cancelled() => return Ok(()),
        };
        board.put(self.definition.name(), Told::Up(running.readiness()));
        if let Err(error) = ready() {
            running.stop(self.drain).await;
            return Err(error);
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                reason = running.lost() => tracing::error!("{reason}; starting again"),
            }
            let (name, starting) = self.starting();
            board.put(&name, starting);
            running.stop(GIVE_UP).await;
            running = tokio::select! {
                again = self.start_again() => again?,
                () = stop.cancelled() => return Ok(()),
            };
            board.put(&name, Told::Up(running.readiness()));
        }
        running.stop(self.drain).await;
        self.troubles.iter().for_each(|trouble| trouble.ignore());
        Ok(())
    }

    /// Its name, and what it says until it has started.
    fn starting(&self) -> (String, Told) {
        let functions = self.definition.function_names().map(str::to_owned);
        let starting = Told::Starting {
            functions: functions.collect(),
            troubles: self.troubles.clone(),
        };
        (self.definition.name().to_owned(), starting)
    }

    /// Connects and starts. A subscription that the server refuses is an error: NATS says so beside
    /// it, and the function would look as if it were served.
    async fn start(&self) -> Result<Running, RunError> {
        self.start_as(true, |error| !error.is_passing()).await
    }

    /// Starts what has run before: what stands against it passes, unless somebody must change it
    /// here. What the server refuses now it may allow later, and the other functions are served.
    async fn start_again(&self) -> Result<Running, RunError> {
        self.start_as(false, |error| error.reason() == Reason::Misuse)
            .await
    }

    /// Tries until it works, or there is an error that is final.
    async fn start_as(
        &self,
        is_strict: bool,
        is_final: impl Fn(&RunError) -> bool,
    ) -> Result<Running, RunError> {
        let [connecting, starting] = &self.troubles;
        let mut attempts = 0;
        loop {
            let name = self.definition.name();
            let mut connections =
                Connections::open_as(&self.nats, name, &self.section, connecting).await?;
            connections.is_strict = is_strict;
            let url = self.database_url.as_deref();
            match start(self.definition.clone(), connections, url).await {
                Err(error) if !is_final(&error) => {
                    starting.retry(error.to_string());
                    attempts += 1;
                    tokio::time::sleep(pause(attempts)).await;
                }
                done => {
                    starting.end();
                    return done;
                }
            }
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;

//! A service at work: told by discovery, lost with its connection, drained at its stop.

pub(crate) mod readiness;
pub(in crate::run) mod stores;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::discovery::Discovery;
use super::listener::Listener;
use super::ready::round_trip;
use crate::error::run_error::RunError;
use crate::function::database::Database;
use crate::function::invoke::end;
use crate::nats::jetstream::Nats;
use crate::service::trigger::RunningFunction;
use crate::telemetry::stats::State;
use crate::telemetry::unheard::{Unheard, health};
use readiness::Readiness;

/// A service at work. Dropping it does not drain: call [`Running::stop`].
#[must_use = "a running service is stopped with stop(), which drains it"]
pub struct Running {
    pub(crate) nats: Nats,
    pub(crate) unheard: Arc<Unheard>,
    /// The connection's own task has ended.
    pub(crate) ended: watch::Receiver<bool>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) functions: Listener,
    pub(crate) verbs: Listener,
    pub(crate) runs: Vec<(Arc<dyn RunningFunction>, JoinHandle<()>)>,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    /// Tells background work to stop, once its functions are finished.
    pub(crate) finished: watch::Sender<bool>,
    pub(crate) database: Option<Arc<dyn Database>>,
    pub(crate) readiness: Readiness,
}

impl Running {
    /// This instance's id in discovery.
    pub fn id(&self) -> &str {
        &self.discovery.id
    }

    /// What STATS would answer now.
    pub fn stats(&self) -> Value {
        self.discovery.stats(usize::MAX)
    }

    /// Whether this instance hears what reaches it by NATS. It asks nobody: while the database is away, or a function
    /// holds, this is `Ok`. A health check asks [`Running::readiness`].
    ///
    /// # Errors
    /// What keeps it: there is no connection, or the server refuses a subscription. Both are tried
    /// again until they work.
    pub fn health(&self) -> Result<(), String> {
        health(&self.nats, &self.unheard)
    }

    /// Tells whether this instance can do its work, and if not, why: it asks NATS and the database too.
    /// It outlives this, and tells of the drain.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The connection that the functions send on.
    pub fn nats(&self) -> &Nats {
        &self.nats
    }

    /// Returns when the connection is gone for good, with the reason: the client's own task has
    /// ended and nothing can be received any more. The host connects and starts again. A server
    /// that is away is no such case: the client reconnects by itself. Nor is one of the connections
    /// for requests: it is replaced.
    pub async fn lost(&self) -> RunError {
        let mut ended = self.ended.clone();
        tokio::select! {
            Ok(_) = ended.wait_for(|ended| *ended) => {}
            () = self.functions.lost() => {}
            () = self.verbs.lost() => {}
        }
        RunError::new(
            "the connection's own task has ended, or panicked: nothing is received any more",
        )
    }

    /// Drains: nothing new is taken, what is in flight is finished for at most `deadline`, the rest
    /// is given back. Then discovery falls silent and the connection is flushed.
    pub async fn stop(self, deadline: Duration) {
        let until = end(Instant::now(), deadline);
        for endpoint in &self.discovery.endpoints {
            endpoint.function.stats().enter(State::Draining);
        }
        self.functions.drain(until).await;
        for endpoint in &self.discovery.endpoints {
            let requests = endpoint.function.stats().in_flight.load(Relaxed);
            if requests > 0 {
                let function = endpoint.function.name();
                tracing::warn!(
                    function,
                    requests,
                    "unfinished at the stop, and not answered"
                );
            }
        }
        let given_back = self.runs.into_iter().map(async |(function, run)| {
            finish(run, until).await;
            function.give_back().await;
        });
        join_all(given_back).await;
        self.finished.send_replace(true);
        for task in self.tasks {
            finish(task, until).await;
        }
        for endpoint in &self.discovery.endpoints {
            endpoint.function.stats().enter(State::Stopped);
        }
        self.verbs
            .drain(until.max(Instant::now() + Duration::from_secs(1)))
            .await;
        // The answers and acks of the last functions are still in the connection's buffer.
        let _ = tokio::time::timeout(Duration::from_secs(2), round_trip(&self.nats)).await;
        if let Some(database) = self.database {
            let _ = tokio::time::timeout(Duration::from_secs(2), database.close()).await;
        }
    }
}

async fn finish(task: JoinHandle<()>, until: Instant) {
    let abort = task.abort_handle();
    if tokio::time::timeout_at(until, task).await.is_err() {
        abort.abort();
    }
}

//! Whether an instance can do its work: what its functions say, and what it needs answers.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State as Connection;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::function::database::Database;
use crate::nats::connections::Connector;
use crate::nats::jetstream::Nats;
use crate::run::listener::links::Links;
use crate::run::ready::round_trip;
use crate::run::running::stores::obstacles;
use crate::run::work::Failure;
use crate::service::stream::Stream;
use crate::service::trigger::RunningFunction;
use crate::telemetry::stats::State;
use crate::telemetry::unheard::Unheard;

/// How long NATS or the database may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Who waits so long for the database finds out whether it is away, or only busy.
const BUSY_AFTER: Duration = Duration::from_millis(250);

/// Why a function cannot do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The function's name; `discovery` where the instance cannot be discovered.
    pub function: String,
    /// The reason, one sentence or more, and the cure where it is known.
    pub reason: String,
}

/// Tells whether an instance can do its work: [`Running::readiness`](crate::Running::readiness).
#[derive(Clone)]
pub struct Readiness(pub(in crate::run) Arc<Needs>);

/// An instance, and what it needs.
pub(in crate::run) struct Needs {
    pub(in crate::run) service: String,
    pub(in crate::run) nats: Nats,
    pub(in crate::run) connector: Option<Arc<Connector>>,
    /// The connections on which requests come in.
    pub(in crate::run) links: Links,
    pub(in crate::run) unheard: Arc<Unheard>,
    pub(in crate::run) database: Option<Arc<dyn Database>>,
    pub(in crate::run) functions: Vec<Watched>,
    pub(in crate::run) stop: watch::Receiver<bool>,
}

/// A function, or background work by itself.
pub(in crate::run) struct Watched {
    pub(in crate::run) name: String,
    pub(in crate::run) function: Option<Arc<dyn RunningFunction>>,
    /// Whether its requests come in to a queue group; none where it answers none.
    pub(in crate::run) in_a_group: Option<bool>,
    pub(in crate::run) needs_database: bool,
    pub(in crate::run) stores: Vec<Stream>,
    /// Of its background work.
    pub(in crate::run) failures: Vec<Failure>,
}

impl Readiness {
    /// Asks NATS and the database, for at most a second, and says what keeps which function from its
    /// work. Empty: the instance is ready.
    pub async fn not_ready(&self) -> Vec<NotReady> {
        let needs = &*self.0;
        if *needs.stop.borrow() {
            return needs.everybody("draining");
        }
        if needs.nats.connection_state() != Connection::Connected {
            return needs.everybody(&needs.disconnected());
        }
        let (reachable, database, stores, ()) = tokio::join!(
            needs.ask_nats(),
            needs.ask_database(),
            needs.obstacles(),
            needs.refresh_counts()
        );
        if let Err(reason) = reachable {
            return needs.everybody(&reason);
        }
        let mut found = needs.each(|watched| {
            let of_links = || {
                let is_cut_off = !needs.links.are_connected(watched.in_a_group?);
                is_cut_off.then(|| {
                    "requests cannot come in: that connection to NATS is being made again"
                        .to_owned()
                })
            };
            let of_database = || database.clone().err().filter(|_| watched.needs_database);
            // A function may hold for the database: then both say the same.
            let halted = watched.halted();
            halted
                .or_else(of_database)
                .or_else(|| watched.without_store(&stores))
                .or_else(|| watched.state())
                .or_else(of_links)
                .or_else(|| watched.obstacle())
        });
        found.extend(needs.undiscovered());
        found
    }
}

impl Needs {
    /// Tells at the start which buckets nobody has made; functions that use it fail until it is there.
    pub(in crate::run) async fn warn(&self) {
        let stores = self.obstacles().await;
        for watched in &self.functions {
            if let Some(reason) = watched.without_store(&stores) {
                tracing::warn!(function = watched.name, "{reason}");
            }
        }
    }

    fn each(&self, reason: impl Fn(&Watched) -> Option<String>) -> Vec<NotReady> {
        let functions = self.functions.iter();
        let found = functions.filter_map(|watched| {
            Some(NotReady {
                function: watched.name.clone(),
                reason: reason(watched)?,
            })
        });
        found.collect()
    }

    fn everybody(&self, reason: &str) -> Vec<NotReady> {
        self.each(|_| Some(reason.to_owned()))
    }

    fn disconnected(&self) -> String {
        let known = self.connector.as_ref().and_then(|it| it.trouble());
        known.unwrap_or_else(|| "there is no connection to NATS".to_owned())
    }

    /// A connection may be dead without a word.
    async fn ask_nats(&self) -> Result<(), String> {
        match timeout(ANSWER_TIMEOUT, round_trip(&self.nats)).await {
            Ok(Ok(())) => Ok(()),
            // It may be the inbox that was taken: that is told by name.
            _ if !self.unheard.all().is_empty() => Err(self.unheard.all().join("; ")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("NATS does not answer".to_owned()),
        }
    }

    /// Asks for the schema until it is right, and each time for the id, which is there wherever `setup` was.
    async fn ask_database(&self) -> Result<(), String> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        let asked = async {
            database.check().await.map_err(|error| error.to_string())?;
            let id = database.identity().await;
            id.map_err(|error| format!("the database cannot be asked: {error}"))
        };
        let mut asked = pin!(timeout(ANSWER_TIMEOUT, asked));
        let shortage = async {
            sleep(BUSY_AFTER).await;
            let shortage = timeout(ANSWER_TIMEOUT - BUSY_AFTER, database.shortage());
            shortage.await.ok().flatten()
        };
        let (asked, shortage) = tokio::select! {
            asked = &mut asked => (asked, None),
            shortage = shortage => (asked.await, shortage),
        };
        match asked {
            Ok(asked) => asked.map(drop),
            Err(_) => Err(shortage.unwrap_or_else(|| "the database does not answer".to_owned())),
        }
    }

    /// The buckets and object stores that are used and cannot be, with the reason.
    async fn obstacles(&self) -> BTreeMap<&str, String> {
        let stores = self.functions.iter().flat_map(|it| &it.stores);
        obstacles(&self.nats, &self.service, stores).await
    }

    /// Who has paused a consumer tells nobody.
    async fn refresh_counts(&self) {
        let functions = self.functions.iter().filter_map(|it| it.function.as_ref());
        let _ = timeout(ANSWER_TIMEOUT, join_all(functions.map(|it| it.refresh()))).await;
    }

    /// The subjects of discovery that the server refuses, where no function tells of them.
    fn undiscovered(&self) -> Option<NotReady> {
        let refused = self.unheard.all();
        let told: Vec<String> = self
            .each(Watched::state)
            .into_iter()
            .map(|it| it.reason)
            .collect();
        let left: Vec<String> = refused
            .into_iter()
            .filter(|reason| !told.iter().any(|told| told.contains(reason)))
            .collect();
        (!left.is_empty()).then(|| NotReady {
            function: "discovery".to_owned(),
            reason: left.join("; "),
        })
    }
}

impl Watched {
    fn without_store(&self, obstacles: &BTreeMap<&str, String>) -> Option<String> {
        let mut stores = self.stores.iter();
        stores.find_map(|store| obstacles.get(store.name()).cloned())
    }

    fn halted(&self) -> Option<String> {
        let state = self.function.as_ref()?.stats().state();
        matches!(state, State::Halted(_)).then(|| state.to_string())
    }

    /// Its state, unless it is at work.
    fn state(&self) -> Option<String> {
        match self.function.as_ref()?.stats().state() {
            State::Running => None,
            state => Some(state.to_string()),
        }
    }

    fn obstacle(&self) -> Option<String> {
        let of_function = self.function.as_ref().and_then(|it| it.obstacle());
        let of_work = || {
            self.failures
                .iter()
                .find_map(|failure| failure.lock().clone())
        };
        of_function.map(str::to_owned).or_else(of_work)
    }
}

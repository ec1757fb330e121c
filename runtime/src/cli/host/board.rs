//! What a process says of itself: ready, or what keeps which function from its work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::reply::one_line;
use crate::nats::connect::Trouble;
use crate::run::running::readiness::{NotReady, Readiness};

/// For how long an answer is good: who asks more often costs NATS and the database nothing.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// What is known of the services of this process, all of them together.
#[derive(Default)]
pub(in crate::cli) struct Board {
    /// None while the program's services are being made.
    services: Mutex<Option<BTreeMap<String, Service>>>,
    is_draining: Mutex<bool>,
    /// The last answer. Who asks meanwhile waits for it.
    answer: tokio::sync::Mutex<Option<(Instant, Vec<String>)>>,
}

/// What is known of one service.
#[derive(Clone)]
pub(super) enum Service {
    /// It connects and subscribes; these say what is in its way, the first of them first.
    Starting {
        functions: Vec<String>,
        troubles: [Arc<Trouble>; 2],
    },
    Up(Readiness),
}

impl Board {
    /// These services are being started, and no others.
    pub(super) fn begin(&self, services: impl IntoIterator<Item = (String, Service)>) {
        *self.services.lock() = Some(services.into_iter().collect());
    }

    pub(super) fn put(&self, name: &str, service: Service) {
        let mut services = self.services.lock();
        services
            .get_or_insert_default()
            .insert(name.to_owned(), service);
    }

    /// From now on nothing new is taken.
    pub(super) fn drain(&self) {
        *self.is_draining.lock() = true;
    }

    /// What keeps the process from being ready, a line for each reason; empty where nothing does.
    pub(super) async fn not_ready(&self) -> Vec<String> {
        if *self.is_draining.lock() {
            return vec!["draining".to_owned()];
        }
        let mut answer = self.answer.lock().await;
        if let Some((at, known)) = &*answer
            && at.elapsed() < GOOD_FOR
        {
            return known.clone();
        }
        let found = self.ask().await;
        *answer = Some((Instant::now(), found.clone()));
        found
    }

    async fn ask(&self) -> Vec<String> {
        let Some(services) = self.services.lock().clone() else {
            return vec!["starting".to_owned()];
        };
        let asked = services.into_values().map(|service| async move {
            match service {
                Service::Up(readiness) => readiness.not_ready().await,
                Service::Starting {
                    functions,
                    troubles,
                } => {
                    let trouble = troubles.iter().find_map(|trouble| trouble.now());
                    let reason = trouble.map_or_else(
                        || "starting".to_owned(),
                        |trouble| format!("starting: {trouble}"),
                    );
                    let not_ready = |function| NotReady {
                        function,
                        reason: reason.clone(),
                    };
                    functions.into_iter().map(not_ready).collect()
                }
            }
        });
        lines(join_all(asked).await.into_iter().flatten())
    }
}

/// A line for each reason, with the functions that share it.
fn lines(found: impl IntoIterator<Item = NotReady>) -> Vec<String> {
    let mut by_reason: Vec<(String, Vec<String>)> = Vec::new();
    for NotReady { function, reason } in found {
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, functions)) => functions.push(function),
            None => by_reason.push((reason, vec![function])),
        }
    }
    let lines = by_reason
        .into_iter()
        .map(|(reason, functions)| format!("{}: {}", functions.join(", "), one_line(&reason)));
    lines.collect()
}

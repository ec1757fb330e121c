//! What a function counts, and the state that it is in: the source of STATS and of health.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::unheard::Unheard;
use crate::error::Error;
use crate::error::reply::one_line;

/// For how long it is exported what the server said of a consumer last. An instance that reaches no server
/// would show its lag for ever, and the largest of all instances' is what alerts and scaling go by.
#[cfg(any(feature = "otel", test))]
const LAG_KEPT: Duration = Duration::from_secs(60);

/// The counters that only functions of one kind have. Others do not export them: a zero that is always
/// there would hide that nobody consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counters {
    Request,
    Stream,
}

/// The state of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet subscribed.
    #[default]
    Starting,
    /// At work.
    Running,
    /// Something keeps it from its work, see [`crate::run::consumer::hold::Cause`]: nothing is given up meanwhile.
    Holding(String),
    /// Stopped by a [`crate::Kind::Halt`]; only a restart, once the cause is mended, goes on.
    Halted(String),
    /// Takes nothing new and finishes what it has.
    Draining,
    /// Finished.
    Stopped,
}

impl State {
    /// One word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Holding(_) => "holding",
            Self::Halted(_) => "halted",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    /// Why it holds or has halted.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Holding(reason) | Self::Halted(reason) => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(f, "{}: {reason}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

/// Counters of one function of one instance. Counting never waits.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) requests: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) processing_ns: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) pending: AtomicU64,
    pub(crate) ack_pending: AtomicU64,
    pub(crate) redelivered: AtomicU64,
    /// Deliveries beyond a message's first, since this instance began.
    pub(crate) redeliveries: AtomicU64,
    /// The age of the oldest message that is not settled; like the next two, kept fresh only where
    /// somebody measures.
    pub(crate) oldest_ms: AtomicU64,
    pub(crate) stream_bytes: AtomicU64,
    pub(crate) stream_limit: AtomicU64,
    /// When the server was last heard of the consumer, for metrics.
    lag_seen: Mutex<Option<Instant>>,
    last_error: Mutex<String>,
    /// What the service itself has to say of the function.
    shown: Mutex<Map<String, Value>>,
    state: Mutex<State>,
    /// Why nothing is delivered, where somebody has paused the consumer.
    paused: Mutex<Option<String>>,
    /// What it listens on, and whether the server lets it.
    listens: OnceLock<(Arc<Unheard>, String)>,
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Relaxed);
    }

    pub(crate) fn processed(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.processing_ns.fetch_add(nanos, Relaxed);
    }

    /// Counts an error; ADR-32 wants the last one as `<code>:<description>`.
    pub(crate) fn failed(&self, error: &Error) {
        self.errors.fetch_add(1, Relaxed);
        *self.last_error.lock() = format!(
            "{}:{}",
            error.kind().code(),
            one_line(error.public_message())
        );
    }

    pub(crate) fn last_error(&self) -> String {
        self.last_error.lock().clone()
    }

    pub(crate) fn pause(&self, paused: Option<String>) {
        *self.paused.lock() = paused;
    }

    /// Shows a value under a key of STATS' `data`; null takes it away.
    pub(crate) fn show(&self, key: &str, value: Value) {
        let mut shown = self.shown.lock();
        match value {
            Value::Null => shown.remove(key),
            value => shown.insert(key.to_owned(), value),
        };
    }

    pub(crate) fn shown(&self) -> Map<String, Value> {
        let shown = self.shown.lock();
        shown.clone()
    }

    pub(crate) fn state(&self) -> State {
        let state = self.state.lock().clone();
        let listens = self.listens.get();
        let paused = self.paused.lock();
        let paused = paused.clone();
        match (state, listens) {
            (State::Running, Some((unheard, subject))) => match unheard.reason(subject) {
                Some(reason) => State::Holding(reason),
                None => paused.map_or(State::Running, State::Holding),
            },
            (State::Running, None) => paused.map_or(State::Running, State::Holding),
            (state, _) => state,
        }
    }

    /// The server has just told the consumer's lag.
    pub(crate) fn see_lag(&self) {
        *self.lag_seen.lock() = Some(Instant::now());
    }

    /// Whether the consumer's lag is still known.
    #[cfg(any(feature = "otel", test))]
    pub(crate) fn knows_lag(&self) -> bool {
        let seen = *self.lag_seen.lock();
        seen.is_some_and(|seen| seen.elapsed() <= LAG_KEPT)
    }

    /// Says what the function listens on: while that is not subscribed it holds.
    pub(crate) fn listens_on(&self, unheard: &Arc<Unheard>, subject: String) {
        // Once in the life of a function.
        let _ = self.listens.set((unheard.clone(), subject));
    }

    /// Moves to a state. A halted function stays halted until it drains, and draining is never
    /// taken back by a dependency that goes or returns.
    pub(crate) fn enter(&self, next: State) {
        let mut state = self.state.lock();
        let allowed = match (&*state, &next) {
            (State::Stopped, _) => false,
            (State::Draining, next) => *next == State::Stopped,
            (State::Halted(_), next) => matches!(next, State::Draining | State::Stopped),
            _ => true,
        };
        if allowed {
            *state = next;
        }
    }
}

/// Counts something as in flight for as long as it lives, panics included.
pub(crate) struct InFlight<'a>(&'a AtomicU64);

impl<'a> InFlight<'a> {
    pub(crate) fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lag_is_known_for_a_minute_after_the_server_told_it() {
        let stats = Stats::default();
        assert!(!stats.knows_lag());
        stats.see_lag();
        tokio::time::advance(LAG_KEPT).await;
        assert!(stats.knows_lag());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!stats.knows_lag());
    }
}

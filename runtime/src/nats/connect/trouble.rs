//! What is wrong with a connection; the log has it once a minute, however often it comes and goes.

use std::time::{Duration, Instant};

use async_nats::Event;
use parking_lot::Mutex;

/// How often a trouble that lasts is told.
pub(crate) const TELL: Duration = Duration::from_secs(60);

/// What is wrong at the moment, of one connection or of all to one server.
#[derive(Default)]
pub(crate) struct Trouble(Mutex<Told>);

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    is_open: bool,
    is_over: bool,
    was_connected: bool,
    now: Option<String>,
}

impl Trouble {
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        let what = what();
        self.note(what.clone(), &what);
    }

    /// An attempt has failed, and another one follows.
    pub(crate) fn retry(&self, why: String) {
        let told = format!("trying again: {why}");
        self.note(why, &told);
    }

    fn note(&self, now: String, what: &str) {
        let mut told = self.0.lock();
        if !told.is_over && told.last.is_none_or(|last| last.elapsed() >= TELL) {
            told.last = Some(Instant::now());
            told.is_open = true;
            tracing::warn!("{what}");
        }
        told.now = Some(now);
    }

    /// What was wrong last, until the next connection.
    pub(crate) fn now(&self) -> Option<String> {
        self.0.lock().now.clone()
    }

    /// Whether there has been a connection.
    pub(super) fn was_connected(&self) -> bool {
        self.0.lock().was_connected
    }

    /// What was told is over.
    #[cfg(feature = "cli")]
    pub(crate) fn end(&self) {
        self.0.lock().now = None;
    }

    /// Nobody needs the connections any more: a server that stops now is no trouble.
    #[cfg(feature = "cli")]
    pub(crate) fn ignore(&self) {
        self.0.lock().is_over = true;
    }

    pub(super) fn hear(&self, event: &Event, shown: &str) {
        match event {
            Event::Connected => {
                let mut told = self.0.lock();
                told.now = None;
                told.was_connected = true;
                if std::mem::take(&mut told.is_open) {
                    tracing::info!("connected to NATS at {shown} again");
                }
            }
            Event::Disconnected => self.tell(|| format!("NATS at {shown} is away; trying again")),
            // The login's files; what is wrong with them has been told.
            Event::ClientError(error) if error.to_string().contains("failed signing nonce") => {}
            Event::ClientError(error) => {
                self.tell(|| format!("NATS at {shown} is away ({error}); trying again"));
            }
            Event::LameDuckMode => tracing::info!("NATS at {shown} is about to stop"),
            Event::SlowConsumer(_) => {
                tracing::warn!("messages were lost on the way in: this process does not keep up");
            }
            Event::ServerError(error) => tracing::warn!(%error, "NATS reports an error"),
            Event::Draining | Event::Closed => {}
        }
    }
}

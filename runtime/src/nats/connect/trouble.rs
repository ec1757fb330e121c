//! What is wrong with a connection; the log has it once a minute, however often it comes and goes.

use std::time::{Duration, Instant};

use async_nats::Event;
use parking_lot::Mutex;

/// How often a trouble that lasts is told.
pub(crate) const TELL: Duration = Duration::from_secs(60);

/// In the client's words for a file that is no PEM.
const PEM: [&str; 2] = ["section start", "base64 decode"];

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

    /// `unusable` says which files of TLS cannot be used.
    pub(super) fn hear(&self, event: &Event, shown: &str, unusable: impl Fn() -> Vec<String>) {
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
            Event::ClientError(error) => self.tell(|| {
                let files = unusable();
                let why = match error.to_string() {
                    _ if !files.is_empty() => files.join("; "),
                    // The client's words for a file that is no PEM show what stands in it; by now it is another.
                    of_pem if PEM.iter().any(|words| of_pem.contains(words)) => {
                        "a file of TLS was no PEM".to_owned()
                    }
                    other => other,
                };
                format!("NATS at {shown} is away ({why}); trying again")
            }),
            Event::LameDuckMode => tracing::info!("NATS at {shown} is about to stop"),
            Event::SlowConsumer(_) => {
                tracing::warn!("messages were lost on the way in: this process does not keep up");
            }
            Event::ServerError(error) => tracing::warn!(%error, "NATS reports an error"),
            Event::Draining | Event::Closed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::ClientError;

    use super::*;

    #[test]
    fn what_stands_in_a_file_of_tls_is_not_told() {
        let trouble = Trouble::default();
        let words = "illegal section start: [45, 45, 104, 117, 115, 104]";
        let event = Event::ClientError(ClientError::Other(words.to_owned()));
        for (unusable, told) in [
            (
                vec!["nats.key: it is no PEM".to_owned()],
                "nats.key: it is no PEM",
            ),
            (Vec::new(), "a file of TLS was no PEM"),
        ] {
            trouble.hear(&event, "nats://shop", || unusable.clone());
            let now = trouble.0.lock().now.clone().unwrap();
            assert!(now.contains(told) && !now.contains("104"), "{now}");
        }
    }
}

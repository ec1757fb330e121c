//! Streams that acknowledge nothing, as after a disk that was full: whoever publishes learns it at once.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::{Error, Result};

/// How long a stream may take to acknowledge. One that is well takes milliseconds; this is shorter than the
/// deadline of an endpoint, so that its caller is told the reason and not that time is over.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// A call that its function gave up counts as unanswered too, where it has waited for so long.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// What is known of each stream, by what its subjects have in common. While one acknowledges nothing, a single
/// call at a time finds out whether it does again, and the others are refused at once.
#[derive(Default)]
pub(crate) struct Breakers(Mutex<HashMap<String, Breaker>>);

#[derive(Default)]
struct Breaker {
    answered: Option<Instant>,
    /// Since when nothing was answered.
    silent: Option<Instant>,
    is_probed: bool,
}

impl Breakers {
    /// Waits for the stream's answer, unless it is known to give none.
    pub(crate) async fn guard<T>(
        &self,
        subjects: &str,
        append: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let call = self.begin(subjects)?;
        match timeout(ACK_TIMEOUT, append).await {
            Ok(answer) => {
                call.answered();
                answer
            }
            Err(_) => Err(Error::unavailable(format!(
                "the stream of {subjects} has not acknowledged within {} s; the message may be stored: \
                 repeat it with the same id",
                ACK_TIMEOUT.as_secs()
            ))),
        }
    }

    fn begin<'a>(&'a self, subjects: &'a str) -> Result<Call<'a>> {
        let is_probe = self.with(subjects, |breaker| match breaker.silent {
            None => Ok(false),
            Some(_) if !breaker.is_probed => {
                breaker.is_probed = true;
                Ok(true)
            }
            Some(since) => Err(Error::unavailable(format!(
                "the stream of {subjects} has acknowledged nothing for {} s: see /healthz of nats-server, \
                 which has to be started again after its disk was full",
                since.elapsed().as_secs()
            ))),
        })?;
        Ok(Call {
            breakers: self,
            subjects,
            started: Instant::now(),
            is_probe,
        })
    }

    fn with<T>(&self, subjects: &str, work: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breakers = self.0.lock();
        match breakers.get_mut(subjects) {
            Some(breaker) => work(breaker),
            None => work(breakers.entry(subjects.to_owned()).or_default()),
        }
    }
}

/// One call on its way. Without an answer it counts as unanswered when it is dropped.
struct Call<'a> {
    breakers: &'a Breakers,
    subjects: &'a str,
    started: Instant,
    is_probe: bool,
}

impl Call<'_> {
    /// The stream has said something, or the server for it.
    fn answered(&self) {
        self.breakers.with(self.subjects, |breaker| {
            breaker.answered = Some(Instant::now());
            if let Some(since) = breaker.silent.take() {
                let seconds = since.elapsed().as_secs();
                tracing::info!(
                    subjects = self.subjects,
                    seconds,
                    "the stream answers again"
                );
            }
        });
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.breakers.with(self.subjects, |breaker| {
            if self.is_probe {
                breaker.is_probed = false;
            }
            // Where others were answered meanwhile, only this answer was lost.
            let is_silent = breaker.answered.is_none_or(|at| at < self.started);
            if is_silent && breaker.silent.is_none() && self.started.elapsed() >= GIVEN_UP {
                breaker.silent = Some(self.started);
                tracing::warn!(subjects = self.subjects, "the stream acknowledges nothing");
            }
        });
    }
}

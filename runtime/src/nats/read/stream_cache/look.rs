//! Looks at a subject's last message, shared by all who ask for it at once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::error::Result;
use crate::nats::client::Client;
use crate::nats::jetstream::{self, calls};
use crate::nats::read::head::{Head, Last};
use crate::nats::read::shared_reads::SharedReads;

/// How long the leader may take. One that is well takes milliseconds, and the question has to be read after that.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// After so many looks in a row that nobody answered, none is made for a while: where the user may not look, each
/// takes the whole timeout. An error that is answered, as while a leader is elected, costs no time.
const UNANSWERED: u32 = 3;
const PAUSE: Duration = Duration::from_secs(10);

/// The part of the answer to `STREAM.MSG.GET` that is needed.
#[derive(Deserialize)]
struct Found {
    message: Last,
}

/// The looks in progress, and how many got no answer since one did.
#[derive(Default)]
pub(super) struct Looks {
    shared: SharedReads<Arc<str>, Option<Head>>,
    unanswered: Mutex<Unanswered>,
}

#[derive(Default)]
struct Unanswered {
    count: u32,
    last: Option<Instant>,
}

impl Looks {
    /// The last message of a subject, at a moment after this call. `None` if the look fails, or some got no answer lately.
    pub(super) async fn look(
        &self,
        client: &Client,
        stream: &str,
        subject: &Arc<str>,
    ) -> Option<Head> {
        if self.unanswered.lock().are_many() {
            return None;
        }
        let look = async || {
            let answer = timeout(LOOK_TIMEOUT, look(client, stream, subject)).await;
            self.note(client, stream, answer.is_ok());
            Ok(answer.ok().and_then(Result::ok).flatten())
        };
        self.shared.read(subject, look).await.ok().flatten()
    }

    /// Counts looks without an answer, and tells of the last one before the pause.
    fn note(&self, client: &Client, stream: &str, is_answered: bool) {
        let mut unanswered = self.unanswered.lock();
        if is_answered {
            unanswered.count = 0;
            return;
        }
        (unanswered.count, unanswered.last) = (unanswered.count + 1, Some(Instant::now()));
        if unanswered.count == UNANSWERED {
            tracing::warn!(
                stream,
                "no answer is kept until the stream's last messages are told: {UNANSWERED} times nobody has told one within {LOOK_TIMEOUT:?}; is the server busy or away, or may this user publish to {}?",
                client
                    .nats()
                    .api()
                    .subject(&calls::whole(&calls::message(stream)))
            );
        }
    }
}

impl Unanswered {
    fn are_many(&self) -> bool {
        let is_recent = |last: Instant| last.elapsed() < PAUSE;
        self.count >= UNANSWERED && self.last.is_some_and(is_recent)
    }
}

/// `None` if the connection was lost meanwhile.
async fn look(client: &Client, stream: &str, subject: &str) -> Result<Option<Head>> {
    let nats = client.nats();
    let connects = || nats.statistics().connects.load(Relaxed);
    let (before, looked) = (connects(), Instant::now());
    let last = json!({ "last_by_subj": subject });
    let found = jetstream::call::<Found>(nats, &calls::message(stream), &last).await;
    if connects() != before {
        return Ok(None);
    }
    let last = match found {
        Ok(found) => Some(found.message),
        Err(error) if jetstream::is_without_message(&error) => None,
        Err(error) => return Err(error),
    };
    Ok(Some(Head {
        last,
        connects: before,
        looked,
    }))
}

//! Fetches from a durable consumer. It keeps pull requests open on the server for no more messages than
//! the instance can hold, and waits for each message that is on its way.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::nats::jetstream::{Nats, calls};

/// How long the server keeps a pull request open. It is short because a stop waits for the last request
/// to end: a request withdrawn earlier would leave deliveries to the ack wait. An idle consumer asks
/// once in this time.
pub(crate) const EXPIRES: Duration = Duration::from_secs(1);

/// How long after that the server's answer may come before the pull request counts as lost.
const GRACE: Duration = Duration::from_millis(1500);

/// Bytes per pull request, unless a single message may be larger. The server ends a connection with
/// more unread bytes than its `max_pending`, and up to three requests are open at once.
const BYTES: usize = 2 << 20;

/// Room for a message's subjects, which `max_payload` does not count.
const SUBJECTS: usize = 16 << 10;

/// What the server sent.
pub(crate) enum Pulled {
    /// A message.
    Message(Box<Message>),
    /// A pull request has ended, or was lost; nothing else.
    Ended,
    /// The client's own task has ended; the host starts again.
    Closed,
    /// The consumer is not there (any more): find out what happened.
    Lost(String),
}

/// The pull requests of one consumer.
pub(crate) struct Puller {
    nats: Nats,
    subject: String,
    inbox: String,
    subscriber: Subscriber,
    /// Messages that the server may still send us.
    outstanding: usize,
    /// When all pull requests so far have certainly ended.
    ends: Instant,
}

impl Puller {
    pub(crate) async fn new(nats: &Nats, stream: &str, consumer: &str) -> Result<Self> {
        let inbox = nats.new_inbox();
        let subscriber = nats.subscribe(inbox.clone()).await.map_err(Error::from)?;
        Ok(Self {
            nats: nats.clone(),
            subject: nats.api().subject(&calls::pull(stream, consumer)),
            inbox,
            subscriber,
            outstanding: 0,
            ends: Instant::now(),
        })
    }

    /// Every pull request has ended: no message is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding == 0
    }

    /// Messages that the server may still send.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Asks for `n` more messages; the server keeps the request open for `expires`. Does nothing while
    /// disconnected: requests would collect in the connection's buffer and all be answered at once.
    pub(crate) async fn ask(&mut self, n: usize, expires: Duration) -> Result<()> {
        if n == 0 || self.nats.connection_state() != State::Connected {
            return Ok(());
        }
        let request = json!({
            "batch": n,
            "max_bytes": BYTES.max(self.nats.server_info().max_payload + SUBJECTS),
            "expires": u64::try_from(expires.as_nanos()).unwrap_or(u64::MAX),
        });
        self.nats
            .publish_with_reply(
                self.subject.clone(),
                self.inbox.clone(),
                request.to_string().into(),
            )
            .await
            .map_err(Error::from)?;
        self.outstanding += n;
        self.ends = Instant::now() + expires + GRACE;
        Ok(())
    }

    /// The next message or status from the server, or the end of the wait for it.
    pub(crate) async fn next(&mut self) -> Pulled {
        let wake = if self.outstanding == 0 {
            Instant::now() + EXPIRES
        } else {
            self.ends
        };
        match tokio::time::timeout_at(wake, self.subscriber.next()).await {
            Err(_) => {
                self.outstanding = 0;
                Pulled::Ended
            }
            Ok(None) => Pulled::Closed,
            Ok(Some(message)) => self.read(message),
        }
    }

    fn read(&mut self, message: Message) -> Pulled {
        let Some(status) = message.status else {
            self.outstanding = self.outstanding.saturating_sub(1);
            return Pulled::Message(Box::new(message));
        };
        let unsent = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Pending-Messages"))
            .and_then(|pending| pending.as_str().parse().ok());
        self.outstanding = self
            .outstanding
            .saturating_sub(unsent.unwrap_or(self.outstanding));
        match (status, message.description.as_deref().unwrap_or_default()) {
            // The request has expired, or there was no message.
            (StatusCode::TIMEOUT | StatusCode::NOT_FOUND, _) => Pulled::Ended,
            // Conflicts with other pull requests and limits end the request as well; only a lost
            // consumer differs.
            (status, text) if status.as_u16() == 409 && !text.contains("Consumer") => Pulled::Ended,
            (StatusCode::NO_RESPONDERS, _) => {
                self.outstanding = 0;
                Pulled::Lost("there is no such consumer".into())
            }
            (status, text) => {
                self.outstanding = 0;
                Pulled::Lost(format!("{status} {text}"))
            }
        }
    }
}

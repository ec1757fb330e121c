//! Fetches from a durable consumer. It keeps pull requests open on the server for no more messages than
//! the instance can hold, and waits for each message that is on its way.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::nats::jetstream::{ConsumerInfo, Nats, calls};

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

/// How the server's words begin where it takes no request: as many wait as may, or this one is over the consumer's
/// limits.
const REFUSED: &str = "Exceeded Max";
const TAKES_LESS: &str = "Exceeded MaxRequest";

/// Its words where the next message does not fit into what is left of the request.
const TOO_LARGE: &str = "Message Size Exceeds MaxBytes";

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
    /// The server has refused a request, and would refuse the next one too.
    not_before: Instant,
    /// How many bytes a request asks for: more where a message is larger than the server takes any more.
    bytes: usize,
}

/// The largest pull request that a consumer takes: an operator, or the server's `max_request_batch`, may limit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    expires: Duration,
}

impl Limits {
    pub(crate) fn of(consumer: &ConsumerInfo) -> Self {
        let limit = |key: &str| consumer.config.get(key).and_then(Value::as_u64);
        let limit = |key: &str| limit(key).filter(|limit| *limit > 0);
        let messages = limit("max_batch").and_then(|n| n.try_into().ok());
        Self {
            messages: messages.unwrap_or(usize::MAX),
            expires: limit("max_expires").map_or(Duration::MAX, Duration::from_nanos),
        }
    }
}

/// How many bytes one pull request asks for.
pub(crate) fn bytes(nats: &Nats) -> usize {
    BYTES.max(nats.server_info().max_payload + SUBJECTS)
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
            not_before: Instant::now(),
            bytes: 0,
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

    /// Asks for `n` more messages, or as many as the consumer takes; the server keeps the request open for `expires`.
    /// Does nothing while disconnected: requests would collect in the connection's buffer and all be answered at once.
    /// Nor for a while after the server has refused one.
    pub(crate) async fn ask(&mut self, n: usize, expires: Duration, limits: Limits) -> Result<()> {
        let (n, expires) = (n.min(limits.messages), expires.min(limits.expires));
        let may_ask = Instant::now() >= self.not_before;
        if n == 0 || !may_ask || self.nats.connection_state() != State::Connected {
            return Ok(());
        }
        self.bytes = self.bytes.max(bytes(&self.nats));
        let request = json!({
            "batch": n,
            "max_bytes": self.bytes,
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
        let left = |name: &'static str| {
            let left = message.headers.as_ref()?.get(name)?;
            left.as_str().parse::<usize>().ok()
        };
        let unsent = left("Nats-Pending-Messages");
        self.outstanding = self
            .outstanding
            .saturating_sub(unsent.unwrap_or(self.outstanding));
        let text = message.description.as_deref().unwrap_or_default();
        if status.as_u16() == 400 || text.starts_with(REFUSED) {
            self.not_before = Instant::now() + EXPIRES;
        }
        // Nothing was sent before it: the first message alone is larger.
        if text == TOO_LARGE && left("Nats-Pending-Bytes") == Some(self.bytes) {
            self.bytes = self.bytes.saturating_mul(2);
        }
        match (status, text) {
            // The request has expired, or there was no message.
            (StatusCode::TIMEOUT | StatusCode::NOT_FOUND, _) => Pulled::Ended,
            // Conflicts with other pull requests and limits end the request as well; only a lost
            // consumer differs, and one that takes smaller requests than it did.
            (status, text)
                if status.as_u16() == 409
                    && !text.contains("Consumer")
                    && !text.starts_with(TAKES_LESS) =>
            {
                Pulled::Ended
            }
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

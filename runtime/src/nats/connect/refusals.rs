//! What the server refuses on a connection: it says so beside the answers, and async-nats hands it
//! on beside them too.

use std::time::Duration;

use async_nats::Client;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::{Error, Result};

/// How long the server may take for an answer.
const REFUSALS_TIMEOUT: Duration = Duration::from_secs(10);

/// A subject that no server takes for a subscription: `>` may only be its end.
const BARRIER: &str = ">.end";

/// How the server refuses a subscription over its limit, without a word of which.
const TOO_MANY: &str = "maximum subscriptions exceeded";

/// What the server refuses on one connection, in the order in which it says so.
pub(crate) struct Refusals(mpsc::UnboundedReceiver<String>);

/// Where a connection's own task puts what the server refuses.
pub(super) type Sender = mpsc::UnboundedSender<String>;

pub(super) fn channel() -> (Sender, Refusals) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Refusals(receiver))
}

impl Refusals {
    /// The next refusal. None once the connection's own task has ended: it can do nothing any more.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let refusal = self.0.recv().await?;
            if !is_of_the_barrier(&refusal) {
                return Some(refusal);
            }
        }
    }

    /// What the server has refused of everything that was sent on the connection until now.
    ///
    /// A round trip of messages would not tell: the server says it in time, but within this process
    /// another task hands it on, maybe later than the answer. So the round trip is one of refusals:
    /// the last thing sent is one that every server refuses, and nothing else comes of it.
    ///
    /// # Errors
    /// The connection has ended, or the server does not answer.
    pub(crate) async fn so_far(&mut self, nats: &Client) -> Result<Vec<String>> {
        let barrier = format!("{}.{BARRIER}", nats.new_inbox());
        // It lives until it is refused: where the client connects again meanwhile, it is sent again.
        let _subscriber = nats.subscribe(barrier).await.map_err(Error::from)?;
        let mut refused = Vec::new();
        let answered = timeout(REFUSALS_TIMEOUT, async {
            while let Some(refusal) = self.0.recv().await {
                if is_of_the_barrier(&refusal) {
                    return Ok(());
                }
                if refusal.contains(TOO_MANY) {
                    return Err(Error::unavailable(
                        "the server takes no more subscriptions on this connection; let its max_subscriptions allow more",
                    ));
                }
                refused.push(refusal);
            }
            Err(Error::unavailable("the connection's own task has ended"))
        });
        match answered.await {
            Ok(answered) => answered.map(|()| refused),
            Err(_) => Err(Error::unavailable(
                "the server does not answer on this connection",
            )),
        }
    }
}

/// Whether an error of the server is about something that was sent. The others, such as a stale
/// connection, end the connection, and a new one is made.
pub(super) fn is_refusal(error: &str) -> bool {
    error.contains("Permissions Violation") || error.contains(TOO_MANY) || is_of_the_barrier(error)
}

/// Whoever may subscribe the inbox is told that the subject is invalid, others that they may not.
fn is_of_the_barrier(refusal: &str) -> bool {
    refusal.ends_with("Invalid Subject") || refusal.contains(&format!(".{BARRIER}\""))
}

/// The subject in the server's refusal of a subscription, if it is one.
pub(crate) fn subject(refusal: &str) -> Option<&str> {
    let (_, rest) = refusal.split_once("Permissions Violation for Subscription to \"")?;
    rest.split('"').next()
}

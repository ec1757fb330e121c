//! Reads one subscription until it is drained, closed, or ends with its connection.

use std::sync::Arc;

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pace::Pace;
use crate::nats::jetstream::Nats;
use crate::run::ready::round_trip;
use crate::service::trigger::Subscription;

/// With this number, `UNSUB` takes effect at once in nats-server, which reads at most nine digits and
/// ignores a longer number. async-nats never reaches it, so it still hands out what arrives.
const AT_ONCE: u64 = u64::MAX;

/// How many messages are handled before anything else is looked at.
const BURST: usize = 64;

/// What reads one subscription.
pub(super) struct Reader {
    pub(super) nats: Nats,
    pub(super) subscription: Arc<Subscription>,
    pub(super) stop: watch::Receiver<bool>,
    /// The server has ended the subscription.
    pub(super) closed: CancellationToken,
    pub(super) messages: TaskTracker,
    pub(super) pace: Arc<Pace>,
}

impl Reader {
    /// False where the subscription ended by itself: its connection can do nothing any more.
    pub(super) async fn read(mut self, mut subscriber: Subscriber) -> bool {
        loop {
            tokio::select! {
                next = subscriber.next() => match next {
                    Some(message) => self.burst(message, &mut subscriber),
                    None => return false,
                },
                () = told(&mut self.stop) => break,
                () = self.closed.cancelled() => {
                    self.finish(subscriber).await;
                    return true;
                }
            }
        }
        // async-nats' own `drain` forgets the subscription before the server has heard of it, and
        // drops what the server sent until then (15 requests at a stop under load). So the server
        // stops first, a round trip brings what it had sent, and then the subscription ends.
        if let Err(error) = subscriber.unsubscribe_after(AT_ONCE).await {
            tracing::warn!(%error, "a subscription was not drained");
            return true;
        }
        if let Err(error) = round_trip(&self.nats).await {
            tracing::warn!(%error, "a subscription was drained without the server");
        }
        self.finish(subscriber).await;
        true
    }

    /// Closes the subscription's channel; what is in it is still handled.
    async fn finish(&self, mut subscriber: Subscriber) {
        let _ = subscriber.unsubscribe().await;
        while let Some(message) = subscriber.next().await {
            self.handle(message);
        }
    }

    /// Handles a message, and those that have arrived with it.
    fn burst(&self, message: Message, subscriber: &mut Subscriber) {
        self.handle(message);
        for _ in 1..BURST {
            match subscriber.next().now_or_never() {
                Some(Some(message)) => self.handle(message),
                // Its end is seen by the next look too.
                Some(None) | None => return,
            }
        }
    }

    fn handle(&self, message: Message) {
        let arrived = Instant::now();
        let work = (self.subscription.handle)(message, arrived);
        self.pace.handle(work, arrived, &self.messages);
    }
}

/// Returns when told to stop, or when the sender is gone.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

//! Subscriptions that are read until they are drained; every message has a task of its own.

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::ready::round_trip;

/// An `UNSUB` after so many messages is one at once for nats-server: it reads at most nine digits,
/// and takes what is longer for no number. For async-nats it is never reached, so that it hands out
/// what still arrives.
const AT_ONCE: u64 = u64::MAX;

/// Some subscriptions that live and drain together.
pub(crate) struct Listener {
    nats: Client,
    stop: watch::Sender<bool>,
    lost: watch::Sender<bool>,
    readers: Vec<JoinHandle<()>>,
    messages: TaskTracker,
}

impl Listener {
    /// Of subscriptions on this connection.
    pub(crate) fn new(nats: Client) -> Self {
        Self {
            nats,
            stop: watch::channel(false).0,
            lost: watch::channel(false).0,
            readers: Vec::new(),
            messages: TaskTracker::new(),
        }
    }

    /// The word to stop, for what drains with these subscriptions.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Handles every message of a subscription in a task of its own, with the time of its arrival.
    pub(crate) fn listen<F, Fut>(&mut self, subscriber: Subscriber, handle: F)
    where
        F: Fn(Message, Instant) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (stop, lost) = (self.stop.subscribe(), self.lost.clone());
        let (nats, messages) = (self.nats.clone(), self.messages.clone());
        self.readers.push(tokio::spawn(async move {
            if !read(&nats, subscriber, stop, &messages, handle).await {
                lost.send_replace(true);
            }
        }));
    }

    /// Returns once a subscription has ended that nobody drained.
    pub(crate) async fn lost(&self) {
        // The sender lives as long as `self`.
        let _ = self.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// Unsubscribes, handles what the server had sent before it heard of that, and waits for the
    /// last message to be handled, until then.
    pub(crate) async fn drain(self, until: Instant) {
        self.stop.send_replace(true);
        for reader in self.readers {
            // What was on its way is in the tracker after this.
            let _ = timeout_at(until, reader).await;
        }
        self.messages.close();
        if timeout_at(until, self.messages.wait()).await.is_err() {
            tracing::warn!(
                unfinished = self.messages.len(),
                "not finished before the deadline"
            );
        }
    }
}

/// False where the subscription ended by itself.
async fn read<F, Fut>(
    nats: &Client,
    mut subscriber: Subscriber,
    mut stop: watch::Receiver<bool>,
    messages: &TaskTracker,
    handle: F,
) -> bool
where
    F: Fn(Message, Instant) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send + 'static,
{
    loop {
        tokio::select! {
            next = subscriber.next() => match next {
                Some(message) => {
                    messages.spawn(handle(message, Instant::now()));
                }
                None => return false,
            },
            () = told(&mut stop) => break,
        }
    }
    // async-nats' own `drain` forgets the subscription before the server has heard of it, and drops
    // what the server sent until then (15 requests at a stop under load). So the server stops
    // first, a round trip brings what it had sent, and then the subscription ends.
    if let Err(error) = subscriber.unsubscribe_after(AT_ONCE).await {
        tracing::warn!(%error, "a subscription was not drained");
        return true;
    }
    if let Err(error) = round_trip(nats).await {
        tracing::warn!(%error, "a subscription was drained without the server");
    }
    // It closes the channel; what is in it is still read.
    let _ = subscriber.unsubscribe().await;
    while let Some(message) = subscriber.next().await {
        messages.spawn(handle(message, Instant::now()));
    }
    true
}

/// Returns at the word to stop, or when the runtime that could give it is gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

//! Subscriptions that are read until they are drained; every message has a task of its own.

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

/// Some subscriptions that live and drain together.
pub(crate) struct Listener {
    stop: watch::Sender<bool>,
    lost: watch::Sender<bool>,
    readers: Vec<JoinHandle<()>>,
    messages: TaskTracker,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            stop: watch::channel(false).0,
            lost: watch::channel(false).0,
            readers: Vec::new(),
            messages: TaskTracker::new(),
        }
    }
}

impl Listener {
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
        let messages = self.messages.clone();
        self.readers.push(tokio::spawn(async move {
            if !read(subscriber, stop, &messages, handle).await {
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
    if let Err(error) = subscriber.drain().await {
        tracing::warn!(%error, "a subscription was not drained");
        return true;
    }
    while let Some(message) = subscriber.next().await {
        messages.spawn(handle(message, Instant::now()));
    }
    true
}

/// Returns at the word to stop, or when the runtime that could give it is gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

//! What background work of a service is given: connection, database, and the signal to stop.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;

use super::dev_listener::DevListener;
use crate::error::{Error, Result};
use crate::function::database::Database;
use crate::nats::client::Client;
use crate::nats::client::access::{Access, declares};
use crate::nats::jetstream::StreamInfo;
use crate::telemetry::stats::Stats;

/// The name of the function that background work belongs to, and what the work does by hand. See
/// [`Service::task`](crate::Service::task).
///
/// ```
/// use natsfn::{Access, Work};
///
/// let trim = Work::of("store").uses(Access::purge("ORDERS"));
/// ```
#[derive(Clone, Debug)]
pub struct Work {
    pub(crate) function: String,
    pub(crate) uses: Vec<Access>,
}

impl Work {
    /// Work that starts, runs and drains with this function.
    pub fn of(function: impl Into<String>) -> Self {
        Self {
            function: function.into(),
            uses: Vec::new(),
        }
    }

    declares!();
}

impl<T: Into<String>> From<T> for Work {
    fn from(function: T) -> Self {
        Self::of(function)
    }
}

/// What background work reaches, and the word to stop.
///
/// ```
/// use std::time::Duration;
///
/// use natsfn::{Background, Result};
///
/// /// Looks every few seconds up to where `store` has settled its stream.
/// async fn watch(mut background: Background, _state: ()) -> Result<()> {
///     let pause = Duration::from_secs(5);
///     while tokio::time::timeout(pause, background.stopped()).await.is_err() {
///         if let Some(settled) = background.settled("store").await? {
///             println!("{} is settled up to {}", settled.stream.config.name, settled.upto);
///         }
///     }
///     Ok(())
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").task("watch", watch);
/// ```
#[derive(Clone)]
pub struct Background {
    pub(crate) client: Client,
    pub(crate) database: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) dev_listener: Option<Arc<DevListener>>,
    pub(crate) feeds: Arc<[Arc<dyn StreamFunction>]>,
}

/// Up to where a stream is settled: what the service's own store has, or has a dead letter for.
#[derive(Debug)]
pub struct Settled {
    /// The stream, as it was then.
    pub stream: StreamInfo,
    /// Every message up to this sequence is settled.
    pub upto: u64,
}

/// A stream function of this process, as background work sees it.
pub(crate) trait StreamFunction: Send + Sync {
    fn name(&self) -> &str;

    /// See [`Background::settled`].
    fn settled<'a>(&'a self, background: &'a Background) -> BoxFuture<'a, Result<Option<Settled>>>;

    fn stats(&self) -> &Stats;
}

impl Background {
    /// What a service is asked with about its own store.
    pub(crate) fn of_store(
        client: Client,
        database: Option<&Arc<dyn Database>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            client,
            database: database.map(|database| database.handle()),
            stop,
            dev_listener: None,
            feeds: Arc::default(),
        }
    }

    /// The runtime's connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Up to where a stream function of this process has settled everything, so that the stream may
    /// be trimmed. It compares the consumer with the service's own store first, where that says how
    /// far it is ([`Consumer::floor`](crate::Consumer::floor)).
    ///
    /// `None` while it cannot be told: the consumer is being looked for, compared or recreated, or
    /// the connection was made anew and it has not been looked at since. A consumer that somebody
    /// else has recreated meanwhile counts for nothing either. Where the store lies behind, what it
    /// lacks is handled again from now on.
    ///
    /// # Errors
    /// This process does not serve such a stream function, or JetStream or the store does not answer.
    pub async fn settled(&self, function: &str) -> Result<Option<Settled>> {
        self.feed(function)?.settled(self).await
    }

    /// Shows a fact of the service's own under a key of `data` in a stream function's STATS, from now
    /// on: what an operator has to know and the log tells only once. The runtime's own keys stay as
    /// they are; null takes a fact away.
    ///
    /// # Errors
    /// This process does not serve such a stream function.
    pub fn show(&self, function: &str, key: &'static str, value: Value) -> Result<()> {
        self.feed(function)?.stats().show(key, value);
        Ok(())
    }

    fn feed(&self, function: &str) -> Result<&dyn StreamFunction> {
        let mut feeds = self.feeds.iter();
        let feed = feeds.find(|feed| feed.name() == function);
        feed.map(Arc::as_ref).ok_or_else(|| {
            Error::internal(format!(
                "this process serves no stream function {function:?}"
            ))
        })
    }

    /// Where `dev` lets a task listen. `None` where something else runs the service, and its
    /// configuration says where.
    pub fn dev_listener(&self) -> Option<&DevListener> {
        self.dev_listener.as_deref()
    }

    /// Returns once the functions of this process have drained: the work ends after them, so it
    /// sees what they have left.
    pub async fn stopped(&mut self) {
        // A sender that is gone is a runtime that is gone.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }
}

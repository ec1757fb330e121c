//! The connections that a service runs on.

use std::sync::Arc;

use super::connect::{Trouble, connect_sharing};
use super::link::Link;
use crate::config::NatsConfig;
use crate::error::run_error::RunError;
use crate::nats::jetstream::Nats;

/// The connections of a service.
///
/// [`Connections::open`] makes one connection for everything that the service sends, and others for
/// what it receives: `nats.request_connections` for requests, one for discovery, one for each stream
/// function, one for reads of streams. So a request or a stored message that ends a connection
/// (nats-io/nats.rs#1612) ends only that one, and only that one is replaced. A subscription that the
/// server ends is replaced.
///
/// A [`Nats`] or a plain [`async_nats::Client`] converts into one too. Then it serves everything, is not replaced, and the
/// server's refusals on it go unnoticed.
pub struct Connections {
    pub(crate) main: Link,
    pub(crate) connector: Option<Arc<Connector>>,
    /// Whether a refused subscription is an error at the start; if not, it is retried until it works.
    pub(crate) is_strict: bool,
}

impl Connections {
    /// Connects and retries as [`crate::connect()`] does. `name` is the connections' name on the
    /// server.
    ///
    /// # Errors
    /// Only what a retry cannot cure: an invalid address, a credentials file that cannot be read.
    pub async fn open(config: &NatsConfig, name: &str) -> Result<Self, RunError> {
        Self::open_as(config, name, "nats", &Arc::default()).await
    }

    /// As [`Connections::open`]; `section` is the part of the configuration that the login stands in, and
    /// `trouble` says meanwhile why there is no connection.
    pub(crate) async fn open_as(
        config: &NatsConfig,
        name: &str,
        section: &str,
        trouble: &Arc<Trouble>,
    ) -> Result<Self, RunError> {
        let connector = Connector {
            config: config.clone(),
            name: name.to_owned(),
            section: section.to_owned(),
            trouble: trouble.clone(),
        };
        Ok(Self {
            main: connector.connect("").await?,
            connector: Some(Arc::new(connector)),
            is_strict: true,
        })
    }
}

impl<N: Into<Nats>> From<N> for Connections {
    fn from(nats: N) -> Self {
        let nats = nats.into();
        Self {
            main: Link {
                nats,
                refusals: None,
            },
            connector: None,
            is_strict: true,
        }
    }
}

/// Makes connections for one process as one user.
pub(crate) struct Connector {
    config: NatsConfig,
    name: String,
    /// Where in the configuration the login stands.
    section: String,
    /// Shared: an unreachable server is unreachable for every connection.
    trouble: Arc<Trouble>,
}

impl Connector {
    /// Makes one more connection; waits until the server accepts it.
    pub(crate) async fn connect(&self, purpose: &str) -> Result<Link, RunError> {
        let name = format!("{} {purpose}", self.name);
        let (nats, refusals) =
            connect_sharing(&self.config, name.trim(), &self.section, &self.trouble).await?;
        Ok(Link {
            nats,
            refusals: Some(refusals),
        })
    }

    /// Why there is no connection.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.now()
    }

    /// How many connections share the requests.
    pub(crate) fn for_requests(&self) -> usize {
        self.config.request_connections.max(1)
    }

    /// The error for subscriptions to these subjects that the server refuses.
    pub(crate) fn refused(&self, subjects: &[String]) -> RunError {
        let user = self.config.user.as_deref();
        RunError::new(format!(
            "{} may not subscribe {}; allow that in its permissions, or serve only the functions that it is for: serve FUNCTION",
            user.map_or_else(
                || "this login".to_owned(),
                |user| format!("the user {user}")
            ),
            subjects.join(", ")
        ))
    }
}

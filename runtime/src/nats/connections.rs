//! The connections that a service runs on.

use std::sync::Arc;

use async_nats::Client;

use super::connect::{Trouble, connect_sharing};
use super::link::Link;
use crate::config::NatsConfig;
use crate::error::run_error::RunError;

/// What a service runs on.
///
/// [`Connections::open`] gives it one connection for everything that it sends, and others for what
/// comes in: `nats.request_connections` for requests, one for discovery, one for the messages of each
/// stream function, one for what functions read of streams. So a request or a stored message that
/// ends a connection (nats-io/nats.rs#1612) ends only that one, and it is replaced alone; and a
/// subscription that the server ends is made again.
///
/// A plain [`Client`] turns into one too: then it serves everything, nothing replaces it, and what
/// the server refuses on it is not noticed.
pub struct Connections {
    pub(crate) main: Link,
    pub(crate) connector: Option<Arc<Connector>>,
    /// Whether a subscription that the server refuses is an error at the start. Where it is none, it
    /// is tried again until it works.
    pub(crate) is_strict: bool,
}

impl Connections {
    /// Connects with patience, as [`crate::connect()`] does. `name` is what the server shows of the
    /// connections.
    ///
    /// # Errors
    /// Only what no patience helps with: an invalid address, a file of credentials that cannot be
    /// read.
    pub async fn open(config: &NatsConfig, name: &str) -> Result<Self, RunError> {
        let connector = Connector {
            config: config.clone(),
            name: name.to_owned(),
            trouble: Arc::default(),
        };
        Ok(Self {
            main: connector.connect("").await?,
            connector: Some(Arc::new(connector)),
            is_strict: true,
        })
    }
}

impl From<Client> for Connections {
    fn from(nats: Client) -> Self {
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
    /// A server that is away is away for all of them.
    trouble: Arc<Trouble>,
}

impl Connector {
    /// One more connection, as soon as the server lets it in.
    pub(crate) async fn connect(&self, purpose: &str) -> Result<Link, RunError> {
        let name = format!("{} {purpose}", self.name);
        let (nats, refusals) =
            connect_sharing(&self.config, name.trim(), "nats", &self.trouble).await?;
        Ok(Link {
            nats,
            refusals: Some(refusals),
        })
    }

    /// How many connections share the requests.
    pub(crate) fn for_requests(&self) -> usize {
        self.config.request_connections.max(1)
    }

    /// What is wrong where the server refuses subscriptions to these subjects.
    pub(crate) fn refused(&self, subjects: &[String]) -> RunError {
        let user = self.config.user.as_deref();
        RunError::new(format!(
            "{} may not subscribe {}; let its permissions allow that, or serve the functions that it is for: serve FUNCTION",
            user.map_or_else(
                || "this login".to_owned(),
                |user| format!("the user {user}")
            ),
            subjects.join(", ")
        ))
    }
}

//! A connection, and the JetStream that is used over it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use async_nats::{Client, jetstream};

use super::calls::Api;
use crate::config::NatsConfig;
use crate::error::{Error, Result};

/// A connection to NATS that knows which JetStream is meant: the server's own, or that of `nats.domain` or
/// `nats.api_prefix`. It is an [`async_nats::Client`] wherever one is borrowed. For JetStream take
/// [`Nats::jetstream`]: a context that is made of the plain client asks the server's own. Cloning is cheap.
///
/// ```no_run
/// use natsfn::{RunError, config::NatsConfig};
///
/// # async fn orders() -> Result<(), RunError> {
/// let config = NatsConfig { domain: Some("hub".to_owned()), ..NatsConfig::default() };
/// let nats = natsfn::connect(&config, "shop").await?;
/// nats.publish("orders.bob", "{}".into()).await?;
/// let orders = nats.jetstream().get_stream("ORDERS").await?; // the hub's
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Nats {
    client: Client,
    api: Arc<Api>,
}

impl Nats {
    /// The connection of this configuration.
    pub(crate) fn new(client: Client, config: &NatsConfig) -> Self {
        let api = Arc::new(Api::of(config));
        Self { client, api }
    }

    /// async-nats's JetStream, of the configured domain or under the configured prefix.
    pub fn jetstream(&self) -> jetstream::Context {
        match &*self.api {
            Api::Own => jetstream::new(self.client.clone()),
            Api::Domain(domain) => jetstream::with_domain(self.client.clone(), domain),
            Api::Prefix(prefix) => jetstream::with_prefix(self.client.clone(), prefix),
        }
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// The same connection with the JetStream of its own server and account.
    pub(crate) fn with_own_jetstream(&self) -> Self {
        Self::from(self.client.clone())
    }

    /// Refuses an acknowledgement of another domain: a leaf node's own JetStream may capture the subject too, and answers
    /// first.
    pub(crate) fn check_domain(
        &self,
        subject: &str,
        stream: &str,
        domain: Option<&str>,
    ) -> Result<()> {
        if !self.api.is_foreign(domain) {
            return Ok(());
        }
        let other = domain.map_or("without a domain".to_owned(), |it| {
            format!("of the domain {it}")
        });
        Err(Error::unavailable(format!(
            "a message on {subject} was acknowledged by the stream {stream} of the JetStream {other}, not by the stream for \
             {subject} in {}, which may have it too: take {subject} out of that stream {stream}, or delete it",
            self.api
        )))
    }
}

impl Deref for Nats {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("api", &self.api).finish()
    }
}

/// With the server's own JetStream.
impl From<Client> for Nats {
    fn from(client: Client) -> Self {
        Self {
            client,
            api: Arc::default(),
        }
    }
}

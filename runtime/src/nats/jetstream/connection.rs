//! A connection, and the JetStream that is used over it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use async_nats::{Client, jetstream};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::calls::{self, Api};
use super::{ApiError, call};
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
    meant: Arc<Meant>,
}

/// Which JetStream is meant, and what its servers call its domain once they were asked.
#[derive(Default)]
struct Meant {
    api: Api,
    domain: OnceCell<Option<String>>,
}

#[derive(Deserialize)]
struct AccountInfo {
    domain: Option<String>,
}

impl Nats {
    /// The connection of this configuration.
    pub(crate) fn new(client: Client, config: &NatsConfig) -> Self {
        let meant = Arc::new(Meant {
            api: Api::of(config),
            domain: OnceCell::new(),
        });
        Self { client, meant }
    }

    /// async-nats's JetStream, of the configured domain or under the configured prefix.
    pub fn jetstream(&self) -> jetstream::Context {
        match &self.meant.api {
            Api::Own => jetstream::new(self.client.clone()),
            Api::Domain(domain) => jetstream::with_domain(self.client.clone(), domain),
            Api::Prefix(prefix) => jetstream::with_prefix(self.client.clone(), prefix),
        }
    }

    pub(crate) fn api(&self) -> &Api {
        &self.meant.api
    }

    /// What the servers of the JetStream that is meant call its domain: an import or a mapping may lead there under another
    /// name.
    pub(crate) async fn domain(&self) -> Result<Option<&str>> {
        let ask = async || {
            let info: AccountInfo = call(self, calls::INFO, &()).await?;
            Ok::<_, Error>(info.domain)
        };
        let domain = self.meant.domain.get_or_try_init(ask).await?;
        Ok(domain.as_deref())
    }

    /// The same connection with the JetStream of its own server and account.
    pub(crate) fn with_own_jetstream(&self) -> Self {
        Self::from(self.client.clone())
    }

    /// Who refuses a message does not say of which JetStream it is: where there may be two, ours may have stored it.
    pub(super) fn refusal(&self, refused: Error) -> Error {
        let is_answer = |it: &Error| it.source().is_some_and(|it| it.is::<ApiError>());
        if self.api().is_own() || !is_answer(&refused) {
            return refused;
        }
        let why = format!(
            "{refused}; it may be stored all the same, if a stream that is not of {} has refused it",
            self.api()
        );
        Error::new(refused.kind(), why)
    }

    /// Refuses an acknowledgement of another domain: a leaf node's own JetStream may capture the subject too, and answers
    /// first.
    pub(crate) async fn check_domain(
        &self,
        subject: &str,
        stream: &str,
        domain: Option<&str>,
    ) -> Result<()> {
        let Api::Domain(named) = self.api() else {
            return Ok(());
        };
        let is_known = self.meant.domain.initialized();
        // It need not be asked where the name is right.
        if (!is_known && domain == Some(named)) || self.domain().await.is_ok_and(|it| it == domain)
        {
            return Ok(());
        }
        let other = domain.map_or("without a domain".to_owned(), |it| {
            format!("of the domain {it}")
        });
        Err(Error::unavailable(format!(
            "a message on {subject} was acknowledged by the stream {stream} of the JetStream {other}, not by the stream for \
             {subject} in {}, which may have it too: take {subject} out of the subjects of that stream {stream}, or name it \
             differently here",
            self.api()
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
        f.debug_struct("Nats").field("api", self.api()).finish()
    }
}

/// With the server's own JetStream.
impl From<Client> for Nats {
    fn from(client: Client) -> Self {
        Self {
            client,
            meant: Arc::default(),
        }
    }
}

/// The connection alone: a JetStream context that is made of it is that of its own server and account.
impl From<Nats> for Client {
    fn from(nats: Nats) -> Self {
        nats.client
    }
}

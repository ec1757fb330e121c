//! Background work of a service: what it is given.

use std::any::Any;
use std::sync::Arc;

use tokio::sync::watch;

use crate::client::Client;
use crate::dev_page::DevPage;

/// What background work reaches, and the word to stop.
#[derive(Clone)]
pub struct Background {
    pub(crate) client: Client,
    pub(crate) database: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) dev_page: Option<Arc<DevPage>>,
}

impl Background {
    /// The runtime's connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where `dev` lets the page listen. `None` where something else runs the service, and its
    /// configuration says where.
    pub fn dev_page(&self) -> Option<&DevPage> {
        self.dev_page.as_deref()
    }

    /// Returns once the functions of this process have drained: the work ends after them, so it
    /// sees what they have left.
    pub async fn stopped(&mut self) {
        // A sender that is gone is a runtime that is gone.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }
}

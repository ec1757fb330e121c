//! The place that `dev` takes for a service's page.

use std::io;
use std::net::TcpListener;

/// Where `dev` lets a service's page listen, and what a browser needs that no configuration could
/// tell before the server ran.
pub struct DevPage {
    pub(crate) listener: TcpListener,
    pub(crate) websocket: Option<String>,
}

impl DevPage {
    /// A listener on the page's port, which was taken before anything else started: whoever
    /// connects early waits.
    ///
    /// # Errors
    /// The process has too many open files.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// Where browsers reach NATS, `ws://...`, where the server's configuration has that.
    pub fn websocket(&self) -> Option<&str> {
        self.websocket.as_deref()
    }
}

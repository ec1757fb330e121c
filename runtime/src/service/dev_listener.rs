//! The listener that `dev` opens for a task.

use std::io;
use std::net::TcpListener;

/// Where `dev` lets a task listen, and values for its clients that are known only once the server runs.
pub struct DevListener {
    #[cfg(feature = "cli")]
    pub(crate) task: String,
    pub(crate) port: u16,
    pub(crate) listener: TcpListener,
    pub(crate) websocket: Option<String>,
}

impl DevListener {
    /// The number of its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A listener on the port. The port was bound before anything else started, so early connections
    /// wait.
    ///
    /// # Errors
    /// The process has too many open files.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// The WebSocket address of NATS for browsers, `ws://...`, once the server runs and if its
    /// configuration has one.
    pub fn websocket(&self) -> Option<&str> {
        self.websocket.as_deref()
    }
}

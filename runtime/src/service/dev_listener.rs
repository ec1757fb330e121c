//! The listener that `dev` opens for a task.

use std::io;
use std::net::TcpListener;

/// Where `dev` lets a task listen, and what the task's clients need that no configuration could
/// tell before the server ran.
pub struct DevListener {
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

    /// A listener on the port, which was taken before anything else started: whoever connects early
    /// waits.
    ///
    /// # Errors
    /// The process has too many open files.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// Where browsers reach NATS, `ws://...`, once the server runs and where its configuration has
    /// that.
    pub fn websocket(&self) -> Option<&str> {
        self.websocket.as_deref()
    }
}

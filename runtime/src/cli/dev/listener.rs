//! The listener of a task in `dev`, opened before anything starts.

use std::io;
use std::net::TcpListener;

use figment::value::{Dict, Value};

use crate::error::run_error::RunError;
use crate::server::Addresses;
use crate::service::dev_listener::DevListener;

const HOST: &str = "127.0.0.1";

/// The listener of a task, whether `dev` runs the task or the user does.
pub(super) struct Listener {
    pub(super) task: String,
    port: u16,
    /// `None` once it is handed on.
    open: Option<DevListener>,
}

/// Binds the port for a task; 0 means any free one.
pub(super) fn open(task: &str, port: u16) -> Result<DevListener, RunError> {
    let refuse = |error: io::Error| {
        let cure = "choose another with --port";
        RunError::new(match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("port {port} (the {task}) is in use: stop what listens there, or {cure}")
            }
            _ => format!("port {port} (the {task}) cannot be opened: {error}; {cure}"),
        })
    };
    let listener = TcpListener::bind((HOST, port)).map_err(refuse)?;
    Ok(DevListener {
        task: task.to_owned(),
        port: listener.local_addr()?.port(),
        listener,
        websocket: None,
    })
}

impl Listener {
    pub(super) fn new(open: DevListener) -> Self {
        Self {
            task: open.task.clone(),
            port: open.port,
            open: Some(open),
        }
    }

    /// The address for the browser.
    pub(super) fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The listener for the task. Dropping it releases the port.
    pub(super) fn hand_on(&mut self, found: &Addresses) -> Option<DevListener> {
        let websocket = found.websocket.clone();
        self.open
            .take()
            .map(|open| DevListener { websocket, ..open })
    }

    /// The service's own values, with the task's addresses as `TASK.listen` and `TASK.websocket`.
    pub(super) fn settings(&self, own_values: &Dict, found: &Addresses) -> Dict {
        let mut values = own_values.clone();
        let mut section = match values.remove(&self.task) {
            Some(Value::Dict(_, section)) => section,
            _ => Dict::new(),
        };
        let listen = format!("{HOST}:{}", self.port);
        section.insert("listen".to_owned(), listen.into());
        if let Some(websocket) = &found.websocket {
            section.insert("websocket".to_owned(), websocket.as_str().into());
        }
        values.insert(self.task.clone(), section.into());
        values
    }
}

//! The listener of a task in `dev`, opened before anything starts.

use std::io;
use std::net::TcpListener;

use figment::value::{Dict, Value};

use crate::error::run_error::RunError;
use crate::server::Addresses;
use crate::service::dev_listener::DevListener;

const HOST: &str = "127.0.0.1";

/// Where a task listens, whether `dev` runs it or it is left to be served by hand.
pub(super) struct Listener {
    pub(super) task: String,
    port: u16,
    /// Gone once it is handed on.
    open: Option<DevListener>,
}

/// Takes the port for a task; 0 takes any free one.
pub(super) fn open(task: &str, port: u16) -> Result<DevListener, RunError> {
    let refuse = |error: io::Error| {
        let cure = "choose another with --port";
        RunError::new(match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("port {port} (the {task}) is in use: stop what listens there, or {cure}")
            }
            _ => format!("port {port} (the {task}) cannot be had: {error}; {cure}"),
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

    /// What a person opens.
    pub(super) fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// What the task gets. Whoever drops it lets the port go.
    pub(super) fn hand_on(&mut self, found: &Addresses) -> Option<DevListener> {
        let websocket = found.websocket.clone();
        self.open
            .take()
            .map(|open| DevListener { websocket, ..open })
    }

    /// The service's own values, and among them where the task listens: `TASK.listen` and
    /// `TASK.websocket`.
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

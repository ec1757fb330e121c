//! The port of a service's page in `dev`, taken before anything starts.

use std::io;
use std::net::TcpListener;

use figment::value::{Dict, Value};

use crate::error::run_error::RunError;
use crate::server::Addresses;
use crate::service::dev_page::DevPage;

const HOST: &str = "127.0.0.1";

/// The port of the service's page. It is taken as long as this lives, or the page that it becomes.
pub struct PagePort {
    listener: TcpListener,
    port: u16,
}

/// A page that `dev` serves, or leaves to be served by hand.
pub(super) struct Page {
    /// The function that serves it.
    pub(super) function: String,
    port: u16,
    /// Gone once it is handed on.
    listener: Option<TcpListener>,
}

impl PagePort {
    /// Takes the port; 0 takes any free one.
    pub(super) fn take(port: u16) -> Result<Self, RunError> {
        let refuse = |error: io::Error| {
            let cure = "choose another with --port";
            RunError::new(match error.kind() {
                io::ErrorKind::AddrInUse => {
                    format!("port {port} (the page) is in use: stop what listens there, or {cure}")
                }
                _ => format!("port {port} (the page) cannot be had: {error}; {cure}"),
            })
        };
        let listener = TcpListener::bind((HOST, port)).map_err(refuse)?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.port
    }
}

impl Page {
    pub(super) fn new(function: String, port: PagePort) -> Self {
        Self {
            function,
            port: port.port,
            listener: Some(port.listener),
        }
    }

    /// What a person opens.
    pub(super) fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// What the function gets. Whoever drops it lets the port go.
    pub(super) fn place(&mut self, found: &Addresses) -> Option<DevPage> {
        Some(DevPage {
            listener: self.listener.take()?,
            websocket: found.websocket.clone(),
        })
    }

    /// The service's own values, and among them where the page is: `FUNCTION.listen` and
    /// `FUNCTION.websocket`.
    pub(super) fn settings(&self, own_values: &Dict, found: &Addresses) -> Dict {
        let mut values = own_values.clone();
        let mut section = match values.remove(&self.function) {
            Some(Value::Dict(_, section)) => section,
            _ => Dict::new(),
        };
        let listen = format!("{HOST}:{}", self.port);
        section.insert("listen".to_owned(), listen.into());
        if let Some(websocket) = &found.websocket {
            section.insert("websocket".to_owned(), websocket.as_str().into());
        }
        values.insert(self.function.clone(), section.into());
        values
    }
}

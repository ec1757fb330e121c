//! The settings with which a server starts.

use std::path::PathBuf;

/// The default configuration: JetStream that keeps what it acknowledges, WebSocket and monitoring.
const MINIMAL: &str = "\
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
http_port: $NATS_CONF_MONITOR_PORT
ping_interval: \"3s\"
websocket { host: $NATS_CONF_HOST, port: $NATS_CONF_WEBSOCKET_PORT, no_tls: true }
jetstream { store_dir: $NATS_CONF_STORE_DIR, sync_interval: always }
";

/// The settings with which a server starts: by default free ports on 127.0.0.1, no users, JetStream.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(super) data: PathBuf,
    pub(super) text: String,
    pub(super) variables: Vec<(String, String)>,
    pub(super) ports: Ports,
    pub(crate) binary: Option<PathBuf>,
}

/// The ports that a server listens on; 0 is any free one, chosen at the first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// For clients.
    pub client: u16,
    /// For browsers.
    pub websocket: u16,
    /// For monitoring over HTTP.
    pub monitor: u16,
}

impl Ports {
    /// The usual ports: 4222, 9222, 8222.
    pub const USUAL: Self = Self {
        client: 4222,
        websocket: 9222,
        monitor: 8222,
    };
}

impl ServerConfig {
    /// A server with its streams, log and configuration in a directory, which is created if missing.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            text: MINIMAL.to_owned(),
            variables: Vec::new(),
            ports: Ports::default(),
            binary: None,
        }
    }

    /// The ports, instead of free ones.
    #[must_use]
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// A configuration in nats-server's language instead of the default. It takes host, ports and the
    /// directory of the streams from the variables `$NATS_CONF_HOST`, `$NATS_CONF_PORT`,
    /// `$NATS_CONF_WEBSOCKET_PORT`, `$NATS_CONF_MONITOR_PORT` and `$NATS_CONF_STORE_DIR`.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Adds lines to the configuration. Of a key that stands there twice, nats-server takes the last.
    #[cfg(feature = "testing")]
    pub(crate) fn add(mut self, lines: &str) -> Self {
        self.text.push('\n');
        self.text.push_str(lines);
        self
    }

    /// Sets a variable of the configuration to a text, such as a password.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, text: &str) -> Self {
        self.variables.push((name.into(), quoted(text)));
        self
    }

    /// Sets a variable of the configuration to a list of texts.
    #[must_use]
    pub fn list<'a>(
        mut self,
        name: impl Into<String>,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let texts: Vec<String> = texts.into_iter().map(quoted).collect();
        self.variables
            .push((name.into(), format!("[{}]", texts.join(", "))));
        self
    }

    /// The program, instead of the one that `NATS_SERVER`, `PATH` or `target/tools` provides.
    #[must_use]
    pub fn binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.binary = Some(binary.into());
        self
    }
}

/// A text in quotes: nats-server parses a variable as if it were in the file, where digits are a number
/// and a space ends a word.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

//! What can be configured beside the connection and the database.

use serde::Deserialize;

/// chat's own keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Limits of what a person may send.
    pub send: Send,
    /// The log.
    pub stream: Stream,
}

/// `send.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Send {
    /// Messages a second from one person, over time.
    pub rate: f64,
    /// Messages at once after a pause.
    pub burst: u32,
}

/// `stream.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// The most bytes that the log holds. It is trimmed behind the database once it is half full;
    /// when it is full all the same, sending answers 503.
    pub max_bytes: i64,
    /// Servers that hold it: 1, 3 or 5.
    pub replicas: usize,
    /// Days for which what is stored stays in the log too: a backup of the database that is
    /// younger than that loses nothing.
    pub keep_days: u32,
}

impl Default for Send {
    fn default() -> Self {
        Self {
            rate: 10.0,
            burst: 50,
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            replicas: 1,
            keep_days: 7,
        }
    }
}

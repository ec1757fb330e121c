//! chat's configuration; the connection and the database are natsfn's.

pub mod auth;
pub mod page;

use std::fmt::Display;

use natsfn::config::checked;
use serde::{Deserialize, Deserializer};

/// The smallest `stream.max_bytes`: a smaller log is full after some dozens of messages.
const LEAST_BYTES: i64 = 1 << 20;

/// chat's own keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Limits of what a person may send.
    pub send: Send,
    /// Limits of what a person may read.
    pub history: History,
    /// The log.
    pub stream: Stream,
    /// The page over HTTP.
    pub page: page::Settings,
    /// Who may log in.
    pub auth: auth::Auth,
}

/// `send.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Send {
    /// Messages a second from one person, over time.
    #[serde(deserialize_with = "rate")]
    pub rate: f64,
    /// Messages in one burst, after a pause.
    #[serde(deserialize_with = "at_least_one")]
    pub burst: u32,
}

/// `history.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Pages of history a second for one person, over time.
    #[serde(deserialize_with = "rate")]
    pub rate: f64,
    /// Pages in one burst: a browser asks for one per room when it connects.
    #[serde(deserialize_with = "at_least_one")]
    pub burst: u32,
    /// Requests of one person in flight at once.
    #[serde(deserialize_with = "at_least_one")]
    pub in_flight: usize,
}

/// `stream.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// Size limit of the log. It is trimmed from half full on; while it is full, `send` answers
    /// 503.
    #[serde(deserialize_with = "log_size")]
    pub max_bytes: i64,
    /// Replicas of the log: 1, 3 or 5.
    #[serde(deserialize_with = "replicas")]
    pub replicas: usize,
    /// Days that a stored message stays in the log: a younger backup of the database loses nothing.
    #[serde(deserialize_with = "at_least_one")]
    pub keep_days: u32,
}

fn rate<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    checked(value, "a number above 0", |rate: &f64| {
        rate.is_finite() && *rate > 0.0
    })
}

fn at_least_one<'de, D, T>(value: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Display + PartialOrd + From<u8> + 'static,
{
    checked(value, "at least 1", |value| *value >= T::from(1))
}

fn log_size<'de, D: Deserializer<'de>>(value: D) -> Result<i64, D::Error> {
    let must_be = format!("at least {LEAST_BYTES} (1 MiB)");
    checked(value, &must_be, |bytes| *bytes >= LEAST_BYTES)
}

fn replicas<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    checked(value, "1, 3 or 5", |replicas| matches!(replicas, 1 | 3 | 5))
}

impl Default for Send {
    fn default() -> Self {
        Self {
            rate: 10.0,
            burst: 50,
        }
    }
}

impl Default for History {
    fn default() -> Self {
        Self {
            rate: 50.0,
            burst: 500,
            in_flight: 64,
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

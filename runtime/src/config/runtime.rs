//! The keys that every service's configuration has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{Login, NatsConfig, PoolSizes, Secret, checked, seconds};

/// How long what is in flight may take at a stop: Docker kills after 10 s.
const DRAIN: Duration = Duration::from_secs(8);

/// What the key may say at most.
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);

/// The runtime's own part of a configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// How to reach NATS.
    pub nats: NatsConfig,
    /// Where the service's database is.
    pub database: Database,
    /// Other logins: `setup`, `dead` and `backend` for the commands that use them, a service's name for
    /// that service, `<service>-setup` and `<service>-dead` for what they do for a service beside the
    /// program's own, and any name for `invoke --user`.
    pub credentials: BTreeMap<String, Login>,
    /// Where the process says how it is.
    pub health: Health,
    /// How the log is written.
    pub log: Log,
    /// The defaults of `invoke`.
    pub invoke: Invoke,
    /// Seconds that what is in flight may take when the process is told to stop. What the service says
    /// by default ([`Service::drain`](crate::Service::drain)), else 8.
    #[serde(deserialize_with = "drain")]
    pub drain: Option<f64>,
}

/// Where the service's database is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host/name` or `sqlite://file?mode=rwc`. It may hold a password.
    pub url: Option<Secret>,
    /// The most connections that the requests of a process share: 10, on SQLite 5.
    #[serde(deserialize_with = "pool_size")]
    pub request_connections: Option<u32>,
    /// The most connections of a process's stream functions and background work: 10, on SQLite 5.
    #[serde(deserialize_with = "pool_size")]
    pub stream_connections: Option<u32>,
}

/// Where the process says how it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// The address and port at which `serve` and `dev` answer `/livez`, `/readyz` and `/metrics`, over
    /// HTTP and to everybody who reaches it. None by default.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
}

/// How the log is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Lines for people, or JSON for machines.
    pub format: LogFormat,
}

/// A form of the log.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// The defaults of `invoke`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Invoke {
    /// The `credentials` that it uses without `--user`.
    pub user: Option<String>,
}

impl RuntimeConfig {
    /// The runtime's top-level keys; the others are the service's own.
    pub(crate) const KEYS: [&'static str; 7] = [
        "nats",
        "database",
        "credentials",
        "health",
        "invoke",
        "log",
        "drain",
    ];

    /// The connection with the login of these credentials, or with the service's own if there are none
    /// of this name.
    pub fn nats_as(&self, name: &str) -> NatsConfig {
        self.credentials
            .get(name)
            .map_or_else(|| self.nats.clone(), |login| self.nats.login(login))
    }

    /// The connection with the first of these credentials that there are, else with the login of
    /// `nats`; and the section that the login stands in, for error messages.
    pub(crate) fn first_of(&self, names: &[&str]) -> (NatsConfig, String) {
        let found = names
            .iter()
            .find(|name| self.credentials.contains_key(**name));
        match found {
            Some(name) => (self.nats_as(name), format!("credentials.{name}")),
            None => (self.nats.clone(), "nats".to_owned()),
        }
    }

    /// How many connections to the database a process may open; the configuration overrides the
    /// service.
    pub(crate) fn pool_sizes(&self, service: PoolSizes) -> PoolSizes {
        let Database {
            request_connections: requests,
            stream_connections: streams,
            ..
        } = self.database;
        PoolSizes {
            requests: requests.or(service.requests),
            streams: streams.or(service.streams),
        }
    }

    /// How long what is in flight may take at a stop; the configuration overrides the service.
    pub(crate) fn drain(&self, service: Option<Duration>) -> Duration {
        let configured = self
            .drain
            .and_then(|it| Duration::try_from_secs_f64(it).ok());
        configured.or(service).unwrap_or(DRAIN).min(LONGEST_DRAIN)
    }

    /// The database's address.
    pub fn database_url(&self) -> Option<&str> {
        self.database.url.as_ref().map(Secret::expose)
    }
}

fn drain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    seconds(deserializer).map(Some)
}

fn pool_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    checked(deserializer, "from 1 to 1000", |n| (1..=1000).contains(n)).map(Some)
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let is_right = |listen: &String| listen.parse::<SocketAddr>().is_ok();
    let listen = checked(
        deserializer,
        "an address and a port, like 0.0.0.0:8080",
        is_right,
    )?;
    listen.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_overrides_how_long_the_service_drains() {
        let seconds = Duration::from_secs;
        let mut config = RuntimeConfig::default();
        assert_eq!(config.drain(None), seconds(8));
        assert_eq!(config.drain(Some(seconds(90))), seconds(90));
        config.drain = Some(20.0);
        assert_eq!(config.drain(Some(seconds(90))), seconds(20));
        config.drain = Some(f64::NAN);
        assert_eq!(config.drain(Some(Duration::MAX)), seconds(3600));
    }
}

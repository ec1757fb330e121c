//! The keys that every service's configuration has.

use std::collections::BTreeMap;

#[cfg(feature = "sea-orm")]
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{Login, NatsConfig, Secret};

/// The runtime's own part of a configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// How to reach NATS.
    pub nats: NatsConfig,
    /// Where the service's database is.
    pub database: Database,
    /// Others who the commands log in as: `setup`, `dead` and `backend` by name, and whoever
    /// `invoke --user` names.
    pub credentials: BTreeMap<String, Login>,
    /// How the log is written.
    pub log: Log,
    /// What `invoke` does where it is not told.
    pub invoke: Invoke,
}

/// Where the service's database is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host/name` or `sqlite://file?mode=rwc`. It may hold a password.
    #[serde(deserialize_with = "address")]
    pub url: Option<Secret>,
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

/// What `invoke` does where it is not told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Invoke {
    /// Which of the `credentials` it takes without `--user`.
    pub user: Option<String>,
}

impl RuntimeConfig {
    /// The keys at the top that are the runtime's; the others are the service's own.
    pub(super) const KEYS: [&'static str; 5] = ["nats", "database", "credentials", "invoke", "log"];

    /// How to log in under a name of the credentials; the service's own way where there is none.
    pub fn nats_as(&self, name: &str) -> NatsConfig {
        self.credentials
            .get(name)
            .map_or_else(|| self.nats.clone(), |login| self.nats.login(login))
    }

    /// The section in which that login stands, for whoever has to mend it.
    pub(crate) fn section_of(&self, name: &str) -> String {
        if self.credentials.contains_key(name) {
            format!("credentials.{name}")
        } else {
            "nats".to_owned()
        }
    }

    /// The database's address.
    pub fn database_url(&self) -> Option<&str> {
        self.database.url.as_ref().map(Secret::expose)
    }
}

/// Reads the database's address; the sentence about a wrong one does not repeat it.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let url = Option::<Secret>::deserialize(deserializer)?;
    #[cfg(feature = "sea-orm")]
    if let Some(url) = &url {
        crate::sql::check_address(url.expose()).map_err(D::Error::custom)?;
    }
    Ok(url)
}

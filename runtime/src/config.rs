//! What a program is told from outside: a file and the environment. Nothing else in the crate reads
//! the environment.

#[cfg(any(feature = "server", feature = "otel"))]
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

mod checked;
#[cfg(feature = "cli")]
mod contradiction;
#[cfg(feature = "cli")]
mod layer;
#[cfg(feature = "cli")]
mod load;
#[cfg(feature = "cli")]
mod read;
#[cfg(feature = "cli")]
mod repair;
#[cfg(feature = "cli")]
mod runtime;

pub use checked::checked;
#[cfg(feature = "cli")]
pub use load::{Loaded, load};
#[cfg(feature = "cli")]
pub(crate) use load::{Purpose, load_for};
#[cfg(feature = "cli")]
pub use runtime::{Database, Invoke, Log, LogFormat, RuntimeConfig};

/// How to reach NATS, and as whom.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// One address or several with commas between them. `nats://localhost:4222` by default.
    #[serde(deserialize_with = "addresses")]
    pub url: String,
    /// A user name; `password` belongs to it.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file with a JWT and its key, instead of user and password.
    pub creds: Option<PathBuf>,
    /// The beginning of the subjects that answers come in on, `_INBOX` by default. A user who may
    /// not subscribe every inbox needs its own.
    pub inbox_prefix: Option<String>,
    /// The server's monitoring address, such as `http://localhost:8222`: with it `setup` sees
    /// whether the server syncs what it acknowledges.
    pub monitor: Option<String>,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://localhost:4222".to_owned(),
            user: None,
            password: None,
            creds: None,
            inbox_prefix: None,
            monitor: None,
        }
    }
}

impl NatsConfig {
    /// The same servers as somebody else.
    #[must_use]
    pub fn login(&self, login: &Login) -> Self {
        Self {
            url: self.url.clone(),
            user: login.user.clone(),
            password: login.password.clone(),
            creds: login.creds.clone(),
            inbox_prefix: login.inbox_prefix.clone(),
            monitor: self.monitor.clone(),
        }
    }

    /// Who this logs in as.
    #[must_use]
    pub fn own_login(&self) -> Login {
        Login {
            user: self.user.clone(),
            password: self.password.clone(),
            creds: self.creds.clone(),
            inbox_prefix: self.inbox_prefix.clone(),
        }
    }
}

/// Who somebody is towards NATS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    /// A user name; `password` belongs to it.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file with a JWT and its key, instead of user and password.
    pub creds: Option<PathBuf>,
    /// The beginning of the subjects that answers come in on, `_INBOX` by default.
    pub inbox_prefix: Option<String>,
}

impl Login {
    /// A user with a password and an inbox prefix of its own.
    pub fn new(
        user: impl Into<String>,
        password: impl Into<Secret>,
        inbox_prefix: impl Into<String>,
    ) -> Self {
        Self {
            user: Some(user.into()),
            password: Some(password.into()),
            creds: None,
            inbox_prefix: Some(inbox_prefix.into()),
        }
    }
}

/// A text that no log and no error shows: it prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for where it is needed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    match crate::connect::addresses(&url) {
        Ok(_) => Ok(url),
        Err(wrong) => Err(D::Error::custom(wrong)),
    }
}

/// A variable of the environment; an empty one counts as none.
#[cfg(any(feature = "server", feature = "otel"))]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The variables whose names begin with `prefix`.
#[cfg(feature = "cli")]
pub(crate) fn variables(prefix: &str) -> Vec<(String, OsString)> {
    let mut found: Vec<(String, OsString)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_prints_as_stars() {
        let login = Login::new("alice", "hush", "_INBOX.u.alice");
        assert!(!format!("{login:?}").contains("hush"));
        assert_eq!(login.password.unwrap().to_string(), "***");
    }

    #[test]
    fn login_keeps_nothing_of_the_user_before() {
        let nats = NatsConfig {
            creds: Some("a.creds".into()),
            ..NatsConfig::default()
        };
        let other = nats.login(&Login::new("alice", "hush", "_INBOX.u.alice"));
        assert_eq!(other.creds, None);
        assert_eq!(other.url, nats.url);
    }
}

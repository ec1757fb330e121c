//! How to reach NATS, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::checked::{checked, seconds};
use super::{Secret, address};

/// How to reach NATS, and as whom.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// One address or several with commas between them. `nats://localhost:4222` by default. When a server
    /// ends, the others are tried; over TLS each shows a certificate for the name that its address has here,
    /// or, where only the cluster tells of it, for its IP address. A login may stand in it, percent-encoded,
    /// instead of in `user` and `password`: `nats://user:p%23@host`, `nats://token@host`.
    #[serde(deserialize_with = "addresses")]
    pub url: String,
    /// A user name; `password` belongs to it.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token, instead of user and password.
    pub token: Option<Secret>,
    /// A file with the seed of an nkey, instead of user and password.
    pub nkey: Option<PathBuf>,
    /// A file with a JWT and its key, instead of user and password.
    pub creds: Option<PathBuf>,
    /// A file with the certificates (PEM) of those who may vouch for the server, instead of the system's.
    /// With this or `cert` no connection without TLS is made.
    pub ca: Option<PathBuf>,
    /// A file with the client's certificate (PEM), for a server that verifies its clients; `key` belongs to it.
    pub cert: Option<PathBuf>,
    /// A file with the private key (PEM) of `cert`.
    pub key: Option<PathBuf>,
    /// Whether TLS begins before the server has said anything, as its `handshake_first` demands.
    pub tls_first: bool,
    /// A context of the `nats` command line, by its name or its file: what it says holds where nothing else is said.
    pub context: Option<String>,
    /// The beginning of the subjects that answers come in on, `_INBOX` by default. A user who may
    /// not subscribe every inbox needs its own: a subject without wildcards.
    #[serde(deserialize_with = "inbox_prefix")]
    pub inbox_prefix: Option<String>,
    /// The domain whose JetStream is used, as a leaf node reaches that of its hub: one token. The server's own by
    /// default.
    #[serde(deserialize_with = "domain")]
    pub domain: Option<String>,
    /// The prefix under which another account's JetStream is imported, such as `hubjs.API`, instead of a domain.
    #[serde(deserialize_with = "api_prefix")]
    pub api_prefix: Option<String>,
    /// The server's monitoring address, such as `http://localhost:8222`: with it `setup` sees
    /// whether the server syncs what it acknowledges.
    pub monitor: Option<String>,
    /// Seconds of silence after which the server is asked whether it is still there, 3 by default. A
    /// connection that stays silent three times as long is given up for a new one.
    #[serde(deserialize_with = "seconds")]
    pub ping_interval: f64,
    /// How many connections of a process share the requests, 3 by default: a request that no client
    /// can read ends the one that it comes in on, and the others go on.
    #[serde(deserialize_with = "connections")]
    pub request_connections: usize,
}

impl fmt::Debug for NatsConfig {
    /// Without the password that the address may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            user,
            password,
            token,
            nkey,
            creds,
            ca,
            cert,
            key,
            tls_first,
            context,
            inbox_prefix,
            domain,
            api_prefix,
            monitor,
            ping_interval,
            request_connections,
        } = self;
        f.debug_struct("NatsConfig")
            .field("url", &address::without_password(url))
            .field("user", user)
            .field("password", password)
            .field("token", token)
            .field("nkey", nkey)
            .field("creds", creds)
            .field("ca", ca)
            .field("cert", cert)
            .field("key", key)
            .field("tls_first", tls_first)
            .field("context", context)
            .field("inbox_prefix", inbox_prefix)
            .field("domain", domain)
            .field("api_prefix", api_prefix)
            .field("monitor", monitor)
            .field("ping_interval", ping_interval)
            .field("request_connections", request_connections)
            .finish()
    }
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://localhost:4222".to_owned(),
            user: None,
            password: None,
            token: None,
            nkey: None,
            creds: None,
            ca: None,
            cert: None,
            key: None,
            tls_first: false,
            context: None,
            inbox_prefix: None,
            domain: None,
            api_prefix: None,
            monitor: None,
            ping_interval: 3.0,
            request_connections: 3,
        }
    }
}

impl NatsConfig {
    /// The same servers as somebody else.
    #[must_use]
    pub fn login(&self, login: &Login) -> Self {
        Self {
            // A login that stands in the address is not this one.
            url: address::without_password(&self.url),
            user: login.user.clone(),
            password: login.password.clone(),
            token: login.token.clone(),
            nkey: login.nkey.clone(),
            creds: login.creds.clone(),
            inbox_prefix: login.inbox_prefix.clone(),
            ..self.clone()
        }
    }

    /// How long a connection may be silent before the server is asked.
    pub(crate) fn ping_interval(&self) -> Duration {
        // A value that is none, which a program may have put here, would panic; async-nats ticks in
        // this interval, which may not be zero.
        Duration::try_from_secs_f64(self.ping_interval)
            .unwrap_or(Duration::from_secs(3))
            .max(Duration::from_millis(10))
    }

    /// Who this logs in as.
    #[must_use]
    pub fn own_login(&self) -> Login {
        Login {
            user: self.user.clone(),
            password: self.password.clone(),
            token: self.token.clone(),
            nkey: self.nkey.clone(),
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
    /// A token, instead of user and password.
    pub token: Option<Secret>,
    /// A file with the seed of an nkey, instead of user and password.
    pub nkey: Option<PathBuf>,
    /// A file with a JWT and its key, instead of user and password.
    pub creds: Option<PathBuf>,
    /// The beginning of the subjects that answers come in on, `_INBOX` by default.
    #[serde(deserialize_with = "inbox_prefix")]
    pub inbox_prefix: Option<String>,
}

impl Login {
    /// Whether this proves nothing to the server.
    #[cfg(feature = "cli")]
    pub(crate) fn is_anonymous(&self) -> bool {
        self.user.is_none() && self.token.is_none() && self.nkey.is_none() && self.creds.is_none()
    }

    /// A user with a password and an inbox prefix of its own.
    pub fn new(
        user: impl Into<String>,
        password: impl Into<Secret>,
        inbox_prefix: impl Into<String>,
    ) -> Self {
        Self {
            user: Some(user.into()),
            password: Some(password.into()),
            inbox_prefix: Some(inbox_prefix.into()),
            ..Self::default()
        }
    }
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    match address::Addresses::parse(&url) {
        Ok(_) => Ok(url),
        Err(wrong) => Err(D::Error::custom(wrong)),
    }
}

fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let must_be = "one token of a subject, such as hub";
    checked(deserializer, must_be, |it: &String| is_token(it)).map(Some)
}

fn api_prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let must_be = "a subject without wildcards, such as hubjs.API";
    checked(deserializer, must_be, |it: &String| is_literal(it)).map(Some)
}

fn inbox_prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, INBOX_PREFIX, |it: &String| is_literal(it)).map(Some)
}

/// What `inbox_prefix` must be: with another, no answer comes in, or what is sent to the server is garbled.
pub(crate) const INBOX_PREFIX: &str = "a subject without wildcards, such as _INBOX.s.shop";

/// Whether this is a subject without wildcards.
pub(crate) fn is_literal(subject: &str) -> bool {
    subject.split('.').all(is_token)
}

fn is_token(text: &str) -> bool {
    let is_wrong = |c: char| ".*>".contains(c) || c.is_whitespace() || c.is_control();
    !text.is_empty() && !text.contains(is_wrong)
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    checked(deserializer, "from 1 to 64", |n| (1..=64).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_is_shown_without_its_password() {
        let login = Login::new("alice", "hush", "_INBOX.u.alice");
        assert!(!format!("{login:?}").contains("hush"));
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

    #[test]
    fn login_in_the_address_is_neither_shown_nor_another_users() {
        let nats = NatsConfig {
            url: "nats://shop:hush@one,nats://two".to_owned(),
            ..NatsConfig::default()
        };
        assert!(!format!("{nats:?}").contains("hush"));
        let other = nats.login(&Login::new("alice", "other", "_INBOX.u.alice"));
        assert_eq!(other.url, "nats://one,nats://two");
    }
}

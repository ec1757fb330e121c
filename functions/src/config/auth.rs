//! `auth.*`: who may log in, and for how long.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use natsfn::auth_callout::ConnectionType;
use natsfn::config::{Secret, checked};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// `auth.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The seed (`SA...`) of the key that signs what `auth` allows; nats-server knows its public key.
    pub issuer: Option<Secret>,
    /// The seed (`SX...`) of the key that nats-server encrypts its requests for.
    pub xkey: Option<Secret>,
    /// The file of local users, which `chat user` writes. Without it, there are none.
    pub users: Option<PathBuf>,
    /// Hours after which a person must log in again.
    #[serde(deserialize_with = "session_hours")]
    pub session_hours: f64,
    /// How people may connect: `WEBSOCKET`, `STANDARD`.
    #[serde(deserialize_with = "not_none")]
    pub connection_types: Vec<ConnectionType>,
    /// A provider of identities by OpenID Connect. Without it, there is none.
    pub oidc: Option<Oidc>,
}

/// `auth.oidc.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The issuer, exactly as it stands in its tokens: `https://id.example/realms/chat`.
    #[serde(deserialize_with = "issuer")]
    pub issuer: String,
    /// Where `auth` itself reaches the issuer, if that is another address than the browsers'.
    #[serde(default, deserialize_with = "discovery")]
    pub discovery: Option<String>,
    /// The page's client id at the issuer.
    #[serde(deserialize_with = "not_empty")]
    pub client: String,
    /// The issuer's name on the page's button.
    #[serde(default = "Oidc::default_name", deserialize_with = "not_empty")]
    pub name: String,
    /// The claim with a person's roles; dots lead into objects.
    #[serde(default = "Oidc::default_roles", deserialize_with = "not_empty")]
    pub roles: String,
    /// The role of administrators there.
    #[serde(default = "Oidc::default_admin", deserialize_with = "not_empty")]
    pub admin_role: String,
    /// The role of those who may write there.
    #[serde(default = "Oidc::default_user", deserialize_with = "not_empty")]
    pub user_role: String,
}

impl Auth {
    /// How long a session lasts.
    pub fn session(&self) -> Duration {
        Duration::from_secs_f64(self.session_hours * 3_600.0)
    }
}

impl Oidc {
    /// Where `auth` asks for the issuer's configuration, without a slash at the end.
    pub fn address(&self) -> &str {
        let address = self.discovery.as_ref().unwrap_or(&self.issuer);
        address.trim_end_matches('/')
    }

    fn default_name() -> String {
        "single sign-on".to_owned()
    }

    fn default_roles() -> String {
        "realm_access.roles".to_owned()
    }

    fn default_admin() -> String {
        "admin".to_owned()
    }

    fn default_user() -> String {
        "user".to_owned()
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            issuer: None,
            xkey: None,
            users: None,
            session_hours: 12.0,
            connection_types: vec![ConnectionType::WebSocket, ConnectionType::Standard],
            oidc: None,
        }
    }
}

fn session_hours<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    checked(value, "above 0 and at most 720", |hours: &f64| {
        *hours > 0.0 && *hours <= 720.0
    })
}

fn not_none<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<ConnectionType>, D::Error> {
    let types = Vec::deserialize(value)?;
    if types.is_empty() {
        return Err(D::Error::custom("is empty, so nobody could connect"));
    }
    Ok(types)
}

fn issuer<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    checked(value, MUST_BE, |url: &String| is_issuer(url))
}

fn discovery<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    issuer(value).map(Some)
}

const MUST_BE: &str = "like https://id.example/realms/chat, without `?` and `#`; http:// only for \
    localhost and private hosts, since whoever stands between could forge every login";

fn not_empty<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    checked(value, "not empty", |text: &String| !text.trim().is_empty())
}

/// Whether a URL can be trusted to be the issuer's.
fn is_issuer(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
        return false;
    };
    let is_plain = !url.contains(['?', '#']) && !authority.as_str().contains('@');
    is_plain && !host.is_empty() && is_safe(&uri)
}

/// Whether what comes from there can be trusted: by TLS, or since the host is private.
pub(crate) fn is_safe(uri: &Uri) -> bool {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => is_private(host),
        _ => false,
    }
}

/// Loopback and private addresses, and names without a dot, which are those of a container network.
fn is_private(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Err(_) => !host.contains('.') || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_without_tls_is_private() {
        for url in [
            "https://id.example/realms/chat",
            "https://id.example",
            "http://localhost:8080/realms/chat",
            "http://keycloak:8080/realms/chat",
            "http://127.0.0.1:1/",
            "http://10.1.2.3",
            "http://[::1]:8080",
        ] {
            assert!(is_issuer(url), "{url}");
        }
        for url in [
            "",
            "id.example",
            "http://id.example",
            "http://8.8.8.8",
            "ftp://localhost",
            "https://",
            "https://id.example/?realm=chat",
            "https://id.example/#x",
            "https://a:b@id.example",
        ] {
            assert!(!is_issuer(url), "{url}");
        }
    }
}

//! `page.*`: where the page listens, and what it tells browsers.

use std::net::{Ipv4Addr, SocketAddr};

use hyper::Uri;
use natsfn::config::checked;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::auth::{Auth, Oidc};

/// `page.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address and port that the page listens on.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// Where browsers reach NATS, `ws://...` or `wss://...`. nats-server must list the page's origin
    /// in `websocket.allowed_origins`.
    #[serde(deserialize_with = "websocket")]
    pub websocket: String,
    /// Limit of open connections; beyond it, the address with the most loses its oldest one. Each
    /// takes a file descriptor and some memory.
    #[serde(deserialize_with = "at_least_one")]
    pub max_connections: usize,
    /// The traces of browsers.
    pub telemetry: Telemetry,
    /// How people log in; it comes from `auth.*`.
    #[serde(skip)]
    pub login: Login,
}

/// How people log in.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// With the name and the password of a local user.
    pub local: bool,
    /// At a provider of identities.
    pub oidc: Option<Oidc>,
}

impl Login {
    /// The ways that are configured.
    pub fn of(auth: &Auth) -> Self {
        Self {
            local: auth.users.is_some(),
            oidc: auth.oidc.clone(),
        }
    }

    fn for_browsers(&self) -> Value {
        let oidc = self.oidc.as_ref().map(|oidc| {
            let Oidc {
                issuer,
                client,
                name,
                ..
            } = oidc;
            json!({ "issuer": issuer, "client": client, "name": name })
        });
        json!({ "local": self.local, "oidc": oidc })
    }
}

/// `page.telemetry.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Where browsers send traces by OTLP over HTTP, such as `http://localhost:4318`; the collector
    /// must allow the page's origin (CORS). Without it, browsers record no traces.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: Option<String>,
    /// The share of traces that browsers sample, 0 to 1; set it like the functions' own.
    #[serde(deserialize_with = "ratio")]
    pub ratio: f64,
}

const WEBSOCKET: [&str; 2] = ["ws", "wss"];
const HTTP: [&str; 2] = ["http", "https"];

fn listen<'de, D: Deserializer<'de>>(value: D) -> Result<SocketAddr, D::Error> {
    let is_right = |listen: &String| listen.parse::<SocketAddr>().is_ok();
    let must_be = "an address and a port, like 127.0.0.1:3000";
    let listen = checked(value, must_be, is_right)?;
    listen.parse().map_err(D::Error::custom)
}

fn websocket<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    checked(value, "like ws://localhost:9222", |url: &String| {
        origin(url, &WEBSOCKET).is_some()
    })
}

fn at_least_one<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    checked(value, "at least 1", |value| *value >= 1)
}

fn endpoint<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let is_right = |url: &String| origin(url, &HTTP).is_some();
    checked(value, "like http://localhost:4318", is_right).map(Some)
}

fn ratio<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    checked(value, "from 0 to 1", |ratio| (0.0..=1.0).contains(ratio))
}

impl Settings {
    /// The origins that the page connects to besides its own. A browser hides why a WebSocket
    /// failed, so the page also probes that port over HTTP. The issuer answers the page's requests
    /// for tokens; its log-in form is a page of its own, to which the browser goes.
    pub(crate) fn origins(&self) -> impl Iterator<Item = String> {
        let websocket = origin(&self.websocket, &WEBSOCKET).map(str::to_owned);
        let asked = websocket.as_ref().map(|url| url.replacen("ws", "http", 1));
        let telemetry = self.telemetry.endpoint.as_deref();
        let telemetry = telemetry.and_then(|url| origin(url, &HTTP));
        let issuer = self.login.oidc.as_ref();
        let issuer = issuer.and_then(|oidc| origin(&oidc.issuer, &HTTP));
        [websocket, asked]
            .into_iter()
            .chain([telemetry, issuer].map(|url| url.map(str::to_owned)))
            .flatten()
    }

    /// `/config.json`.
    pub(crate) fn for_browsers(&self) -> Value {
        let Telemetry { endpoint, ratio } = &self.telemetry;
        let telemetry = endpoint
            .as_ref()
            .map(|endpoint| json!({ "endpoint": endpoint, "ratio": ratio }));
        json!({
            "websocket": self.websocket,
            "telemetry": telemetry,
            "login": self.login.for_browsers(),
        })
    }
}

/// Scheme, host and port of a URL. `None` if it has a login, or characters that would end a word of
/// the Content-Security-Policy.
fn origin<'a>(url: &'a str, schemes: &[&str]) -> Option<&'a str> {
    let uri: Uri = url.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !schemes.contains(&scheme) || uri.host()?.is_empty() || !authority.chars().all(is_plain) {
        return None;
    }
    url.get(..scheme.len() + "://".len() + authority.len())
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 3000).into(),
            websocket: "ws://localhost:9222".to_owned(),
            max_connections: 1_024,
            telemetry: Telemetry::default(),
            login: Login::default(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            endpoint: None,
            ratio: 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_an_address_up_to_its_path() {
        for (url, expected) in [
            ("ws://localhost:9222", "ws://localhost:9222"),
            ("wss://chat.example/nats?x=1", "wss://chat.example"),
            ("ws://[::1]:9222/", "ws://[::1]:9222"),
        ] {
            assert_eq!(origin(url, &WEBSOCKET), Some(expected), "{url}");
        }
        for url in [
            "",
            "localhost:9222",
            "http://localhost",
            "ws://",
            "ws:///x",
            "ws://a:b@localhost",
            "ws://localhost; script-src *",
            "ws://a,b",
            "ws://*",
            "ws://a'b",
        ] {
            assert_eq!(origin(url, &WEBSOCKET), None, "{url}");
        }
    }

    #[test]
    fn configuration_for_browsers_has_what_is_configured() {
        let mut settings = Settings::default();
        let login = json!({ "local": false, "oidc": null });
        let without =
            json!({ "websocket": "ws://localhost:9222", "telemetry": null, "login": login });
        assert_eq!(settings.for_browsers(), without);

        settings.telemetry.endpoint = Some("http://localhost:4318".to_owned());
        settings.telemetry.ratio = 0.5;

        let with = json!({ "endpoint": "http://localhost:4318", "ratio": 0.5 });
        assert_eq!(settings.for_browsers()["telemetry"], with);

        let oidc = json!({ "issuer": "https://id.example", "client": "chat-web", "name": "Id" });
        let auth = json!({ "users": "users.json", "oidc": oidc });
        settings.login = Login::of(&serde_json::from_value(auth).unwrap());

        let login = json!({ "local": true, "oidc": oidc });
        assert_eq!(settings.for_browsers()["login"], login);
    }
}

//! A login that nats-server asks about.

use serde::Deserialize;

use crate::config::Secret;
use crate::error::{Error, Result};
use crate::function::event::Request;
use crate::function::extract::FromEvent;
use crate::function::json::from_json;

/// A client that wants to connect, as nats-server describes it. A text is empty where the server or the
/// client says nothing.
///
/// Everything in [`AuthRequest::connect`] is the client's word. nats-server has verified none of it: not
/// the password, not the signature of a JWT or an nkey.
///
/// In JSON it is the `nats` part of nats-server's claim, where any field may be missing. So a test needs
/// neither server nor keys:
/// ```
/// use natsfn::auth_callout::{self, Allow, AuthKeys, AuthRequest};
/// use natsfn::{Endpoint, Error, Kind, Result, Service};
/// use serde_json::json;
///
/// async fn decide(request: AuthRequest) -> Result<Allow> {
///     match request.connect.token.expose() {
///         "open sesame" => Ok(Allow::new("CAVE", "ali")),
///         _ => Err(Error::new(Kind::Unauthorized, "unknown token")),
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let new = AuthKeys::generate();
/// let keys = AuthKeys::from_seeds(&new.issuer_seed, &new.xkey_seed).unwrap();
/// let door = Service::new("door", "1.0.0").endpoint(Endpoint::auth_callout("decide", keys), decide);
/// # #[cfg(feature = "testing")] {
/// let door = natsfn::testing::local(door);
///
/// let login = json!({ "connect_opts": { "auth_token": "open sesame" } });
/// let allow: Allow = door.request(auth_callout::SUBJECT, &login).await.unwrap();
/// assert_eq!(allow.account, "CAVE");
///
/// let login = json!({ "connect_opts": { "user": "ali", "pass": "x" } });
/// let refused = door.request::<Allow>(auth_callout::SUBJECT, &login).await.unwrap_err();
/// assert_eq!(refused.message, "unknown token");
/// # }
/// # });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuthRequest {
    /// The server that asks.
    #[serde(rename = "server_id")]
    pub server: Server,
    /// The public key of the connection, made by the server for this login.
    pub user_nkey: String,
    /// What the server sees of the client.
    #[serde(rename = "client_info")]
    pub client: Client,
    /// What the client says.
    #[serde(rename = "connect_opts")]
    pub connect: Connect,
    /// The TLS connection, if it is one.
    #[serde(rename = "client_tls")]
    pub tls: Option<Tls>,
}

/// The server that asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Its public key, which is its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Its cluster's name.
    pub cluster: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The public key for which the answer is encrypted.
    pub xkey: String,
}

/// What the server sees of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Client {
    /// The client's address.
    pub host: String,
    /// The connection's number on its server.
    pub id: u64,
    /// The user name, or what the server took for one.
    pub user: String,
    /// The name that the client gave its connection.
    pub name: String,
    /// `Client` or `Leafnode`.
    pub kind: String,
    /// `nats`, `mqtt` or `websocket`.
    #[serde(rename = "type")]
    pub connection_type: String,
    /// The id of an MQTT client.
    pub mqtt_id: String,
    /// What a client with an nkey has signed.
    pub nonce: String,
}

/// What the client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Connect {
    /// The user name.
    pub user: String,
    /// The password.
    #[serde(rename = "pass")]
    pub password: Secret,
    /// The token.
    #[serde(rename = "auth_token")]
    pub token: Secret,
    /// A user JWT. Nobody has verified it.
    pub jwt: Secret,
    /// A public nkey. Nobody has verified that the client owns it.
    pub nkey: String,
    /// The signature of [`Client::nonce`], in base64.
    #[serde(rename = "sig")]
    pub signature: String,
    /// The name of the connection.
    pub name: String,
    /// The language of the client library.
    pub lang: String,
    /// The version of the client library.
    pub version: String,
    /// The version of the protocol.
    pub protocol: i64,
}

/// A TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// The version, such as `1.3`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
    /// The client's certificates in PEM that the server did not verify.
    pub certs: Vec<String>,
    /// The verified chains, each from the client's certificate up, in PEM.
    pub verified_chains: Vec<Vec<String>>,
}

/// By what a client wants to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A user name with a password.
    Password,
    /// A token.
    Token,
    /// A user JWT.
    Jwt,
    /// An nkey.
    Nkey,
    /// Nothing that the server passes on.
    None,
}

impl Connect {
    /// The kind of credential: the first there is of JWT, nkey, token and password.
    pub fn credential(&self) -> Credential {
        let has = |secret: &Secret| !secret.expose().is_empty();
        if has(&self.jwt) {
            Credential::Jwt
        } else if !self.nkey.is_empty() {
            Credential::Nkey
        } else if has(&self.token) {
            Credential::Token
        } else if has(&self.password) {
            Credential::Password
        } else {
            Credential::None
        }
    }
}

impl Credential {
    /// Its name in the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::Nkey => "nkey",
            Self::None => "none",
        }
    }
}

impl<S> FromEvent<Request, S> for AuthRequest {
    /// What the endpoint has opened; without a broker, the payload's JSON.
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        if let Some(opened) = request.context.get::<Self>() {
            return Ok(opened.clone());
        }
        from_json(&request.payload)
            .map_err(|error| Error::bad_request(format!("the payload is no login: {error}")))
    }
}

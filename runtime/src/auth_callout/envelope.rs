//! Signs and encrypts what nats-server is answered, and keeps the audit.

use std::time::SystemTime;

use nkeys::XKey;
use serde::Serialize;
use tracing::Span;

use super::allow::{Allow, ConnectionType, Subjects};
use super::jwt;
use super::keys::{AuthKeys, unix};
use super::request::{AuthRequest, Client, Credential};
use crate::error::reply::one_line;
use crate::error::{Error, Kind, Result};
use crate::function::reply::Response;
use crate::service::endpoint::codec::Envelope;
use crate::telemetry;

/// nats-server's number for no limit.
const NO_LIMIT: i64 = -1;

/// The longest user name that the log shows, in bytes.
const MAX_USER: usize = 64;

/// The version of NATS's claims.
const VERSION: u8 = 2;

/// Answers one login.
pub(super) struct AuthEnvelope {
    keys: AuthKeys,
    /// None where the request could not be read: there is nobody to sign an answer for.
    login: Option<Login>,
    /// Whom the function let in.
    granted: Option<(String, String)>,
}

/// What the answer and the audit need of a request.
pub(super) struct Login {
    user_nkey: String,
    server: String,
    recipient: Option<Recipient>,
    user: String,
    client: Client,
    credential: Credential,
}

/// The server's curve key.
pub(super) struct Recipient {
    pub(super) public: String,
    pub(super) xkey: XKey,
}

#[derive(Serialize)]
struct Claims<'a, T> {
    iat: i64,
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    nats: T,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct User<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u8,
    #[serde(rename = "pub")]
    publish: Subjects,
    #[serde(rename = "sub")]
    subscribe: Subjects,
    subs: i64,
    data: i64,
    payload: i64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    allowed_connection_types: &'a [ConnectionType],
}

impl Login {
    pub(super) fn new(request: &AuthRequest, recipient: Option<Recipient>) -> Self {
        Self {
            user_nkey: request.user_nkey.clone(),
            server: request.server.id.clone(),
            recipient,
            user: request.connect.user.clone(),
            client: request.client.clone(),
            credential: request.connect.credential(),
        }
    }
}

impl AuthEnvelope {
    pub(super) fn new(keys: AuthKeys, login: Option<Login>) -> Self {
        Self {
            keys,
            login,
            granted: None,
        }
    }

    /// The user's JWT, as nats-server reads it where accounts stand in its configuration.
    fn user(&self, login: &Login, allow: &Allow) -> Result<String> {
        let claims = Claims {
            iat: unix(SystemTime::now()),
            iss: self.keys.issuer(),
            sub: &login.user_nkey,
            aud: &allow.account,
            name: Some(&allow.name),
            exp: allow.expires.map(unix),
            nats: User {
                kind: "user",
                version: VERSION,
                publish: allow.permissions.publish.claim(),
                subscribe: allow.permissions.subscribe.claim(),
                subs: NO_LIMIT,
                data: NO_LIMIT,
                payload: NO_LIMIT,
                allowed_connection_types: &allow.connection_types,
            },
        };
        jwt::encode(jwt::NATS, &claims, self.keys.signing())
    }

    /// The answer for this login and no other, at this server and no other.
    fn answer(&self, login: &Login, outcome: Result<&str, &str>) -> Result<Response> {
        let claims = Claims {
            iat: unix(SystemTime::now()),
            iss: self.keys.issuer(),
            sub: &login.user_nkey,
            aud: &login.server,
            name: None,
            exp: None,
            nats: Answer {
                kind: "authorization_response",
                version: VERSION,
                jwt: outcome.ok(),
                error: outcome.err(),
            },
        };
        let token = jwt::encode(jwt::NATS, &claims, self.keys.signing())?;
        let payload = match &login.recipient {
            None => token.into_bytes(),
            Some(Recipient { xkey, .. }) => self
                .keys
                .curve()
                .seal(token.as_bytes(), xkey)
                .map_err(|error| {
                    Error::internal("the answer is not encrypted").with_source(error)
                })?,
        };
        Ok(Response {
            payload: payload.into(),
            ..Response::default()
        })
    }
}

impl Envelope for AuthEnvelope {
    fn seal(&mut self, response: Response) -> Result<Response> {
        let login = self.login.as_ref();
        let login = login.ok_or_else(|| Error::internal("nobody asked"))?;
        let allow: Allow = serde_json::from_slice(&response.payload).map_err(|error| {
            Error::internal("the function of an auth callout returns an Allow").with_source(error)
        })?;
        allow.check()?;
        allow.check_way(&login.client)?;
        let user = self.user(login, &allow)?;
        let answer = self.answer(login, Ok(&user))?;
        self.granted = Some((allow.name, allow.account));
        Ok(answer)
    }

    fn refuse(&self, error: &Error) -> Option<Response> {
        if is_unanswered(error) {
            return None;
        }
        let plain = || Response::error(error, None);
        let Some(login) = &self.login else {
            // nats-server refuses the login, since this is no answer.
            return Some(plain());
        };
        let reason = one_line(error.public_message());
        Some(self.answer(login, Err(&reason)).unwrap_or_else(|_| plain()))
    }

    fn tell(&self, span: &Span, error: Option<&Error>) {
        let outcome = match error {
            None => "allowed",
            Some(error) if is_unanswered(error) => "unanswered",
            Some(_) => "refused",
        };
        let reason = error.map(|error| one_line(error.public_message()));
        let login = self.login.as_ref();
        let text = |text: fn(&Login) -> &str| login.map(text).filter(|text| !text.is_empty());
        let user = text(|login| &login.user).map(shown);
        let host = text(|login| &login.client.host).map(one_line);
        let credential = login.map(|login| login.credential.name());
        let granted = self.granted.as_ref();
        let (name, account) = granted.map(|(name, account)| (name, account)).unzip();
        span.in_scope(|| {
            tracing::info!(
                user, host, credential, name, account, outcome, reason, "login"
            );
        });
        telemetry::record(span, || {
            let mut attributes = vec![("outcome", outcome.into())];
            attributes.extend(reason.map(|reason| ("reason", reason.into())));
            attributes
        });
    }
}

/// A client's user name in the log. It is the client's word: one that is no plain name may be a
/// password, a token or a line of a log.
fn shown(user: &str) -> String {
    if user.len() <= MAX_USER && user.bytes().all(|byte| byte.is_ascii_graphic()) {
        return user.to_owned();
    }
    format!("({} bytes, no plain name)", user.len())
}

/// Without an answer the client sees a timeout instead of a refusal, and may try again.
fn is_unanswered(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Timeout)
}

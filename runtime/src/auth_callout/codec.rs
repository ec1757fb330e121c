//! Opens what nats-server asks: decrypts it, and checks that it is genuine and meant for this service.

use std::sync::Arc;
use std::time::SystemTime;

use nkeys::XKey;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::envelope::{AuthEnvelope, Login, Recipient};
use super::jwt;
use super::keys::{AuthKeys, public_key, unix};
use super::request::AuthRequest;
use crate::error::{Error, Result};
use crate::function::event::Request;
use crate::service::endpoint::codec::{Codec, Envelope};

/// The audience of every request of nats-server.
const AUDIENCE: &str = "nats-authorization-request";

/// The server's public curve key, on an encrypted request.
const XKEY_HEADER: &str = "Nats-Server-Xkey";

/// Where nats-server waits for the answer.
const INBOX: &str = "$SYS._INBOX.";

/// By how many seconds the clocks of the server and of this machine may differ.
const CLOCK_SKEW: i64 = 30;

/// The codec of an auth callout.
#[derive(Debug)]
pub(super) struct AuthCodec {
    pub(super) keys: AuthKeys,
}

/// What nats-server signs.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    aud: String,
    #[serde(default)]
    exp: i64,
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    nats: AuthRequest,
}

impl Codec for AuthCodec {
    fn answers(&self) -> &'static str {
        "$SYS._INBOX.>"
    }

    fn may_answer(&self, reply: &str) -> bool {
        reply.starts_with(INBOX)
    }

    fn open(&self, request: &mut Request) -> (Box<dyn Envelope>, Result<()>) {
        let (login, opened) = match self.read(request) {
            Ok((claims, xkey)) => {
                let checked = self.check(&claims, xkey.as_ref());
                let login = Login::new(&claims.nats, xkey);
                if checked.is_ok() {
                    let context = std::mem::take(&mut request.context);
                    request.context = context.with(Arc::new(claims.nats));
                }
                (Some(login), checked)
            }
            Err(why) => (None, Err(why)),
        };
        let keys = self.keys.clone();
        let opened = opened
            .map_err(|why| Error::bad_request(format!("the login request is not accepted: {why}")));
        (Box::new(AuthEnvelope::new(keys, login)), opened)
    }
}

impl AuthCodec {
    /// The signed claims, and the server's curve key where they were encrypted.
    fn read(&self, request: &Request) -> Result<(Claims, Option<Recipient>), String> {
        let mut headers = request.headers.get_all(XKEY_HEADER);
        let (token, recipient) = match (headers.next(), headers.next()) {
            (None, _) => (Zeroizing::new(request.payload.to_vec()), None),
            (Some(public), None) => {
                let public = public.as_str();
                let xkey = XKey::from_public_key(public)
                    .map_err(|_| format!("{XKEY_HEADER} is no public curve key"))?;
                let token = self.keys.curve().open(&request.payload, &xkey);
                let token = token.map_err(|_| {
                    format!(
                        "it cannot be decrypted; nats-server's auth_callout needs xkey {}",
                        self.keys.xkey()
                    )
                })?;
                let public = public.to_owned();
                (Zeroizing::new(token), Some(Recipient { public, xkey }))
            }
            _ => return Err(format!("it has several {XKEY_HEADER}")),
        };
        let server = |claims: &Claims| public_key('N', &claims.iss);
        let claims = jwt::decode(jwt::NATS, &token, server)?;
        Ok((claims, recipient))
    }

    /// Why the claims are not those of a login that this service decides, or nothing.
    fn check(&self, claims: &Claims, recipient: Option<&Recipient>) -> Result<(), String> {
        let Claims {
            aud,
            exp,
            iss,
            sub,
            nats,
        } = claims;
        let issuer = self.keys.issuer();
        let Some(recipient) = recipient else {
            return Err(format!(
                "it is not encrypted; nats-server's auth_callout needs xkey {}",
                self.keys.xkey()
            ));
        };
        if recipient.public != nats.server.xkey {
            return Err(format!("{XKEY_HEADER} is not the server's own"));
        }
        if aud != AUDIENCE {
            return Err("it is for another audience".to_owned());
        }
        if sub != issuer {
            return Err(format!(
                "it is for another issuer; nats-server's auth_callout needs issuer {issuer}"
            ));
        }
        if *iss != nats.server.id {
            return Err("the server that signed it is not the one that asks".to_owned());
        }
        if public_key('U', &nats.user_nkey).is_none() {
            return Err("its user_nkey is no public user key".to_owned());
        }
        let age = unix(SystemTime::now()).saturating_sub(*exp);
        if age > CLOCK_SKEW {
            return Err(format!(
                "it expired {age} s ago, or this machine's clock is off"
            ));
        }
        Ok(())
    }
}

//! People of a provider: an access token proves who they are.

mod claims;
mod http;
mod jwks;
mod keys;
mod signature;

use std::time::SystemTime;

use futures_util::FutureExt;
use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::{Header, TokenData, Validation, decode, decode_header};
use natsfn::{Error, Kind, Result};

use super::person::Person;
use crate::config;
use claims::Claims;
use jwks::Jwks;
use keys::Keys;
use signature::ALGORITHMS;

/// How large a token may be, in bytes; Keycloak's are some 1,500. It must be less than
/// `max_control_line` of nats.conf.
const MAX_TOKEN: usize = 12 * 1024;

/// The people of one issuer.
pub struct Oidc {
    config: config::auth::Oidc,
    keys: Keys,
}

impl Oidc {
    /// # Errors
    /// A sentence: the issuer cannot be asked by TLS.
    pub fn new(config: &config::auth::Oidc) -> std::result::Result<Self, String> {
        signature::install();
        let jwks = Jwks::new(config)?;
        let fetch = move || {
            let jwks = jwks.clone();
            async move { jwks.fetch().await }.boxed()
        };
        Ok(Self {
            config: config.clone(),
            keys: Keys::new(fetch),
        })
    }

    /// Asks for the issuer's keys now, and again when they are old. It never ends.
    pub async fn keep_keys(&self) {
        self.keys.keep().await;
    }

    /// Proves who somebody is by an access token; also returns when it expires.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] with the reason, or [`Kind::Unavailable`] while the issuer's keys are
    /// not known.
    pub async fn log_in(&self, token: &str) -> Result<(Person, SystemTime)> {
        if token.len() > MAX_TOKEN {
            let bytes = token.len();
            return Err(refused(format!(
                "the token has {bytes} bytes, which is more than {MAX_TOKEN}"
            )));
        }
        // The header first: what is wrong with the algorithm makes it unreadable as a whole.
        let header = decode_header(token).map_err(|_| refused(NO_TOKEN))?;
        if !ALGORITHMS.contains(&header.alg) {
            let algorithm = header.alg;
            return Err(refused(format!(
                "the token is signed by {algorithm:?}, must be RS256, ES256 or PS256"
            )));
        }
        // Not proved yet: only to say what is wrong, and to trouble the issuer for no token that
        // would be refused in any case.
        let unproved: TokenData<Claims> = insecure_decode(token).map_err(|_| refused(NO_TOKEN))?;
        self.check(&header, &unproved.claims)?;

        let id = header.kid.as_deref();
        let id = id.ok_or_else(|| refused("the token does not name its key: it has no kid"))?;
        let key = self.keys.find(id, header.alg).await?;
        let proved: TokenData<Claims> = decode(token, &key, &self.validation(&header))
            .map_err(|error| refused(format!("the token is forged or damaged: {error}")))?;
        let expires = self.check(&proved.header, &proved.claims)?;
        Ok((claims::person(&proved.claims, &self.config), expires))
    }

    fn check(&self, header: &Header, claims: &Claims) -> Result<SystemTime> {
        let kind = header.typ.as_deref();
        claims::check(claims, kind, &self.config, SystemTime::now()).map_err(refused)
    }

    /// The signature by the one algorithm that the key is for; the claims are checked by
    /// [`claims::check`], which says more, and here the most important ones again.
    fn validation(&self, header: &Header) -> Validation {
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.validate_nbf = true;
        // `aud` or `azp` is our client.
        validation.validate_aud = false;
        validation
    }
}

const NO_TOKEN: &str = "this is no signed access token (JWT)";

fn refused(reason: impl Into<String>) -> Error {
    Error::new(Kind::Unauthorized, reason)
}

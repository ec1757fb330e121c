//! An issuer's public keys: where they are, and which can be used.

use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::http::Http;
use super::signature::ALGORITHMS;
use crate::config::auth::Oidc;

/// RSA keys below 2048 bits can be broken.
const LEAST_MODULUS: usize = 256;

/// Asks one issuer; cloning it is cheap.
#[derive(Clone)]
pub(super) struct Jwks(Arc<Inner>);

struct Inner {
    http: Http,
    config: Oidc,
}

/// The part of the issuer's configuration that matters here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Answer {
    keys: Vec<Value>,
}

impl Jwks {
    /// # Errors
    /// A sentence: the issuer cannot be asked by TLS.
    pub(super) fn new(config: &Oidc) -> Result<Self, String> {
        Ok(Self(Arc::new(Inner {
            http: Http::new(config.address())?,
            config: config.clone(),
        })))
    }

    /// The keys that a token may be signed with.
    ///
    /// # Errors
    /// A sentence: the issuer does not answer, is another one, or has no such key.
    pub(super) async fn fetch(&self) -> Result<Vec<Jwk>, String> {
        let Inner { http, config } = &*self.0;
        let address = config.address();
        let discovery = format!("{address}/.well-known/openid-configuration");
        let discovery: Discovery = http.get(&discovery, "openid-configuration").await?;
        let issuer = &config.issuer;
        if discovery.issuer != *issuer {
            return Err(format!(
                "{address} calls itself {:?}; auth.oidc.issuer, which is {issuer:?}, must be \
                 exactly that",
                discovery.issuer
            ));
        }
        let answer: Answer = http.get(&discovery.jwks_uri, "jwks").await?;
        // What this program cannot use may look as it likes.
        let keys = answer.keys.into_iter();
        let keys: Vec<Jwk> = keys
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter(|key| ALGORITHMS.iter().any(|algorithm| fits(key, *algorithm)))
            .collect();
        if keys.is_empty() {
            return Err(format!(
                "{} has no key for RS256, ES256 or PS256",
                discovery.jwks_uri
            ));
        }
        Ok(keys)
    }
}

/// The key of this id that verifies signatures of this algorithm.
pub(super) fn key_of(keys: &[Jwk], id: &str, algorithm: Algorithm) -> Option<DecodingKey> {
    let key = keys
        .iter()
        .find(|key| key.common.key_id.as_deref() == Some(id) && fits(key, algorithm))?;
    DecodingKey::from_jwk(key).ok()
}

/// Whether a key may verify signatures of this algorithm.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_for_it = key
        .common
        .key_algorithm
        .is_none_or(|own| Algorithm::try_from(own).is_ok_and(|own| own == algorithm));
    let signs =
        !matches!(key.common.public_key_use, Some(ref other) if *other != PublicKeyUse::Signature);
    let is_kind = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            // base64: four characters for three bytes.
            matches!(algorithm, Algorithm::RS256 | Algorithm::PS256)
                && rsa.n.len() * 3 / 4 >= LEAST_MODULUS
        }
        AlgorithmParameters::EllipticCurve(curve) => {
            algorithm == Algorithm::ES256 && curve.curve == EllipticCurve::P256
        }
        _ => false,
    };
    is_for_it && signs && is_kind
}

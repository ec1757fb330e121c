//! The issuer's keys: asked for when one is missing, and kept while the issuer is away.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use natsfn::{Error, Kind, Result};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;

use super::http::Http;
use crate::config::auth::Oidc;

/// How old keys are when they are asked for again, so that one that the issuer withdrew is refused.
const REFRESH_AFTER: Duration = Duration::from_secs(5 * 60);

/// How long after an answer with new keys the issuer is asked about an unknown one.
const AFTER_NEW_KEYS: Duration = Duration::from_secs(10);

/// How long after an answer without new keys: somebody invents them.
const AFTER_NOTHING_NEW: Duration = Duration::from_secs(60);

/// How long after a failure, while keys are known, and while there are none.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
const AFTER_FAILURE_WITHOUT_KEYS: Duration = Duration::from_secs(2);

/// RSA keys below 2048 bits can be broken.
const LEAST_MODULUS: usize = 256;

/// The keys of one issuer.
#[derive(Clone)]
pub(super) struct Keys {
    shared: Arc<State>,
}

struct State {
    http: Http,
    config: Oidc,
    known: Mutex<Known>,
}

struct Known {
    keys: Option<Arc<Vec<Jwk>>>,
    /// When they were answered.
    since: Instant,
    /// When the issuer may be asked again.
    next: Instant,
    /// The question that the issuer has not answered yet.
    asking: Option<Shared<BoxFuture<'static, ()>>>,
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

impl Keys {
    /// # Errors
    /// A sentence: the issuer cannot be asked by TLS.
    pub(super) fn new(config: &Oidc) -> std::result::Result<Self, String> {
        let now = Instant::now();
        let state = State {
            http: Http::new(config.address())?,
            config: config.clone(),
            known: Mutex::new(Known {
                keys: None,
                since: now,
                next: now,
                asking: None,
            }),
        };
        Ok(Self {
            shared: Arc::new(state),
        })
    }

    /// The key of this id and algorithm. Only an unknown one waits for the issuer.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] if the issuer has no such key, [`Kind::Unavailable`] if that is not
    /// known.
    pub(super) async fn find(&self, id: &str, algorithm: Algorithm) -> Result<DecodingKey> {
        let now = Instant::now();
        if let Some(keys) = self.current(now)
            && let Some(key) = key_of(&keys, id, algorithm)
        {
            return Ok(key);
        }
        let asked = self.ask(now);
        if let Some(answer) = asked.clone() {
            answer.await;
        }
        let known = self.shared.known.lock();
        let Some(keys) = &known.keys else {
            return Err(Error::unavailable(
                "sign-in is unavailable, try again: the issuer's keys are not known",
            ));
        };
        match key_of(keys, id, algorithm) {
            Some(key) => Ok(key),
            // The issuer was asked just now.
            None if known.since.elapsed() < AFTER_NEW_KEYS => Err(Error::new(
                Kind::Unauthorized,
                "the token is signed with a key that its issuer does not have",
            )),
            None => Err(Error::unavailable(
                "sign-in is unavailable, try again: the token's key is not known, and the issuer \
                 is not asked so often",
            )),
        }
    }

    /// The known keys. Old ones are asked for again, and nobody waits for that.
    fn current(&self, now: Instant) -> Option<Arc<Vec<Jwk>>> {
        let (keys, since) = {
            let known = self.shared.known.lock();
            (known.keys.clone()?, known.since)
        };
        if now - since >= REFRESH_AFTER {
            self.ask(now);
        }
        Some(keys)
    }

    /// The question that the issuer is answering, or a new one; `None` if it is too soon for that.
    pub(super) fn ask(&self, now: Instant) -> Option<Shared<BoxFuture<'static, ()>>> {
        let mut known = self.shared.known.lock();
        if known.asking.is_some() || now < known.next {
            return known.asking.clone();
        }
        let state = self.shared.clone();
        // A task of its own: who waits for it may give up before a slow issuer answers.
        let fetching = async move {
            let answer = state.fetch().await;
            state.take(answer);
        };
        let asked = tokio::spawn(fetching.in_current_span());
        let asking = asked.map(|_| ()).boxed().shared();
        known.asking = Some(asking.clone());
        Some(asking)
    }
}

impl State {
    async fn fetch(&self) -> std::result::Result<Vec<Jwk>, String> {
        let address = self.config.address();
        let discovery = format!("{address}/.well-known/openid-configuration");
        let discovery: Discovery = self.http.get(&discovery, "openid-configuration").await?;
        let issuer = &self.config.issuer;
        if discovery.issuer != *issuer {
            return Err(format!(
                "{address} calls itself {:?}; auth.oidc.issuer, which is {issuer:?}, must be \
                 exactly that",
                discovery.issuer
            ));
        }
        let answer: Answer = self.http.get(&discovery.jwks_uri, "jwks").await?;
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

    fn take(&self, answer: std::result::Result<Vec<Jwk>, String>) {
        let mut known = self.known.lock();
        let now = Instant::now();
        known.asking = None;
        let pause = match answer {
            Ok(keys) => {
                let is_new = known.keys.as_deref() != Some(&keys);
                if is_new {
                    tracing::info!(keys = keys.len(), "the issuer's keys are known");
                    known.keys = Some(Arc::new(keys));
                }
                known.since = now;
                if is_new {
                    AFTER_NEW_KEYS
                } else {
                    AFTER_NOTHING_NEW
                }
            }
            Err(error) if known.keys.is_some() => {
                tracing::warn!("the issuer does not answer, its keys are kept: {error}");
                AFTER_FAILURE
            }
            Err(error) => {
                tracing::error!("nobody can sign in by auth.oidc: {error}");
                AFTER_FAILURE_WITHOUT_KEYS
            }
        };
        known.next = now + pause;
    }
}

/// The algorithms that a token may be signed by.
pub(super) const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::PS256];

fn key_of(keys: &[Jwk], id: &str, algorithm: Algorithm) -> Option<DecodingKey> {
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

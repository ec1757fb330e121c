//! The keys of a callout: one signs, the other decrypts.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::{SigningKey, VerifyingKey};
use nkeys::{KeyPair, XKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::jwt;
use crate::config::Secret;
use crate::error::run_error::RunError;
use crate::error::{Error, Kind, Result};

/// The first byte of an account's public key.
const ACCOUNT: u8 = 0;

/// Tokens of [`AuthKeys::sign`]; nats-server takes no such JWT.
const TOKEN: &str = "natsfn-token";

/// The private keys of a callout. `Debug` shows the public ones only; cloning is cheap.
#[derive(Clone)]
pub struct AuthKeys(Arc<Pairs>);

struct Pairs {
    signing: SigningKey,
    issuer: String,
    curve: XKey,
    xkey: String,
}

/// Fresh keys: two seeds for the service, two public keys for nats-server's configuration.
#[derive(Clone, Debug)]
pub struct NewKeys {
    /// The seed of the issuer, `SA...`.
    pub issuer_seed: Secret,
    /// Its public key, `A...`: `issuer` in nats-server's `auth_callout`.
    pub issuer: String,
    /// The seed of the curve key, `SX...`.
    pub xkey_seed: Secret,
    /// Its public key, `X...`: `xkey` in nats-server's `auth_callout`.
    pub xkey: String,
}

impl AuthKeys {
    /// The keys of two seeds: the issuer's signs answers, the curve key decrypts requests.
    ///
    /// # Errors
    /// Which seed is wrong, and how one is made; never the seed.
    pub fn from_seeds(issuer: &Secret, xkey: &Secret) -> Result<Self, RunError> {
        let mut problems = Vec::new();
        let signing = signing_key(issuer);
        if signing.is_none() {
            problems.push(
                "the issuer's seed is no seed of an account key, such as SA...; `nk -gen account` makes one".to_owned(),
            );
        }
        let curve = XKey::from_seed(xkey.expose()).ok();
        if curve.is_none() {
            problems.push(
                "the xkey's seed is no seed of a curve key, such as SX...; `nk -gen curve` makes one".to_owned(),
            );
        }
        match (signing, curve) {
            (Some((signing, issuer)), Some(curve)) => Ok(Self(Arc::new(Pairs {
                signing,
                issuer,
                xkey: curve.public_key(),
                curve,
            }))),
            _ => Err(RunError::misuse(problems)),
        }
    }

    /// Makes fresh keys.
    pub fn generate() -> NewKeys {
        let (issuer, curve) = (KeyPair::new_account(), XKey::new());
        NewKeys {
            issuer: issuer.public_key(),
            // A pair that was just made has a seed.
            issuer_seed: issuer.seed().unwrap_or_default().into(),
            xkey: curve.public_key(),
            xkey_seed: curve.seed().unwrap_or_default().into(),
        }
    }

    /// The issuer's public key: `issuer` in nats-server's `auth_callout`.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The public curve key: `xkey` in nats-server's `auth_callout`.
    pub fn xkey(&self) -> &str {
        &self.0.xkey
    }

    /// Signs a token of the service's own, such as that of a session: whoever has the keys can tell
    /// later that it is genuine, meant for this audience, and not expired.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// use natsfn::auth_callout::AuthKeys;
    ///
    /// let new = AuthKeys::generate();
    /// let keys = AuthKeys::from_seeds(&new.issuer_seed, &new.xkey_seed)?;
    /// let hour = SystemTime::now() + Duration::from_secs(3600);
    /// let token = keys.sign("session", hour, &"alice").unwrap();
    ///
    /// let user: String = keys.verify("session", token.expose()).unwrap();
    /// assert_eq!(user, "alice");
    /// assert!(keys.verify::<String>("invitation", token.expose()).is_err());
    /// # Ok::<_, natsfn::RunError>(())
    /// ```
    ///
    /// # Errors
    /// The claims cannot be written as JSON.
    pub fn sign<T: Serialize>(
        &self,
        audience: &str,
        expires: SystemTime,
        claims: &T,
    ) -> Result<Secret> {
        let token = Token {
            aud: audience.to_owned(),
            iat: unix(SystemTime::now()),
            exp: unix(expires),
            claims,
        };
        jwt::encode(TOKEN, &token, &self.0.signing).map(Secret::from)
    }

    /// The claims of a token that these keys have signed for this audience.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`], with the reason.
    pub fn verify<T: DeserializeOwned>(&self, audience: &str, token: &str) -> Result<T> {
        let refused = |why: String| Error::new(Kind::Unauthorized, why);
        let own = self.0.signing.verifying_key();
        let token: Token<T> = jwt::decode(TOKEN, token.as_bytes(), |_| Some(own))
            .map_err(|why| refused(format!("the token is refused: {why}")))?;
        if token.aud != audience {
            return Err(refused(
                "the token is refused: it is for something else".to_owned(),
            ));
        }
        let age = unix(SystemTime::now()) - token.exp;
        if age >= 0 {
            return Err(refused(format!("the token expired {age} s ago")));
        }
        Ok(token.claims)
    }

    pub(super) fn signing(&self) -> &SigningKey {
        &self.0.signing
    }

    pub(super) fn curve(&self) -> &XKey {
        &self.0.curve
    }
}

/// The claims of a token of the service's own.
#[derive(Serialize, Deserialize)]
struct Token<T> {
    aud: String,
    iat: i64,
    exp: i64,
    claims: T,
}

impl fmt::Debug for AuthKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthKeys")
            .field("issuer", &self.0.issuer)
            .field("xkey", &self.0.xkey)
            .finish_non_exhaustive()
    }
}

/// An account's seed as the key that signs, with the public key. nkeys' own pair would stay in memory.
fn signing_key(seed: &Secret) -> Option<(SigningKey, String)> {
    let (kind, bytes) = nkeys::decode_seed(seed.expose()).ok()?;
    let bytes = Zeroizing::new(bytes);
    let public = KeyPair::from_seed(seed.expose()).ok()?.public_key();
    (kind == ACCOUNT).then(|| (SigningKey::from_bytes(&bytes), public))
}

/// A public nkey of the kind that begins with this letter.
pub(super) fn public_key(letter: char, text: &str) -> Option<VerifyingKey> {
    let (_, bytes) = nkeys::from_public_key(text).ok()?;
    let key = text.starts_with(letter).then_some(bytes)?;
    VerifyingKey::from_bytes(&key).ok()
}

/// Seconds since 1970.
pub(super) fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn keys() -> AuthKeys {
        let new = AuthKeys::generate();
        AuthKeys::from_seeds(&new.issuer_seed, &new.xkey_seed).unwrap()
    }

    #[test]
    fn fresh_keys_are_those_of_their_seeds() {
        let new = AuthKeys::generate();
        let keys = AuthKeys::from_seeds(&new.issuer_seed, &new.xkey_seed).unwrap();
        assert_eq!((keys.issuer(), keys.xkey()), (&*new.issuer, &*new.xkey));
        assert!(new.issuer.starts_with('A') && new.xkey.starts_with('X'));
        let shown = format!("{keys:?} {new:?}");
        for seed in [&new.issuer_seed, &new.xkey_seed] {
            assert!(!shown.contains(seed.expose()));
        }
    }

    #[test]
    fn each_wrong_seed_is_named_and_not_shown() {
        let new = AuthKeys::generate();
        let error = AuthKeys::from_seeds(&new.xkey_seed, &new.issuer_seed).unwrap_err();
        assert_eq!((error.lines().len(), error.exit_code()), (2, 2));
        assert!(error.lines()[0].contains("`nk -gen account`"), "{error}");
        assert!(error.lines()[1].contains("`nk -gen curve`"), "{error}");
        assert!(!error.to_string().contains(new.xkey_seed.expose()));
        let public = AuthKeys::from_seeds(&new.issuer.into(), &new.xkey_seed).unwrap_err();
        assert_eq!(public.lines().len(), 1);
    }

    #[test]
    fn token_is_good_for_its_audience_until_it_expires_and_unchanged() {
        let (keys, now) = (keys(), SystemTime::now());
        let token = |expires| {
            keys.sign("session", expires, &json!({ "uid": "alice" }))
                .unwrap()
        };
        let refused = |keys: &AuthKeys, audience, token: &str| {
            let error = keys
                .verify::<serde_json::Value>(audience, token)
                .unwrap_err();
            assert_eq!(error.kind(), Kind::Unauthorized);
            error.message().to_owned()
        };
        let good = token(now + Duration::from_secs(60));
        let good = good.expose();
        let claims: serde_json::Value = keys.verify("session", good).unwrap();
        assert_eq!(claims["uid"], "alice");

        refused(&keys, "other", good);
        refused(&self::keys(), "session", good);
        refused(&keys, "session", "");
        let why = refused(
            &keys,
            "session",
            token(now - Duration::from_secs(90)).expose(),
        );
        assert!(
            why.contains("90 s ago") || why.contains("91 s ago"),
            "{why}"
        );
        for at in 0..good.len() {
            let mut changed = good.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            refused(&keys, "session", std::str::from_utf8(&changed).unwrap());
        }
    }

    #[test]
    fn jwt_for_nats_is_no_token_of_the_service() {
        let keys = keys();
        let exp = unix(SystemTime::now()) + 60;
        let claims = json!({ "aud": "session", "iat": 0, "exp": exp, "claims": "alice" });
        for typ in [TOKEN, jwt::NATS] {
            let token = jwt::encode(typ, &claims, keys.signing()).unwrap();
            let read = keys.verify::<String>("session", &token);
            assert_eq!(read.is_ok(), typ == TOKEN);
        }
    }
}

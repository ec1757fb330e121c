//! Passwords of local users: argon2id at its recommended cost, and only a few at once.

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use natsfn::config::Secret;
use natsfn::{Error, Result};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many logins may wait for each processor: at some 30 ms each, the last one is still answered
/// before nats-server gives up on it, which is after 2 s.
const WAITING: usize = 32;

/// The processors that passwords may keep busy. A hash takes some 30 ms and 19 MiB, so the others
/// wait, and who comes when too many wait is told to come back.
pub struct Hashing {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// The hash of a password that nobody has: an unknown user takes as long as a wrong password.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    // It cannot fail: the system has random numbers, since rustls has begun.
    hash(&Secret::from("nobody")).unwrap_or_default()
});

impl Default for Hashing {
    fn default() -> Self {
        Self::on(available_parallelism().map_or(2, NonZeroUsize::get).max(2))
    }
}

impl Hashing {
    fn on(processors: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(processors)),
            places: Arc::new(Semaphore::new(processors * (1 + WAITING))),
        }
    }

    /// Whether a hash is this password's. `None` is nobody's, and takes as long.
    ///
    /// # Errors
    /// [`natsfn::Kind::Unavailable`] when too many wait.
    pub async fn is_of(&self, hash: Option<String>, password: Secret) -> Result<bool> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Error::unavailable("too many people log in at once"))?;
        let turn = self.turns.clone().acquire_owned().await?;
        let is_right = spawn_blocking(move || {
            // They are held until this has ended, even if nobody waits for it any more.
            let _held = (place, turn);
            let hash = hash.as_deref().unwrap_or(&NOBODY);
            PasswordHash::new(hash).is_ok_and(|hash| {
                let password = password.expose().as_bytes();
                Argon2::default().verify_password(password, &hash).is_ok()
            })
        });
        Ok(is_right.await?)
    }
}

/// Hashes a new password.
///
/// # Errors
/// The system has no random numbers.
pub fn hash(password: &Secret) -> std::result::Result<String, String> {
    let hash = Argon2::default().hash_password(password.expose().as_bytes());
    Ok(hash.map_err(|error| error.to_string())?.to_string())
}

/// Whether a text is a hash that this program can compare.
pub fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"))
}

/// Tells one hash from another without giving it away.
pub fn fingerprint(hash: &str) -> String {
    let digest = Sha256::digest(hash);
    BASE64_URL_SAFE_NO_PAD.encode(&digest[..16])
}

#[cfg(test)]
mod tests {
    use natsfn::Kind;

    use super::*;

    #[tokio::test]
    async fn hash_is_of_its_password_alone() {
        let hashing = Hashing::default();
        let hash = hash(&"right".into()).unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(is_hash(&hash) && !is_hash("right") && !is_hash(""));

        let is_of = async |hash: Option<&String>, password: &str| {
            hashing.is_of(hash.cloned(), password.into()).await.unwrap()
        };
        assert!(is_of(Some(&hash), "right").await);
        assert!(!is_of(Some(&hash), "wrong").await);
        assert!(!is_of(None, "right").await);
        assert!(!is_of(Some(&"broken".to_owned()), "right").await);
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_told_to_come_back() {
        let hashing = Hashing::on(1);
        let _busy = hashing.turns.acquire().await.unwrap();
        let mut waiting: Vec<_> = (0..=WAITING)
            .map(|_| Box::pin(hashing.is_of(None, "x".into())))
            .collect();
        for login in &mut waiting {
            assert!(futures_util::poll!(login.as_mut()).is_pending());
        }

        let refused = hashing.is_of(None, "x".into()).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable);

        // One that does not wait any more leaves its place to another.
        waiting.pop();
        let mut next = Box::pin(hashing.is_of(None, "x".into()));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
    }
}

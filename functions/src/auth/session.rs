//! Session tokens: who logged in with a password connects again without it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natsfn::auth_callout::AuthKeys;
use natsfn::config::Secret;
use natsfn::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use super::password::fingerprint;
use super::users::Users;
use super::users::file::User;

/// What tells these tokens from others that the key signs.
const AUDIENCE: &str = "chat-session";

/// What a session token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    uid: String,
    /// Of the password's hash: a new password, or none, ends the session.
    password: String,
    /// In seconds since 1970.
    expires: u64,
}

/// Makes a session token of a local user.
///
/// # Errors
/// None that can happen: the claims are JSON.
pub fn begin(keys: &AuthKeys, uid: &str, user: &User, expires: SystemTime) -> Result<Secret> {
    let since = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Claims {
        uid: uid.to_owned(),
        password: fingerprint(&user.password),
        expires: since.as_secs(),
    };
    keys.sign(AUDIENCE, expires, &claims)
}

/// Whose session a token is, and when it ends. What the user may do is as the file has it now.
///
/// # Errors
/// [`Kind::Unauthorized`]: it is no session token of this service, or has ended.
pub fn resume(keys: &AuthKeys, users: &Users, token: &str) -> Result<(String, User, SystemTime)> {
    let claims: Claims = keys.verify(AUDIENCE, token)?;
    let user = users.find(&claims.uid);
    let user = user.filter(|user| fingerprint(&user.password) == claims.password);
    let user = user.ok_or_else(|| {
        Error::new(
            Kind::Unauthorized,
            "the session has ended: its user was removed or has a new password",
        )
    })?;
    Ok((
        claims.uid,
        user,
        UNIX_EPOCH + Duration::from_secs(claims.expires),
    ))
}

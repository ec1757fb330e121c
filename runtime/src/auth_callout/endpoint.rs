//! The endpoint that nats-server asks.

use std::sync::Arc;
use std::time::Duration;

use super::codec::AuthCodec;
use super::keys::AuthKeys;
use crate::service::endpoint::Endpoint;

/// Where nats-server asks.
pub const SUBJECT: &str = "$SYS.REQ.USER.AUTH";

/// How long nats-server waits for an answer, unless its `authorization.timeout` says otherwise.
const AUTH_TIMEOUT: Duration = Duration::from_secs(2);

impl Endpoint {
    /// The endpoint of an auth callout: its function takes an
    /// [`AuthRequest`](crate::auth_callout::AuthRequest) and returns an
    /// [`Allow`](crate::auth_callout::Allow), or an error that refuses the login. See
    /// [`natsfn::auth_callout`](crate::auth_callout).
    ///
    /// Its deadline is 2 s, which is how long nats-server waits by default. With
    /// [`Kind::Unavailable`](crate::Kind) and [`Kind::Timeout`](crate::Kind) there is no answer: the client
    /// then sees "Authentication Timeout" and can tell that from a refusal.
    pub fn auth_callout(name: impl Into<String>, keys: AuthKeys) -> Self {
        let mut endpoint = Self::new(name, SUBJECT).deadline(AUTH_TIMEOUT);
        endpoint.codec = Some(Arc::new(AuthCodec { keys }));
        endpoint
    }
}

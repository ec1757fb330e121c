//! The endpoint that nats-server asks.

use std::sync::Arc;
use std::time::Duration;

use super::codec::AuthCodec;
use super::keys::AuthKeys;
use crate::service::endpoint::Endpoint;

/// Where nats-server asks.
pub const SUBJECT: &str = "$SYS.REQ.USER.AUTH";

/// A refusal comes before this. nats-server waits 2 s, unless its `authorization.timeout` says otherwise.
const DEADLINE: Duration = Duration::from_millis(1500);

impl Endpoint {
    /// The endpoint of an auth callout: its function takes an
    /// [`AuthRequest`](crate::auth_callout::AuthRequest) and returns an
    /// [`Allow`](crate::auth_callout::Allow), or an error that refuses the login. See
    /// [`natsfn::auth_callout`](crate::auth_callout).
    ///
    /// With [`Kind::Unavailable`](crate::Kind) and after its deadline (1.5 s by default) there is no answer.
    /// nats-server then refuses the login itself, once it has waited for 2 s (`authorization.timeout` in
    /// its configuration; keep the deadline well below). Both are an "Authorization Violation" for the
    /// client, which can tell them apart by the time alone.
    pub fn auth_callout(name: impl Into<String>, keys: AuthKeys) -> Self {
        let mut endpoint = Self::new(name, SUBJECT).deadline(DEADLINE);
        endpoint.codec = Some(Arc::new(AuthCodec { keys }));
        endpoint
    }
}

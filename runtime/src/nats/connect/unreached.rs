//! Why a server was not reached, in words.

use std::error::Error;
use std::io;

use async_nats::{ConnectError, ConnectErrorKind, rustls};

use crate::config::NatsConfig;
use crate::config::address::without_password;
use crate::error::run_error::Reason;

const IS_IT_THERE: &str = "does the server run, and is nats.url right?";

/// What is known of a server while the first attempt lasts.
pub(super) fn silent(config: &NatsConfig) -> String {
    let shown = without_password(&config.url);
    format!("NATS at {shown} has not answered yet; {IS_IT_THERE}")
}

/// Why an attempt did not succeed, which the next one may.
pub(super) enum Unreached {
    /// Files that cannot be used, a sentence each.
    File(Vec<String>),
    Server {
        reason: String,
        kind: ConnectErrorKind,
    },
}

impl Unreached {
    pub(super) fn of(error: &ConnectError) -> Self {
        let kind = if below(error).any(is_tls) {
            ConnectErrorKind::Tls
        } else {
            error.kind()
        };
        Self::Server {
            reason: error.to_string(),
            kind,
        }
    }

    /// What a caller can do about it.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Server { kind, .. } if *kind != ConnectErrorKind::AuthorizationViolation => {
                Reason::Unreached
            }
            _ => Reason::Other,
        }
    }

    /// The cause, and where to look for the cure.
    pub(super) fn sentence(&self, config: &NatsConfig, section: &str) -> String {
        let (reason, kind) = match self {
            Self::File(mistakes) => return mistakes.join("; "),
            Self::Server { reason, kind } => (reason, kind),
        };
        let shown = without_password(&config.url);
        let question = match kind {
            // The server is there, and does not let this login in.
            ConnectErrorKind::AuthorizationViolation => None,
            ConnectErrorKind::Tls => {
                Some("does the server speak TLS, and are nats.ca, nats.cert and nats.key right?")
            }
            _ => Some(IS_IT_THERE),
        };
        if let Some(question) = question {
            return format!("NATS at {shown} cannot be reached: {reason}; {question}");
        }
        let file = |key: &str| format!("login; is {section}.{key} the right file?");
        let cure = match config {
            NatsConfig {
                user: Some(user), ..
            } => {
                format!("user {user:?}; are {section}.user and {section}.password right?")
            }
            NatsConfig { token: Some(_), .. } => format!("token; is {section}.token right?"),
            NatsConfig { nkey: Some(_), .. } => file("nkey"),
            NatsConfig { creds: Some(_), .. } => file("creds"),
            NatsConfig { url, .. } if url.contains('@') => {
                "login in nats.url; are user and password, or the token, right?".to_owned()
            }
            _ => format!("login without a name; set {section}.user and {section}.password"),
        };
        format!("NATS at {shown} refuses the {cure}")
    }
}

/// An error and what is below it: "IO error" alone is nothing that somebody could cure.
fn below(error: &ConnectError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let of_io = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || of_io.is_some_and(|error| error.is::<rustls::Error>())
}

//! Connects to NATS: retried until the server answers, reconnected for good.

mod refusals;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};

use crate::config::address::{Addresses, TWO_LOGINS, UrlLogin, without_password};
use crate::config::{NatsConfig, Secret};
use crate::error::run_error::RunError;

pub(crate) use refusals::{Refusals, subject as refused_subject};
pub(crate) use trouble::{TELL, Trouble};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Connects, and keeps trying while the server is away or refuses the login: it says so at once,
/// and then once a minute. `name` is what the server shows of this connection.
///
/// # Errors
/// Only what no patience helps with: an address that is none, a file of credentials that cannot be
/// read.
pub async fn connect(config: &NatsConfig, name: &str) -> Result<Client, RunError> {
    Ok(connect_patiently(config, name, "nats").await?.0)
}

/// As [`connect`], and what the server refuses comes out of the receiver as long as there is one.
/// `section` is the part of the configuration that the login stands in.
pub(crate) async fn connect_patiently(
    config: &NatsConfig,
    name: &str,
    section: &str,
) -> Result<(Client, Refusals), RunError> {
    connect_sharing(config, name, section, &Arc::default()).await
}

/// As [`connect_patiently`]; connections that share their trouble tell of it once.
pub(crate) async fn connect_sharing(
    config: &NatsConfig,
    name: &str,
    section: &str,
    trouble: &Arc<Trouble>,
) -> Result<(Client, Refusals), RunError> {
    let (refused, refusals) = refusals::channel();
    let mut attempts = 0;
    loop {
        match attempt(config, name, refused.clone(), trouble.clone()).await? {
            Ok(client) => return Ok((client, refusals)),
            Err(unreached) => {
                trouble.retry(unreached.sentence(config, section));
                attempts += 1;
                tokio::time::sleep(pause(attempts)).await;
            }
        }
    }
}

/// Connects, or says why not.
///
/// # Errors
/// The server is away, it refuses the login, or the configuration is wrong.
pub async fn connect_once(config: &NatsConfig, name: &str) -> Result<Client, RunError> {
    Ok(connect_as(config, name, "nats").await?.0)
}

/// As [`connect_once`], and what the server refuses this user comes out of the receiver: NATS says
/// so beside the request, which would only time out. `section` is the part of the configuration
/// that the login stands in.
pub(crate) async fn connect_as(
    config: &NatsConfig,
    name: &str,
    section: &str,
) -> Result<(Client, Refusals), RunError> {
    let (refused, refusals) = refusals::channel();
    let reached = attempt(config, name, refused, Arc::default()).await?;
    let client = reached.map_err(|unreached| RunError::new(unreached.sentence(config, section)))?;
    Ok((client, refusals))
}

/// The outcome of work on such a connection, or what the server refuses.
#[cfg(feature = "cli")]
pub(crate) async fn unless_refused<T>(
    refusals: &mut Refusals,
    work: impl Future<Output = crate::error::Result<T>>,
) -> Result<T, RunError> {
    tokio::select! {
        done = work => done.map_err(|error| RunError::new(error.to_string())),
        Some(refused) = refusals.next() => Err(RunError::new(refused)),
    }
}

/// Why an attempt did not succeed, which the next one may.
struct Unreached {
    reason: String,
    /// The server is there, and does not let this login in.
    is_login: bool,
}

impl Unreached {
    /// The cause, and where to look for the cure.
    fn sentence(&self, config: &NatsConfig, section: &str) -> String {
        let Self { reason, is_login } = self;
        let shown = without_password(&config.url);
        if !is_login {
            return format!(
                "NATS at {shown} cannot be reached: {reason}; does the server run, and is nats.url right?"
            );
        }
        let cure = match (&config.user, &config.creds) {
            (Some(user), _) => {
                format!("user {user:?}; are {section}.user and {section}.password right?")
            }
            (None, Some(_)) => format!("login; is {section}.creds the right file?"),
            (None, None) if config.url.contains('@') => {
                "login in nats.url; are user and password, or the token, right?".to_owned()
            }
            (None, None) => {
                format!("login without a name; set {section}.user and {section}.password")
            }
        };
        format!("NATS at {shown} refuses the {cure}")
    }
}

/// The outer error is final; the inner one may pass.
async fn attempt(
    config: &NatsConfig,
    name: &str,
    refused: refusals::Sender,
    trouble: Arc<Trouble>,
) -> Result<Result<Client, Unreached>, RunError> {
    let Addresses { servers, login } = Addresses::parse(&config.url)
        .map_err(|problem| RunError::misuse([format!("nats.url: {problem}")]))?;
    let options = options(config, name, refused, trouble).await?;
    let options = match login {
        None => options,
        Some(_) if config.user.is_some() || config.creds.is_some() => {
            return Err(RunError::misuse([TWO_LOGINS.to_owned()]));
        }
        Some(UrlLogin::User(user, password)) => {
            options.user_and_password(user, password.expose().to_owned())
        }
        Some(UrlLogin::Token(token)) => options.token(token.expose().to_owned()),
    };
    let connected = options.connect(servers).await;
    Ok(connected.map_err(|error| Unreached {
        reason: error.to_string(),
        is_login: error.kind() == ConnectErrorKind::AuthorizationViolation,
    }))
}

async fn options(
    config: &NatsConfig,
    name: &str,
    refused: refusals::Sender,
    trouble: Arc<Trouble>,
) -> Result<ConnectOptions, RunError> {
    let is_first = AtomicBool::new(true);
    let shown = without_password(&config.url);
    let mut options = ConnectOptions::new()
        .name(name)
        .ping_interval(config.ping_interval())
        .max_reconnects(None)
        .reconnect_delay_callback(move |attempts| {
            // A new connection has nothing to wait for.
            if is_first.swap(false, Relaxed) {
                Duration::ZERO
            } else {
                pause(attempts)
            }
        })
        .event_callback(move |event| {
            let is_told = match &event {
                // Where somebody waits for it, it is theirs to tell.
                Event::ServerError(error) => {
                    let error = error.to_string();
                    refusals::is_refusal(&error) && refused.send(error).is_ok()
                }
                _ => false,
            };
            if !is_told {
                trouble.hear(&event, &shown);
            }
            std::future::ready(())
        });
    if let Some(prefix) = &config.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    if let Some(file) = &config.creds {
        options = options.credentials_file(file).await.map_err(|error| {
            RunError::misuse([format!(
                "nats.creds: {} cannot be read: {error}",
                file.display()
            )])
        })?;
    }
    if let Some(user) = &config.user {
        let password = config
            .password
            .as_ref()
            .map(Secret::expose)
            .unwrap_or_default();
        options = options.user_and_password(user.clone(), password.to_owned());
    }
    Ok(options)
}

/// The pause before an attempt: longer each time, and random, so that not everybody comes at once.
pub(crate) fn pause(attempts: usize) -> Duration {
    if attempts == 0 {
        return Duration::ZERO;
    }
    let doubled =
        Duration::from_millis(50) * 2_u32.pow(u32::try_from(attempts).unwrap_or(8).min(8));
    doubled
        .min(LONGEST_PAUSE)
        .mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_growing() {
        assert_eq!(pause(0), Duration::ZERO);
        for attempts in [1, 5, 50, usize::MAX] {
            assert!(
                pause(attempts) >= Duration::from_millis(50) && pause(attempts) <= LONGEST_PAUSE
            );
        }
    }
}

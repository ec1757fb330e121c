//! Connects to NATS: retried until the server answers, reconnected for good.

mod credentials;
mod refusals;
mod trouble;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::rustls;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event};

use crate::config::address::{Addresses, without_password};
use crate::config::{NatsConfig, text_of};
use crate::error::run_error::RunError;
use credentials::Credentials;

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
    kind: ConnectErrorKind,
}

impl Unreached {
    /// The cause, and where to look for the cure.
    fn sentence(&self, config: &NatsConfig, section: &str) -> String {
        let Self { reason, kind } = self;
        let shown = without_password(&config.url);
        let question = match kind {
            // The server is there, and does not let this login in.
            ConnectErrorKind::AuthorizationViolation => None,
            ConnectErrorKind::Tls => {
                Some("does the server speak TLS, and are nats.ca, nats.cert and nats.key right?")
            }
            _ => Some("does the server run, and is nats.url right?"),
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

/// The outer error is final; the inner one may pass.
async fn attempt(
    config: &NatsConfig,
    name: &str,
    refused: refusals::Sender,
    trouble: Arc<Trouble>,
) -> Result<Result<Client, Unreached>, RunError> {
    let Addresses { servers, login } = Addresses::parse(&config.url)
        .map_err(|problem| RunError::misuse([format!("nats.url: {problem}")]))?;
    let credentials =
        Credentials::of(config, login).map_err(|mistake| RunError::misuse([mistake]))?;
    // What is wrong with a file at the start is told at once.
    let mistakes = credentials
        .auth(b"")
        .err()
        .into_iter()
        .chain(tls_mistakes(config));
    let mistakes: Vec<String> = mistakes.collect();
    if !mistakes.is_empty() {
        return Err(RunError::misuse(mistakes));
    }
    let options = options(config, name, credentials, refused, trouble);
    let connected = options.connect(servers).await;
    Ok(connected.map_err(|error| Unreached {
        reason: error.to_string(),
        kind: if below(&error).any(is_tls) {
            ConnectErrorKind::Tls
        } else {
            error.kind()
        },
    }))
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

/// The files of TLS that cannot be read; the client reads them at each connect.
fn tls_mistakes(config: &NatsConfig) -> Vec<String> {
    let files = [
        ("ca", &config.ca),
        ("cert", &config.cert),
        ("key", &config.key),
    ];
    let files = files
        .into_iter()
        .filter_map(|(key, file)| Some((key, file.as_ref()?)));
    let mut mistakes: Vec<String> = files
        .filter_map(|(key, file)| Some(format!("nats.{key}: {}", text_of(file).err()?)))
        .collect();
    if config.cert.is_some() != config.key.is_some() {
        mistakes
            .push("nats.cert and nats.key: one is missing, though the other is given".to_owned());
    }
    mistakes
}

fn options(
    config: &NatsConfig,
    name: &str,
    credentials: Credentials,
    refused: refusals::Sender,
    trouble: Arc<Trouble>,
) -> ConnectOptions {
    let is_first = AtomicBool::new(true);
    let shown = without_password(&config.url);
    let mut options =
        ConnectOptions::with_auth_callback(move |nonce| credentials.clone().answer(nonce))
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
    if let Some(ca) = &config.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    if config.ca.is_some() || config.cert.is_some() {
        options = options.require_tls(true);
    }
    if config.tls_first {
        options = options.tls_first();
    }
    options
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

//! Connects to NATS: retried until the server answers, reconnected for good.

mod credentials;
mod refusals;
mod tls_files;
mod trouble;
mod unreached;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::rustls;
use async_nats::{AuthError, ConnectOptions, Event, ServerAddr};
use tokio::time::timeout;
#[cfg(feature = "cli")]
use tokio::time::{Instant, timeout_at};

use super::jetstream::Nats;
use crate::config::address::{Addresses, TWO_JETSTREAMS, without_password};
use crate::config::{INBOX_PREFIX, NatsConfig, is_literal};
#[cfg(feature = "cli")]
use crate::error::run_error::Reason;
use crate::error::run_error::RunError;
use credentials::Credentials;
use tls_files::unusable;
use unreached::Unreached;

pub(crate) use refusals::{Refusals, subject as refused_subject};
pub(crate) use trouble::{TELL, Trouble};

/// How long an attempt may take before somebody is told: the client's own limit is 5 s for an address, and none for
/// finding out which addresses a name has.
const SLOW_ATTEMPT: Duration = Duration::from_secs(6);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Connects, and keeps trying while the server is away or refuses the login: it says so at once,
/// and then once a minute. `name` is what the server shows of this connection.
///
/// # Errors
/// Only what no patience helps with: an address that is none, a file of credentials that cannot be
/// read.
pub async fn connect(config: &NatsConfig, name: &str) -> Result<Nats, RunError> {
    Ok(connect_sharing(config, name, "nats", &Arc::default())
        .await?
        .0)
}

/// As [`connect_sharing`], until then at most; where no time is left, one attempt is made.
///
/// # Errors
/// As [`connect`]; why the server was not reached, or refused the login.
#[cfg(feature = "cli")]
pub(crate) async fn connect_until(
    config: &NatsConfig,
    name: &str,
    section: &str,
    until: Instant,
) -> Result<(Nats, Refusals), RunError> {
    if until <= Instant::now() {
        return connect_as(config, name, section).await;
    }
    let trouble = Arc::default();
    let connecting = connect_sharing(config, name, section, &trouble);
    match timeout_at(until, connecting).await {
        Ok(connected) => connected,
        Err(_) => {
            let why = trouble.now().unwrap_or_else(|| unreached::silent(config));
            Err(RunError::of(Reason::Unreached, why))
        }
    }
}

/// As [`connect`], and what the server refuses comes out of the receiver as long as there is one.
/// `section` is the part of the configuration that the login stands in. Connections that share their trouble tell of it
/// once.
pub(crate) async fn connect_sharing(
    config: &NatsConfig,
    name: &str,
    section: &str,
    trouble: &Arc<Trouble>,
) -> Result<(Nats, Refusals), RunError> {
    let (refused, refusals) = refusals::channel();
    let mut attempts = 0;
    loop {
        let attempt = attempt(config, name, section, refused.clone(), trouble);
        let tell = || {
            // Why an earlier attempt failed says more.
            if trouble.now().is_none() {
                trouble.tell(|| unreached::silent(config));
            }
        };
        match telling_if_slow(attempt, tell).await? {
            Ok(client) => return Ok((client, refusals)),
            // What is wrong at the start is told at once; later it may be a file that is being replaced.
            Err(Unreached::File(mistakes)) if attempts == 0 && !trouble.was_connected() => {
                return Err(RunError::misuse(mistakes));
            }
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
pub async fn connect_once(config: &NatsConfig, name: &str) -> Result<Nats, RunError> {
    Ok(connect_as(config, name, "nats").await?.0)
}

/// As [`connect_once`], and what the server refuses this user comes out of the receiver: NATS says
/// so beside the request, which would only time out. `section` is the part of the configuration
/// that the login stands in.
pub(crate) async fn connect_as(
    config: &NatsConfig,
    name: &str,
    section: &str,
) -> Result<(Nats, Refusals), RunError> {
    let (refused, refusals) = refusals::channel();
    match attempt(config, name, section, refused, &Arc::default()).await? {
        Ok(client) => Ok((client, refusals)),
        Err(Unreached::File(mistakes)) => Err(RunError::misuse(mistakes)),
        Err(unreached) => Err(RunError::of(
            unreached.reason(),
            unreached.sentence(config, section),
        )),
    }
}

/// Tells once where an attempt takes long.
async fn telling_if_slow<T>(attempt: impl Future<Output = T>, tell: impl FnOnce()) -> T {
    let mut attempt = std::pin::pin!(attempt);
    match timeout(SLOW_ATTEMPT, &mut attempt).await {
        Ok(done) => done,
        Err(_) => {
            tell();
            attempt.await
        }
    }
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

/// The outer error is final; the inner one may pass.
async fn attempt(
    config: &NatsConfig,
    name: &str,
    section: &str,
    refused: refusals::Sender,
    trouble: &Arc<Trouble>,
) -> Result<Result<Nats, Unreached>, RunError> {
    let Addresses { servers, login } = Addresses::parse(&config.url)
        .map_err(|problem| RunError::misuse([format!("nats.url: {problem}")]))?;
    let credentials =
        Credentials::of(config, login).map_err(|mistake| RunError::misuse([mistake]))?;
    if config.cert.is_some() != config.key.is_some() {
        let mistake = "nats.cert and nats.key: one of them is missing";
        return Err(RunError::misuse([mistake.to_owned()]));
    }
    if config.domain.is_some() && config.api_prefix.is_some() {
        return Err(RunError::misuse([TWO_JETSTREAMS.to_owned()]));
    }
    if let Some(prefix) = config.inbox_prefix.as_ref().filter(|it| !is_literal(it)) {
        let mistake = format!("{section}.inbox_prefix: is {prefix:?}, must be {INBOX_PREFIX}");
        return Err(RunError::misuse([mistake]));
    }
    let mut mistakes = unusable(config);
    mistakes.extend(credentials.auth(section, b"").err());
    if !mistakes.is_empty() {
        return Ok(Err(Unreached::File(mistakes)));
    }
    // A server that the cluster tells of later is reached as safely as those of the address.
    let needs_tls = config.ca.is_some()
        || config.cert.is_some()
        || servers.iter().any(ServerAddr::tls_required);
    // Where the program has another provider too, rustls would not know which to take.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let login = {
        let (section, trouble) = (section.to_owned(), trouble.clone());
        move |nonce: Vec<u8>| {
            // Small files, at a connect: not worth a thread.
            let auth = credentials.auth(&section, &nonce);
            if let Err(mistake) = &auth {
                trouble.tell(|| mistake.clone());
            }
            std::future::ready(auth.map_err(AuthError::new))
        }
    };
    let options = ConnectOptions::with_auth_callback(login).require_tls(needs_tls);
    let options = configure(options, config, name, refused, trouble.clone());
    let connected = options.connect(servers).await;
    Ok(match connected {
        Ok(client) => Ok(Nats::new(client, config)),
        Err(error) => Err(Unreached::of(&error)),
    })
}

fn configure(
    options: ConnectOptions,
    config: &NatsConfig,
    name: &str,
    refused: refusals::Sender,
    trouble: Arc<Trouble>,
) -> ConnectOptions {
    let is_first = AtomicBool::new(true);
    let (shown, files) = (without_password(&config.url), config.clone());
    let mut options = options
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
                trouble.hear(&event, &shown, || unusable(&files));
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

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_lasts_is_told_while_it_lasts() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let attempt = async { told.await.is_ok() };
        assert!(telling_if_slow(attempt, || tell.send(()).unwrap()).await);
    }

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

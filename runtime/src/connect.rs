//! The connection to NATS: made with patience, kept for good, its troubles told once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use crate::config::{NatsConfig, Secret};
use crate::run_error::RunError;

/// How often a trouble that lasts is told.
const TELL: Duration = Duration::from_secs(60);
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
    let trouble = Trouble::default();
    let (refused, refusals) = watch::channel(Vec::new());
    let mut attempts = 0;
    loop {
        match attempt(config, name, refused.clone()).await? {
            Ok(client) => return Ok((client, refusals)),
            Err(unreached) => {
                trouble.tell(|| format!("trying again: {}", unreached.sentence(config, section)));
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
    let (refused, refusals) = watch::channel(Vec::new());
    let reached = attempt(config, name, refused).await?;
    let client = reached.map_err(|unreached| RunError::new(unreached.sentence(config, section)))?;
    Ok((client, refusals))
}

/// What the server has refused so far, in its own words.
pub(crate) type Refusals = watch::Receiver<Vec<String>>;

/// The outcome of work on such a connection, or what the server refuses.
#[cfg(feature = "cli")]
pub(crate) async fn unless_refused<T>(
    refusals: &mut Refusals,
    work: impl Future<Output = crate::Result<T>>,
) -> Result<T, RunError> {
    tokio::select! {
        done = work => done.map_err(|error| RunError::new(error.to_string())),
        Ok(refused) = refusals.wait_for(|refused| !refused.is_empty()) => {
            Err(RunError::new(refused.join("; ")))
        }
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
                "login; are user and password in nats.url right?".to_owned()
            }
            (None, None) => {
                format!("login without a name; set {section}.user and {section}.password")
            }
        };
        format!("NATS at {shown} refuses the {cure}")
    }
}

/// The addresses that `nats.url` lists.
///
/// # Errors
/// One of them is none: what is wrong with it, without a password.
pub(crate) fn addresses(url: &str) -> Result<Vec<ServerAddr>, String> {
    let each = url.split(',').map(|url| url.trim().parse());
    each.collect::<Result<_, _>>().map_err(|_| {
        let shown = without_password(url);
        format!("{shown:?} is no address such as nats://localhost:4222")
    })
}

/// An address without the password that it may hold.
pub(crate) fn without_password(url: &str) -> String {
    let parts = url.split(',').map(|url| match url.split_once("://") {
        Some((scheme, rest)) => {
            format!(
                "{scheme}://{}",
                rest.rsplit_once('@').map_or(rest, |(_, host)| host)
            )
        }
        None => url
            .rsplit_once('@')
            .map_or(url, |(_, host)| host)
            .to_owned(),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// The outer error is final; the inner one may pass.
async fn attempt(
    config: &NatsConfig,
    name: &str,
    refused: watch::Sender<Vec<String>>,
) -> Result<Result<Client, Unreached>, RunError> {
    let addresses = addresses(&config.url)
        .map_err(|problem| RunError::misuse([format!("nats.url: {problem}")]))?;
    let connected = options(config, name, refused)
        .await?
        .connect(addresses)
        .await;
    Ok(connected.map_err(|error| Unreached {
        reason: error.to_string(),
        is_login: error.kind() == ConnectErrorKind::AuthorizationViolation,
    }))
}

async fn options(
    config: &NatsConfig,
    name: &str,
    refused: watch::Sender<Vec<String>>,
) -> Result<ConnectOptions, RunError> {
    let trouble = std::sync::Arc::new(Trouble::default());
    let shown = without_password(&config.url);
    let mut options = ConnectOptions::new()
        .name(name)
        .max_reconnects(None)
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            match &event {
                // Where somebody waits for it, it is theirs to tell.
                Event::ServerError(error) if !refused.is_closed() => {
                    refused.send_modify(|refused| refused.push(error.to_string()));
                }
                _ => trouble.hear(&event, &shown),
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
fn pause(attempts: usize) -> Duration {
    if attempts == 0 {
        return Duration::ZERO;
    }
    let doubled =
        Duration::from_millis(50) * 2_u32.pow(u32::try_from(attempts).unwrap_or(8).min(8));
    doubled
        .min(LONGEST_PAUSE)
        .mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// What is wrong at the moment, and when it was told last.
#[derive(Default)]
struct Trouble(Mutex<Option<Instant>>);

impl Trouble {
    fn tell(&self, what: impl FnOnce() -> String) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            *told = Some(Instant::now());
            tracing::warn!("{}", what());
        }
    }

    fn hear(&self, event: &Event, shown: &str) {
        match event {
            Event::Connected => {
                let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if told.take().is_some() {
                    tracing::info!("connected to NATS at {shown} again");
                }
            }
            Event::Disconnected => self.tell(|| format!("NATS at {shown} is away; trying again")),
            Event::ClientError(error) => {
                self.tell(|| format!("NATS at {shown} is away ({error}); trying again"));
            }
            Event::LameDuckMode => tracing::info!("NATS at {shown} is about to stop"),
            Event::SlowConsumer(_) => {
                tracing::warn!("messages were lost on the way in: this process does not keep up");
            }
            Event::ServerError(error) => tracing::warn!(%error, "NATS refuses something"),
            Event::Draining | Event::Closed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_in_an_address_is_not_shown() {
        assert_eq!(
            without_password("nats://a:b@c@host:1,d:e@host:2,nats://host"),
            "nats://host:1,host:2,nats://host"
        );
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

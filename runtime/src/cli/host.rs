//! Hosts the services of a program in this process: starts each, starts it again when its connection
//! dies, drains all of them.

pub(super) mod stop;

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::program::Program;
use super::say;
use crate::config::{NatsConfig, RuntimeConfig};
use crate::error::run_error::{Reason, RunError};
use crate::nats::connect::{Trouble, pause};
use crate::nats::connections::Connections;
use crate::run::running::Running;
use crate::run::start::start;
use crate::service::Definition;

/// How long what is in flight may take at stop. Docker kills after 10 s.
const DRAIN: Duration = Duration::from_secs(8);
/// With a dead connection there is nobody to wait for.
const GIVE_UP: Duration = Duration::from_secs(1);

/// Serves every service of which something is served, until the word to stop, then drains them.
/// `ready` is called once all of them are.
///
/// # Errors
/// One cannot start, or `ready` fails: the others are drained too.
pub(super) async fn serve(
    program: Program,
    config: &RuntimeConfig,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce() -> Result<(), RunError>,
) -> Result<(), RunError> {
    let hosts: Vec<Host> = program
        .into_served()
        .into_iter()
        .map(|definition| {
            let (nats, section) = config.first_of(&[definition.name()]);
            Host {
                definition,
                nats,
                section,
                database_url: config.database_url().map(str::to_owned),
            }
        })
        .collect();
    let (word, ready) = (CancellationToken::new(), Cell::new(Some(ready)));
    let missing = Cell::new(hosts.len());
    let is_ready = || {
        missing.set(missing.get() - 1);
        let last = if missing.get() == 0 {
            ready.take()
        } else {
            None
        };
        last.map_or(Ok(()), |ready| ready())
    };
    let running = join_all(hosts.iter().map(async |host| {
        let ran = host.run(&word, is_ready).await;
        if ran.is_err() {
            word.cancel();
        }
        ran
    }));
    let mut running = std::pin::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = stop => {
            say("stopping");
            word.cancel();
            running.await
        }
    };
    ended.into_iter().collect()
}

/// A service, and what it needs to start.
struct Host {
    definition: Definition,
    nats: NatsConfig,
    /// Where in the configuration the login stands.
    section: String,
    database_url: Option<String>,
}

impl Host {
    /// Starts, says so, serves until the word to stop, drains.
    async fn run(
        &self,
        stop: &CancellationToken,
        ready: impl FnOnce() -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let mut running = tokio::select! {
            running = self.start() => running?,
            () = stop.cancelled() => return Ok(()),
        };
        if let Err(error) = ready() {
            running.stop(DRAIN).await;
            return Err(error);
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                reason = running.lost() => tracing::error!("{reason}; starting again"),
            }
            running.stop(GIVE_UP).await;
            running = tokio::select! {
                again = self.start_again() => again?,
                () = stop.cancelled() => return Ok(()),
            };
        }
        running.stop(DRAIN).await;
        Ok(())
    }

    /// Connects and starts. A subscription that the server refuses is an error: NATS says so beside
    /// it, and the function would look as if it were served.
    async fn start(&self) -> Result<Running, RunError> {
        self.start_as(true, |error| !error.is_passing()).await
    }

    /// Starts what has run before: what stands against it passes, unless somebody must change it
    /// here. What the server refuses now it may allow later, and the other functions are served.
    async fn start_again(&self) -> Result<Running, RunError> {
        self.start_as(false, |error| error.reason() == Reason::Misuse)
            .await
    }

    /// Tries until it works, or there is an error that is final.
    async fn start_as(
        &self,
        is_strict: bool,
        is_final: impl Fn(&RunError) -> bool,
    ) -> Result<Running, RunError> {
        let trouble = Trouble::default();
        let mut attempts = 0;
        loop {
            let mut connections =
                Connections::open_as(&self.nats, self.definition.name(), &self.section).await?;
            connections.is_strict = is_strict;
            let url = self.database_url.as_deref();
            match start(self.definition.clone(), connections, url).await {
                Err(error) if !is_final(&error) => {
                    trouble.tell(|| format!("trying again: {error}"));
                    attempts += 1;
                    tokio::time::sleep(pause(attempts)).await;
                }
                done => return done,
            }
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::config::Login;
    use crate::error::reply::check;
    use crate::service::Service;
    use crate::testing;

    const CONF: &str = r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
authorization { users: [
  { user: a, password: a, permissions: { publish: ">", subscribe: ["good", "$SRV.>", "_INBOX.>"] } }
] }
"#;

    #[tokio::test]
    async fn service_that_starts_again_serves_what_the_server_lets_it() {
        let server = testing::nats_with(|config| config.text(CONF)).await;
        let service = Service::new("a", "1.0.0")
            .endpoint("good", async || {})
            .endpoint("bad", async || {});
        let nats = NatsConfig {
            url: server.url().to_owned(),
            ..NatsConfig::default()
        };
        let host = Host {
            definition: service.build().unwrap(),
            nats: nats.login(&Login::new("a", "a", "_INBOX.a")),
            section: "nats".to_owned(),
            database_url: None,
        };

        let refused = host.start().await.err().unwrap().to_string();
        assert!(refused.contains("may not subscribe bad;"), "{refused}");
        let running = host.start_again().await.unwrap();

        let why = running.health().unwrap_err();
        assert!(why.starts_with("bad is not subscribed"), "{why}");
        let answer = running.nats().request("good", "".into()).await.unwrap();
        check(&answer).unwrap();
        running.stop(GIVE_UP).await;
    }

    #[tokio::test]
    async fn services_beside_each_other_drain_together() {
        let server = testing::nats_with(|config| config).await;
        let (begun, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let (go_on, wait) = tokio::sync::watch::channel(false);
        let slow = move || {
            let (begun, mut wait) = (begun.clone(), wait.clone());
            async move {
                begun.send(()).unwrap();
                wait.wait_for(|go_on| *go_on).await.map(drop).unwrap();
            }
        };
        let b = Service::new("b", "1.0.0").endpoint("b", slow.clone());
        let a = Service::new("a", "1.0.0").endpoint("a", slow).beside(b);
        let config = RuntimeConfig {
            nats: NatsConfig {
                url: server.url().to_owned(),
                ..NatsConfig::default()
            },
            ..RuntimeConfig::default()
        };
        let program = Program::new(a.build().unwrap(), &config);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let stopping = async { stopped.await.unwrap() };
        let served = serve(program, &config, stopping, || {
            ready.send(()).unwrap();
            Ok(())
        });
        let asked = async {
            is_ready.await.unwrap();
            let nats = async_nats::connect(server.url()).await.unwrap();
            let answers = ["a", "b"].map(|subject| {
                let nats = nats.clone();
                tokio::spawn(async move { nats.request(subject, "".into()).await })
            });
            seen.recv().await.unwrap();
            seen.recv().await.unwrap();
            stop.send(()).unwrap();
            // Both are told at once: neither waits for the other to drain.
            for service in ["a", "b"] {
                while state(&nats, service).await.as_deref() != Some("draining") {
                    tokio::task::yield_now().await;
                }
            }
            go_on.send_replace(true);
            for answer in answers {
                check(&answer.await.unwrap().unwrap()).unwrap();
            }
        };
        let (served, ()) = tokio::join!(served, asked);
        served.unwrap();
    }

    async fn state(nats: &async_nats::Client, service: &str) -> Option<String> {
        let subject = format!("$SRV.STATS.{service}");
        let stats = nats.request(subject, "".into()).await.ok()?;
        let stats: serde_json::Value = serde_json::from_slice(&stats.payload).ok()?;
        let state = stats["endpoints"][0]["data"]["state"].as_str()?;
        Some(state.to_owned())
    }

    #[tokio::test]
    async fn service_that_cannot_start_stops_those_beside_it() {
        let server = testing::nats_with(|config| config.text(CONF)).await;
        let bad = Service::new("b", "1.0.0").endpoint("bad", async || {});
        let good = Service::new("a", "1.0.0").endpoint("good", async || {});
        let nats = NatsConfig {
            url: server.url().to_owned(),
            ..NatsConfig::default()
        };
        let config = RuntimeConfig {
            nats: nats.login(&Login::new("a", "a", "_INBOX.a")),
            ..RuntimeConfig::default()
        };
        let program = Program::new(good.beside(bad).build().unwrap(), &config);

        let never = std::future::pending();
        let served = serve(program, &config, never, || panic!("it is not ready")).await;

        let refused = served.unwrap_err().to_string();
        assert!(refused.contains("may not subscribe bad;"), "{refused}");
    }
}

//! Hosts a service in this process: starts it, starts it again when its connection dies, drains it.

use std::pin::Pin;
use std::time::Duration;

use super::say;
use crate::config::NatsConfig;
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

/// A service, and what it needs to start.
pub(super) struct Host {
    pub(super) definition: Definition,
    pub(super) nats: NatsConfig,
    pub(super) database_url: Option<String>,
    pub(super) name: String,
}

impl Host {
    /// Connects and starts. A subscription that the server refuses is an error: NATS says so beside
    /// it, and the function would look as if it were served.
    pub(super) async fn start(&self) -> Result<Running, RunError> {
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
            let mut connections = Connections::open(&self.nats, &self.name).await?;
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

    /// Serves until the word to stop, then drains.
    pub(super) async fn serve(
        &self,
        mut running: Running,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), RunError> {
        loop {
            tokio::select! {
                () = &mut stop => break,
                reason = running.lost() => tracing::error!("{reason}; starting again"),
            }
            running.stop(GIVE_UP).await;
            running = tokio::select! {
                again = self.start_again() => again?,
                () = &mut stop => return Ok(()),
            };
        }
        say("stopping");
        running.stop(DRAIN).await;
        Ok(())
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
            database_url: None,
            name: "a".to_owned(),
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
}

//! What a test of a service needs: the service without a broker, or nats-servers of its own.

mod cluster;
mod local;
mod message;
mod outcome;

use std::ops::Deref;

use tempfile::TempDir;

use crate::error::run_error::RunError;
use crate::server::{Server, ServerConfig};

pub use cluster::TestCluster;
pub use local::{Local, local};
pub use message::TestMessage;
pub use outcome::{ErrorReply, Outcome};

/// A nats-server for one test, with JetStream, on free ports, in a directory of its own. It ends
/// and its directory goes when this is dropped.
///
/// ```no_run
/// use natsfn::{Json, Service};
///
/// async fn hello(Json(name): Json<String>) -> Json<String> {
///     Json(format!("Hello, {name}!"))
/// }
///
/// # async fn test() {
/// let server = natsfn::testing::nats().await;
/// let nats = natsfn::async_nats::connect(server.url()).await.unwrap();
/// let hello = Service::new("hello", "0.1.0").endpoint("hello", hello);
/// let running = natsfn::start(hello.build().unwrap(), nats.clone(), None).await.unwrap();
/// let answer = nats.request("hello", "\"World\"".into()).await.unwrap();
/// assert_eq!(answer.payload, "\"Hello, World!\"");
/// running.stop(std::time::Duration::from_secs(5)).await;
/// # }
/// ```
pub struct TestServer {
    // The order is that of dropping: the process before its directory.
    server: Server,
    _directory: TempDir,
}

/// Starts a nats-server for a test.
///
/// # Panics
/// It cannot be started; the message says what helps.
pub async fn nats() -> TestServer {
    nats_with(|config| config).await
}

/// Starts a nats-server for a test with a configuration or ports of its own.
///
/// # Panics
/// As [`nats`].
pub async fn nats_with(configure: impl FnOnce(ServerConfig) -> ServerConfig) -> TestServer {
    match TestServer::start(configure).await {
        Ok(server) => server,
        Err(error) => panic!("no nats-server for this test: {error}"),
    }
}

impl TestServer {
    async fn start(configure: impl FnOnce(ServerConfig) -> ServerConfig) -> Result<Self, RunError> {
        let directory = tempfile::tempdir()?;
        let server = Server::start(configure(ServerConfig::new(directory.path()))).await?;
        Ok(Self {
            server,
            _directory: directory,
        })
    }
}

impl Deref for TestServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

//! Three nats-servers as one cluster, for tests of what outlives the loss of one.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::TestServer;
use crate::config::NatsConfig;
use crate::error::run_error::RunError;
use crate::nats::connect::connect_once;
use crate::nats::jetstream::Nats;
use crate::server::{ServerConfig, monitoring};

const SERVERS: usize = 3;

/// How often the servers are started on other ports before it is an error.
const STARTS: usize = 3;

/// How long a cluster may take until it is whole.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long one server may take to say how it is; one that is paused says nothing.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the servers are asked.
const LOOK: Duration = Duration::from_millis(20);

/// Three nats-servers as one cluster with JetStream, on free ports, each in a directory of its own. They end and their
/// directories go when this is dropped.
///
/// The servers are named `n0`, `n1` and `n2`. Each keeps its ports and its streams while the cluster lives, however
/// often it is killed ([`Server::kill`](crate::server::Server::kill)), restarted, or down for a while.
///
/// ```no_run
/// use std::time::Duration;
///
/// use natsfn::config::NatsConfig;
/// use natsfn::testing::TestCluster;
/// use natsfn::{Client, Connections, Consumer, HeaderMap, Json, Service, Stream};
///
/// async fn store(Json(_): Json<String>) {}
///
/// # async fn test() -> Result<(), natsfn::RunError> {
/// let cluster = TestCluster::start().await?;
/// let nats = cluster.nats().await?;
/// let orders = Stream::new("ORDERS", ["orders.{customer}"]).replicas(3);
/// let shop = Service::new("shop", "1.0.0").consumer(Consumer::new("store", orders), store);
/// let shop = shop.build()?;
/// natsfn::setup::setup(&shop, &nats, None).await?;
/// let config = NatsConfig { url: cluster.url().to_owned(), ..NatsConfig::default() };
/// let running = natsfn::start(shop, Connections::open(&config, "shop").await?, None).await?;
///
/// cluster.server(0).kill();
/// // An append that fails meanwhile may be repeated with its id.
/// let client = Client::new(nats);
/// let order = client.append("orders.bob", Some("1"), HeaderMap::new(), "\"tea\"".into());
/// println!("{:?}", order.await);
/// cluster.ready().await?; // the server is back, and has what it missed
/// running.stop(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
pub struct TestCluster {
    servers: Vec<TestServer>,
    url: String,
}

impl TestCluster {
    /// Starts three servers with the configuration of [`nats`](super::nats), and waits as [`TestCluster::ready`] does.
    ///
    /// # Errors
    /// A server cannot be started, or the cluster is not whole within two minutes; the error says what helps.
    pub async fn start() -> Result<Self, RunError> {
        Self::start_with(|_, config| config).await
    }

    /// As [`TestCluster::start`]; the function changes each server's configuration, which it gets with its number, 0 to
    /// 2. `server_name`, `http_port` and `cluster` are set by the cluster itself; JetStream has to stay enabled.
    ///
    /// # Errors
    /// As [`TestCluster::start`].
    pub async fn start_with(
        configure: impl Fn(usize, ServerConfig) -> ServerConfig,
    ) -> Result<Self, RunError> {
        let mut starts = 1;
        let servers = loop {
            match launch(&configure).await {
                Ok(servers) => break servers,
                // Somebody else may have taken a port that was free.
                Err(_) if starts < STARTS => starts += 1,
                Err(error) => return Err(error),
            }
        };
        let urls: Vec<&str> = servers.iter().map(|server| server.url()).collect();
        let cluster = Self {
            url: urls.join(","),
            servers,
        };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Where clients connect: all three addresses with commas between them, as `nats.url` takes them.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection without a login, which goes on with another server when its own ends.
    ///
    /// # Errors
    /// No server lets it in.
    pub async fn nats(&self) -> Result<Nats, RunError> {
        let config = NatsConfig {
            url: self.url.clone(),
            ..NatsConfig::default()
        };
        connect_once(&config, "test").await
    }

    /// One of the servers, 0 to 2.
    ///
    /// # Panics
    /// There is no such number.
    pub fn server(&self, number: usize) -> &TestServer {
        &self.servers[number]
    }

    /// The server with a name, such as the leader that `$JS.API.STREAM.INFO` tells.
    pub fn named(&self, name: &str) -> Option<&TestServer> {
        let number = (0..SERVERS).find(|number| name_of(*number) == name)?;
        self.servers.get(number)
    }

    /// The servers, for a test that keeps them itself.
    pub fn into_servers(self) -> Vec<TestServer> {
        self.servers
    }

    /// Waits until the cluster is whole: all three run and know the same leader of JetStream, and each has every stream
    /// and consumer that it should have, as they are now.
    ///
    /// # Errors
    /// It is not whole within two minutes, such as while a server is kept down; the error says what is missing.
    pub async fn ready(&self) -> Result<(), RunError> {
        let started = Instant::now();
        loop {
            let Err(missing) = self.is_whole().await else {
                return Ok(());
            };
            if started.elapsed() > READY_TIMEOUT {
                let logs: String = self.servers.iter().map(last_lines).collect();
                return Err(RunError::new(format!(
                    "the cluster is not whole after {} s: {missing}; its servers' logs end with:{logs}",
                    READY_TIMEOUT.as_secs()
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// What is missing, as an error.
    async fn is_whole(&self) -> Result<(), String> {
        let looks = self.servers.iter().enumerate();
        let looks = join_all(looks.map(async |(number, server)| {
            let look = timeout(LOOK_TIMEOUT, look(server)).await;
            let look = look.unwrap_or_else(|_| Err("does not answer".to_owned()));
            look.map_err(|missing| format!("{} {missing}", name_of(number)))
        }));
        let metas: Vec<Meta> = looks.await.into_iter().collect::<Result<_, _>>()?;
        let leader = &metas[0].leader;
        if metas.iter().any(|meta| meta.leader != *leader) {
            return Err("the servers do not know the same leader of JetStream".to_owned());
        }
        let leads = (0..SERVERS).find(|number| name_of(*number) == *leader);
        let followers = leads.map(|number| &metas[number].replicas);
        let followers = followers.ok_or("JetStream has no leader")?;
        if followers.len() + 1 < SERVERS {
            return Err(format!("the leader {leader} does not know all servers"));
        }
        match followers.iter().find(|it| it.offline || !it.current) {
            Some(Replica { name, .. }) => Err(format!("{name} is not current at {leader}")),
            None => Ok(()),
        }
    }
}

/// The log is removed with its server.
fn last_lines(server: &TestServer) -> String {
    let log = std::fs::read_to_string(server.log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(10)..];
    format!("\n{}\n", last.join("\n"))
}

fn name_of(number: usize) -> String {
    format!("n{number}")
}

async fn launch(
    configure: &impl Fn(usize, ServerConfig) -> ServerConfig,
) -> Result<Vec<TestServer>, RunError> {
    let ports = free_ports()?;
    // No server of another cluster, whose routes took a port that was free, is one of this.
    let cluster = format!("test-{}", ports[0]);
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
    let routes = routes.join(", ");
    let starting = ports.iter().enumerate().map(|(number, port)| {
        let name = name_of(number);
        let lines = format!(
            "server_name: {name}\nhttp_port: $NATS_CONF_MONITOR_PORT\n\
             cluster {{ name: {cluster}, host: 127.0.0.1, port: {port}, routes: [{routes}] }}\n"
        );
        TestServer::start(move |config| configure(number, config).add(&lines))
    });
    try_join_all(starting).await
}

/// Ports that nobody listens on. Each server has to know those of the others before any of them runs.
fn free_ports() -> io::Result<[u16; SERVERS]> {
    let mut ports = [0; SERVERS];
    // Held until all are known, so that they differ.
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// `/healthz`
#[derive(Deserialize)]
struct Health {
    status: String,
    #[serde(default)]
    error: String,
}

/// `/jsz`
#[derive(Deserialize)]
struct JetStream {
    meta_cluster: Option<Meta>,
}

/// What a server knows of the group that leads JetStream.
#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    leader: String,
    /// The others, where this server leads.
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Replica {
    name: String,
    current: bool,
    #[serde(default)]
    offline: bool,
}

/// What a server that lacks nothing itself knows of the group; what it lacks as an error.
async fn look(server: &TestServer) -> Result<Meta, String> {
    // After a kill it is the next process that is asked.
    server.ready().await;
    let health: Health = get(server, "/healthz").await?;
    if health.status != "ok" {
        return Err(format!("says: {} {}", health.status, health.error));
    }
    let jetstream: JetStream = get(server, "/jsz").await?;
    let meta = jetstream.meta_cluster;
    meta.ok_or_else(|| "has no JetStream".to_owned())
}

async fn get<T: DeserializeOwned>(server: &TestServer, path: &str) -> Result<T, String> {
    let monitor = server.addresses().monitor.as_deref().unwrap_or_default();
    let answer = monitoring::get(monitor, path).await;
    let answer = answer.map_err(|error| format!("cannot be asked for {path}: {error}"))?;
    serde_json::from_slice(&answer).map_err(|error| format!("answers {path} with {error}"))
}

//! Three nats-servers: what lies on one of them only is lost with it.

use std::net::TcpListener;

use async_nats::Client;
use natsfn::testing::{self, TestServer};
use natsfn::{Batch, Consumer, Error, Result, Service, Stream, dead_letter, setup};
use serde_json::{Value, json};

use crate::world::{json as read, until};

/// A cluster with JetStream, and a client of it.
struct Cluster {
    nats: Client,
    _servers: Vec<TestServer>,
}

impl Cluster {
    async fn start() -> Self {
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.map(|listener| listener.local_addr().unwrap().port());
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
        let starting = ports.map(|port| {
            let text = format!(
                "server_name: s{port}
                host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
                jetstream {{ store_dir: $NATS_CONF_STORE_DIR }}
                cluster {{ name: three, host: 127.0.0.1, port: {port}, routes: [{}] }}",
                routes.join(", ")
            );
            testing::nats_with(move |config| config.text(text))
        });
        let servers = futures_util::future::join_all(starting).await;
        let nats = async_nats::connect(servers[0].url()).await.unwrap();
        Self {
            nats,
            _servers: servers,
        }
    }

    async fn api(&self, call: &str, body: &Value) -> Value {
        let payload = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self.nats.request(format!("$JS.API.{call}"), payload.into());
        answer.await.map(|answer| read(&answer)).unwrap_or_default()
    }

    async fn replicas(&self, stream: &str) -> u64 {
        let info = self
            .api(&format!("STREAM.INFO.{stream}"), &Value::Null)
            .await;
        info["config"]["num_replicas"].as_u64().unwrap_or_default()
    }

    /// Gives the dead letters another number of replicas, as an operator does.
    async fn keep_letters_on(&self, replicas: u64) {
        until("the dead letters are moved", async || {
            let info = self.api("STREAM.INFO.DEAD_LETTERS", &Value::Null).await;
            let mut config = info["config"].clone();
            config["num_replicas"] = replicas.into();
            let changed = self.api("STREAM.UPDATE.DEAD_LETTERS", &config).await;
            (changed["config"]["num_replicas"] == replicas).then_some(())
        })
        .await;
    }

    async fn set_up(&self, replicas: usize) {
        until("the cluster has leaders", async || {
            let service = service(replicas).build().unwrap();
            setup::setup(&service, &self.nats, None).await.ok()
        })
        .await;
    }
}

async fn poisoned(batch: Batch<Value>) -> Result<()> {
    match batch.iter().find(|item| ***item == json!("poison")) {
        Some(_) => Err(Error::bad_request("poison")),
        None => Ok(()),
    }
}

fn service(replicas: usize) -> Service {
    let log = Stream::new("LOG", ["log.{kind}"]).replicas(replicas);
    Service::new("a", "1.0.0").consumer(Consumer::new("store", log), poisoned)
}

#[tokio::test]
async fn dead_letters_are_on_as_many_servers_as_the_safest_stream() {
    let cluster = Cluster::start().await;
    cluster.set_up(1).await;
    assert_eq!(cluster.replicas("DEAD_LETTERS").await, 1);
    cluster.keep_letters_on(3).await;

    cluster.set_up(1).await;
    assert_eq!(
        cluster.replicas("DEAD_LETTERS").await,
        3,
        "an operator's number is not lowered"
    );

    cluster.keep_letters_on(1).await;
    cluster.set_up(3).await;
    assert_eq!(cluster.replicas("LOG").await, 3);
    assert_eq!(cluster.replicas("DEAD_LETTERS").await, 3);
}

#[tokio::test]
async fn log_knows_which_of_its_messages_only_a_less_safe_dead_letter_holds() {
    let cluster = Cluster::start().await;
    cluster.set_up(3).await;
    cluster.keep_letters_on(1).await;
    let client = natsfn::Client::new(cluster.nats.clone());
    let first = async || {
        dead_letter::first_less_safe(&client, "LOG", 3)
            .await
            .unwrap()
    };
    assert_eq!(first().await, None);

    let service = service(3).build().unwrap();
    let running = natsfn::start(service, cluster.nats.clone(), None)
        .await
        .unwrap();
    for payload in ["1", "2", "\"poison\"", "4", "\"poison\""] {
        until("the message is stored", async || {
            let headers = natsfn::HeaderMap::new();
            client
                .append("log.a", None, headers, payload.into())
                .await
                .ok()
        })
        .await;
    }

    until("the first letter is known", async || {
        (first().await == Some(3)).then_some(())
    })
    .await;
    cluster.keep_letters_on(3).await;
    assert_eq!(first().await, None, "as safe as the log");
    running.stop(std::time::Duration::from_secs(5)).await;
}

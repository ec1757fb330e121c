//! Three nats-servers: what lies on one of them only is lost with it.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use natsfn::config::NatsConfig;
use natsfn::testing::{TestCluster, TestServer};
use natsfn::{
    Batch, Connections, Consumer, Error, HeaderMap, Nats, Response, Result, Service, Stream,
    StreamCache, dead_letter, setup,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::gathered;
use crate::world::{json as read, until};

/// A cluster, and a client of one of its servers.
struct Cluster {
    nats: Nats,
    servers: TestCluster,
}

impl Cluster {
    async fn start() -> Self {
        let servers = TestCluster::start().await.unwrap();
        let nats = async_nats::connect(servers.server(0).url())
            .await
            .unwrap()
            .into();
        Self { nats, servers }
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

    /// A client that goes on with another server when one dies.
    async fn connect(&self) -> Nats {
        self.servers.nats().await.unwrap()
    }

    /// The server that leads a stream, as one of the others knows it.
    async fn leader(&self, nats: &Nats, stream: &str) -> &TestServer {
        until("the stream has a leader", async || {
            let info = nats.request(format!("$JS.API.STREAM.INFO.{stream}"), "".into());
            let info = read(&info.await.ok()?);
            self.servers.named(info["cluster"]["leader"].as_str()?)
        })
        .await
    }

    async fn set_up(&self, replicas: usize) {
        let service = service(replicas).build().unwrap();
        setup::setup(&service, &self.nats, None).await.unwrap();
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
async fn acknowledged_messages_outlive_the_kill_of_each_server_in_turn() {
    const EACH: usize = 50;
    let cluster = TestCluster::start().await.unwrap();
    let nats = cluster.nats().await.unwrap();
    let handled = Arc::<Mutex<BTreeSet<u64>>>::default();
    let store = {
        let handled = handled.clone();
        move |batch: Batch<u64>| {
            handled
                .lock()
                .unwrap()
                .extend(batch.iter().map(|item| **item));
            async {}
        }
    };
    let log = Stream::new("LOG", ["log.{kind}"]).replicas(3);
    let service = Service::new("a", "1.0.0").consumer(Consumer::new("store", log), store);
    let service = service.build().unwrap();
    setup::setup(&service, &nats, None).await.unwrap();
    let config = NatsConfig {
        url: cluster.url().to_owned(),
        ..NatsConfig::default()
    };
    let connections = Connections::open(&config, "a").await.unwrap();
    let running = natsfn::start(service, connections, None).await.unwrap();
    let client = natsfn::Client::new(nats);

    for number in 0..3 {
        let process = cluster.server(number).pid();
        cluster.server(number).kill();
        let appending = async {
            for n in number * EACH..(number + 1) * EACH {
                let id = n.to_string();
                until("it is acknowledged", async || {
                    let headers = HeaderMap::new();
                    let appended = client.append("log.a", Some(&id), headers, id.clone().into());
                    appended.await.ok()
                })
                .await;
            }
        };
        let (whole, ()) = tokio::join!(cluster.ready(), appending);
        whole.unwrap();
        assert_ne!(cluster.server(number).pid(), process, "it was killed");
    }

    let all: BTreeSet<u64> = (0..3 * EACH as u64).collect();
    let range = client.range("LOG", "log.a", 1, 10 * EACH, 1 << 20).await;
    let messages = range.unwrap().messages;
    let stored = messages
        .iter()
        .map(|message| std::str::from_utf8(message.payload()).unwrap());
    assert_eq!(
        stored
            .map(|n| n.parse().unwrap())
            .collect::<BTreeSet<u64>>(),
        all
    );
    until("each is handled", async || {
        (*handled.lock().unwrap() == all).then_some(())
    })
    .await;
    running.stop(Duration::from_secs(5)).await;
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
            let headers = HeaderMap::new();
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
    running.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_answer_has_what_was_acknowledged_whichever_server_leads() {
    let cluster = Cluster::start().await;
    cluster.set_up(3).await;
    let (writer, reader) = (
        natsfn::Client::new(cluster.connect().await),
        natsfn::Client::new(cluster.connect().await),
    );
    let cache = StreamCache::new("LOG", 1 << 20, Duration::from_secs(3600));
    let readings = AtomicUsize::new(0);
    let ask = async || {
        let read = async |_| {
            readings.fetch_add(1, SeqCst);
            let last = reader.last("LOG", "log.a").await?;
            Ok((Response::json(&last.map_or(0, |last| last.seq()))?, true))
        };
        let answer = cache.get(&reader, "log.a", (), read).await.ok()?;
        serde_json::from_slice::<u64>(&answer.payload).ok()
    };
    let append = async || {
        until("the message is acknowledged", async || {
            let message = writer.append("log.a", None, HeaderMap::new(), "1".into());
            message.await.ok()
        })
        .await
    };
    for round in 0..3 {
        for _ in 0..20 {
            let appended = append().await;
            for _ in 0..2 {
                let seen = until("it answers", async || ask().await).await;
                assert!(seen >= appended.seq, "{seen} of {appended:?} in {round}");
            }
        }
        let leader = cluster.leader(writer.nats(), "LOG").await;
        leader.kill();
        let appended = append().await;
        let seen = until("it answers", async || ask().await).await;
        assert!(seen >= appended.seq, "{seen} of {appended:?} after {round}");
        leader.ready().await;
    }
    assert!(readings.load(SeqCst) < 120, "some come from memory");
}

#[tokio::test]
async fn a_leader_that_is_killed_or_steps_down_among_batches_loses_and_doubles_nothing() {
    const ALL: usize = 1000;
    let cluster = Cluster::start().await;
    let stream = || {
        let stream = Stream::new("ALL", ["all.>"]).replicas(3);
        stream.atomic_appends()
    };
    let service = gathered::service([stream()]).build().unwrap();
    setup::setup(&service, &cluster.nats, None).await.unwrap();
    let client = gathered::client(cluster.nats.clone(), [stream()]).await;
    let acknowledged = Semaphore::new(0);
    let append = async |n: usize| {
        let id = n.to_string();
        let appended = until("it is acknowledged", async || {
            let payload = id.clone().into();
            let appended = client.append("all.a", Some(&id), HeaderMap::new(), payload);
            appended.await.ok()
        });
        let seq = appended.await.seq;
        acknowledged.add_permits(1);
        (seq, id)
    };
    let change = async {
        for (round, after) in [1, 40, 200, 200].into_iter().enumerate() {
            acknowledged.acquire_many(after).await.unwrap().forget();
            if round % 2 == 0 {
                cluster
                    .api("STREAM.LEADER.STEPDOWN.ALL", &Value::Null)
                    .await;
                continue;
            }
            cluster.leader(&cluster.nats, "ALL").await.kill();
        }
    };
    // A batch ends with a subject on which something was stored before.
    let first = append(0).await;
    let (mut appended, ()) = tokio::join!(join_all((1..ALL).map(append)), change);
    appended.push(first);

    let range = until("it can be read", async || {
        let range = client
            .range("ALL", "all.a", 1, 2 * ALL, 16 << 20)
            .await
            .ok();
        range.filter(|range| range.messages.len() >= ALL)
    });
    let messages = range.await.messages;
    assert_eq!(messages.len(), ALL);
    // Where leaders go all the time, each batch may be refused, and what waits goes one by one for a while.
    until("they are gathered again", async || {
        let append = async |_| {
            let id = nuid::next();
            let appended = client.append("all.b", Some(&id), HeaderMap::new(), "b".into());
            appended.await.ok()
        };
        join_all((0..100).map(append)).await;
        let range = client.range("ALL", "all.b", 1, 100_000, 16 << 20);
        let messages = range.await.ok()?.messages;
        let mut headers = messages.iter().map(|message| message.headers());
        headers
            .any(|headers| headers.get("Nats-Batch-Id").is_some())
            .then_some(())
    })
    .await;
    for (seq, id) in appended {
        let message = messages.iter().find(|message| message.seq() == seq);
        assert_eq!(&**message.unwrap().payload(), id.as_bytes());
    }
}

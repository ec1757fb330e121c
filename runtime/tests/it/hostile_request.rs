//! Requests that no client can read: each ends the connection that it comes in on (nats-io/nats.rs#1612),
//! and nobody else is to notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_nats::Client;
use natsfn::config::NatsConfig;
use natsfn::{Batch, Bytes, Connections, Endpoint, Json, Running, Service};
use tokio::task::JoinHandle;

use crate::caller::Raw;
use crate::log::consumer;
use crate::world::{GUARD, World, until, within};

/// async-nats panics on a bare carriage return in a header's value, and ends its connection over a
/// line without a colon.
const BAD: [&[u8]; 2] = [
    b"NATS/1.0\r\nX: a\rb\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
];

async fn echo(body: Bytes) -> Bytes {
    body
}

fn service() -> Service {
    Service::new("a", "1.0.0")
        .endpoint("echo", echo)
        .consumer(consumer(), |_: Batch<u64>| async {})
}

/// Serves as the command line does.
async fn serve(world: &World, configure: impl FnOnce(&mut NatsConfig)) -> Running {
    let mut config = NatsConfig {
        url: world.server.url().to_owned(),
        ..NatsConfig::default()
    };
    configure(&mut config);
    let connections = Connections::open(&config, "a").await.unwrap();
    natsfn::start(service().build().unwrap(), connections, None)
        .await
        .unwrap()
}

/// Others, who ask all the time.
struct Others {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Others {
    async fn ask(world: &World, n: usize) -> Self {
        let mut others = Self {
            over: Arc::default(),
            asked: Arc::default(),
            failed: Arc::default(),
            tasks: Vec::new(),
        };
        for _ in 0..n {
            let nats = world.connect().await;
            let (over, asked, failed) = (
                others.over.clone(),
                others.asked.clone(),
                others.failed.clone(),
            );
            others.tasks.push(tokio::spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                while !over.load(Relaxed) {
                    pace.tick().await;
                    asked.fetch_add(1, Relaxed);
                    // Long enough that only a lost request meets it.
                    if !answers(&nats, Duration::from_secs(2)).await {
                        failed.fetch_add(1, Relaxed);
                    }
                }
            }));
        }
        others
    }

    /// How many requests there were, and how many of them failed.
    async fn stop(self) -> (u64, u64) {
        self.over.store(true, Relaxed);
        for task in self.tasks {
            within(task).await.unwrap();
        }
        (self.asked.load(Relaxed), self.failed.load(Relaxed))
    }
}

async fn answers(nats: &Client, patience: Duration) -> bool {
    let request = async_nats::Request::new().timeout(Some(patience));
    nats.send_request("echo", request).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_lose_at_most_what_was_on_its_way_and_consumers_notice_nothing() {
    const OTHERS: usize = 8;
    const BAD_ONES: usize = 20;
    let world = World::new().await;
    world.set_up(service()).await;
    let running = serve(&world, |_| {}).await;
    let instance = running.id().to_owned();
    let others = Others::ask(&world, OTHERS).await;
    let mut raw = Raw::connect(world.server.url(), "anybody");

    let mut pace = tokio::time::interval(Duration::from_millis(200));
    for n in 0..BAD_ONES {
        pace.tick().await;
        let subject = ["echo", "echo", "echo", "$SRV.PING", "fn.a.store"][n % 5];
        raw.publish(subject, "nowhere", BAD[n / 5 % 2]);
        world.store("log.a", [n.to_string()]).await;
    }

    let (asked, failed) = others.stop().await;
    // A request that the server has sent to a connection that ends is lost: one of each other at most.
    let most = (OTHERS * BAD_ONES) as u64;
    assert!(failed <= most, "{failed} of {asked} failed");
    assert!(answers(&world.nats, GUARD).await);
    world.settled("LOG", "store", BAD_ONES as u64).await;
    let info = world.consumer("LOG", "store").await;
    assert_eq!(info["num_redelivered"], 0);
    assert_eq!(info["delivered"]["consumer_seq"], BAD_ONES);
    assert_eq!(running.nats().statistics().connects.load(Relaxed), 1);
    let ping = until("discovery answers", async || {
        world.nats.request("$SRV.PING.a", "".into()).await.ok()
    })
    .await;
    assert_eq!(crate::world::json(&ping)["id"], *instance);
    let lost = tokio::time::timeout(Duration::ZERO, running.lost()).await;
    assert!(lost.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_that_ends_is_replaced_each_time() {
    let world = World::new().await;
    world.set_up(service()).await;
    // With one connection for requests there is nobody to stand in for it.
    let running = serve(&world, |config| config.request_connections = 1).await;
    let mut raw = Raw::connect(world.server.url(), "anybody");
    for _ in 0..5 {
        raw.publish("echo", "nowhere", BAD[0]);
        until("it answers", async || {
            answers(&world.nats, Duration::from_millis(20))
                .await
                .then_some(())
        })
        .await;
    }
    within(running.stop(Duration::from_secs(5))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_outlives_the_connection_that_its_request_came_in_on() {
    let world = World::new().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let wait = gate.clone();
    let waits = move || {
        let gate = wait.clone();
        async move {
            let _ = gate.acquire().await;
        }
    };
    let service = Service::new("a", "1.0.0").endpoint("waits", waits);
    let config = NatsConfig {
        url: world.server.url().to_owned(),
        request_connections: 1,
        ..NatsConfig::default()
    };
    let connections = Connections::open(&config, "a").await.unwrap();
    let running = natsfn::start(service.build().unwrap(), connections, None)
        .await
        .unwrap();
    let nats = world.nats.clone();
    let asked = tokio::spawn(async move { nats.request("waits", "".into()).await });
    until("it runs", async || {
        (crate::world::function(&running, 0)["data"]["in_flight"] == 1).then_some(())
    })
    .await;

    let mut raw = Raw::connect(world.server.url(), "anybody");
    raw.publish("waits", "nowhere", BAD[0]);
    gate.add_permits(1);

    within(asked).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoint_without_a_queue_group_gets_each_request_once_in_an_instance() {
    let world = World::new().await;
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    let all = Endpoint::new("all", "all").no_queue_group();
    let service = Service::new("a", "1.0.0")
        .endpoint("echo", echo)
        .endpoint(all, move || {
            count.fetch_add(1, Relaxed);
            async {}
        });
    let config = NatsConfig {
        url: world.server.url().to_owned(),
        ..NatsConfig::default()
    };
    let connections = Connections::open(&config, "a").await.unwrap();
    let running = natsfn::start(service.build().unwrap(), connections, None)
        .await
        .unwrap();

    world.ask("all", "").await;
    // What came in on any connection is handled then.
    running.stop(Duration::from_secs(5)).await;

    assert_eq!(calls.load(Relaxed), 1);
}

#[tokio::test]
async fn an_answer_whose_subject_is_too_long_for_the_server_ends_no_connection() {
    let world = World::new().await;
    let refuse = async |Json(n): Json<u32>| Json(n);
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint("e", refuse))
        .await;
    let mut raw = Raw::connect(world.server.url(), "anybody");

    // The longest that the server takes from the one who asks.
    for length in [4092, 4085, 3950] {
        raw.ask("e", &"r".repeat(length));
    }

    assert_eq!(within(world.ask("e", "1")).await.payload, "1");
    let connects = &running.nats().statistics().connects;
    assert_eq!(connects.load(Relaxed), 1);
}

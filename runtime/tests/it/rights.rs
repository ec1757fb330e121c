//! Rights that are taken from a running service and given back: the server ends its subscriptions,
//! and tells nobody when they may be replaced.

use std::time::Duration;

use natsfn::config::{Login, NatsConfig};
use natsfn::{Batch, Bytes, Client, Connections, Json, Running, Service};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::log::consumer;
use crate::world::{World, next, state, until};

/// What the service may subscribe, besides what a test takes from it.
const ALL: [&str; 5] = ["echo", "asks", "fn.a.store", "$SRV.>", "_INBOX.a.>"];

fn conf(subscribe: &[&str]) -> String {
    format!(
        r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
jetstream {{ store_dir: $NATS_CONF_STORE_DIR }}
no_auth_user: anybody
authorization {{ users: [
  {{ user: anybody, password: anybody }}
  {{ user: a, password: a, permissions: {{ publish: ">", subscribe: {} }} }}
] }}
"#,
        json!(subscribe)
    )
}

async fn echo(body: Bytes) -> Bytes {
    body
}

/// Asks somebody else: the answer comes in on the client's own inbox.
async fn asks(client: Client) -> natsfn::Result<Json<Value>> {
    client.request("other", &1).await.map(Json)
}

struct Served {
    world: World,
    running: Running,
    stored: mpsc::UnboundedReceiver<u64>,
    _other: Running,
}

impl Served {
    async fn new() -> Self {
        let world = World::with(|config| config.text(conf(&ALL))).await;
        let (seen, stored) = mpsc::unbounded_channel();
        let store = move |batch: Batch<u64>| {
            for n in &batch {
                seen.send(**n).unwrap();
            }
            async {}
        };
        let service = Service::new("a", "1.0.0")
            .endpoint("echo", echo)
            .endpoint("asks", asks)
            .consumer(consumer(), store)
            .build()
            .unwrap();
        let set_up = natsfn::setup::setup(&service, &world.nats, None);
        Box::pin(set_up).await.unwrap();
        let config = NatsConfig {
            url: world.server.url().to_owned(),
            ..NatsConfig::default()
        };
        let config = config.login(&Login::new("a", "a", "_INBOX.a"));
        let connections = Box::pin(Connections::open(&config, "a")).await.unwrap();
        let running = natsfn::start(service, connections, None).await.unwrap();
        let other = world
            .serve(Service::new("b", "1.0.0").endpoint("other", echo))
            .await;
        Self {
            world,
            running,
            stored,
            _other: other,
        }
    }

    /// Takes the right to subscribe a subject, and waits until the instance says so.
    async fn take(&self, subject: &str) {
        let left: Vec<&str> = ALL.into_iter().filter(|one| *one != subject).collect();
        self.world.server.reload(&conf(&left)).unwrap();
        until("it says that it is not well", async || {
            let why = self.running.health().err()?;
            why.contains(subject).then_some(())
        })
        .await;
    }

    /// Gives all rights back, and waits until the instance says that all is well.
    async fn give_back(&self) {
        self.world.server.reload(&conf(&ALL)).unwrap();
        let since = Instant::now();
        until("all is well again", async || self.running.health().ok()).await;
        assert!(since.elapsed() < Duration::from_secs(10));
    }

    async fn answers(&self, subject: &str) -> bool {
        let request = async_nats::Request::new()
            .payload("1".into())
            .timeout(Some(Duration::from_secs(2)));
        let answer = self.world.nats.send_request(subject.to_owned(), request);
        answer.await.is_ok_and(|answer| answer.payload == "1")
    }
}

#[tokio::test]
async fn endpoint_whose_right_was_taken_says_so_and_answers_once_it_is_back() {
    let served = Served::new().await;
    assert!(served.answers("echo").await);

    served.take("echo").await;
    until("it is not subscribed any more", async || {
        (!served.answers("echo").await).then_some(())
    })
    .await;
    assert_eq!(state(&served.running, 0), "holding");
    assert_eq!(state(&served.running, 1), "running");
    served.give_back().await;

    assert_eq!(state(&served.running, 0), "running");
    assert!(served.answers("echo").await);
}

#[tokio::test]
async fn consumer_and_requests_whose_inbox_was_taken_go_on_once_it_is_back() {
    let mut served = Served::new().await;
    assert!(served.answers("asks").await);
    served.world.store("log.a", ["1".to_owned()]).await;
    assert_eq!(next(&mut served.stored).await, 1);

    served.take("_INBOX.a.>").await;
    served.world.store("log.a", ["2".to_owned()]).await;
    assert_eq!(state(&served.running, 2), "holding");
    served.give_back().await;

    assert_eq!(next(&mut served.stored).await, 2);
    assert_eq!(state(&served.running, 2), "running");
    assert!(served.answers("asks").await);
}

#[tokio::test]
async fn discovery_and_state_whose_rights_were_taken_answer_once_they_are_back() {
    let served = Served::new().await;
    let found = async || {
        let mut found = Vec::new();
        for subject in ["$SRV.PING", "$SRV.STATS.a", "fn.a.store"] {
            let request = async_nats::Request::new().timeout(Some(Duration::from_secs(2)));
            let answer = served.world.nats.send_request(subject, request).await;
            found.push(answer.is_ok());
        }
        found
    };
    assert_eq!(found().await, [true; 3]);

    let left = ["echo", "asks", "_INBOX.a.>"];
    served.world.server.reload(&conf(&left)).unwrap();
    until("it says that it is not well", async || {
        let why = served.running.health().err()?;
        (why.contains("fn.a.store") && why.contains("$SRV.STATS.a ")).then_some(())
    })
    .await;
    assert!(served.answers("echo").await);
    assert_eq!(state(&served.running, 2), "running");
    served.give_back().await;

    assert_eq!(found().await, [true; 3]);
}

#[tokio::test]
async fn rights_that_were_never_given_are_an_error_at_the_start() {
    let world = World::with(|config| config.text(conf(&["echo", "$SRV.>", "_INBOX.a.>"]))).await;
    let config = NatsConfig {
        url: world.server.url().to_owned(),
        ..NatsConfig::default()
    };
    let config = config.login(&Login::new("a", "a", "_INBOX.a"));
    for _ in 0..20 {
        let connections = Connections::open(&config, "a").await.unwrap();
        let service = Service::new("a", "1.0.0")
            .endpoint("echo", echo)
            .endpoint("asks", echo);
        let started = natsfn::start(service.build().unwrap(), connections, None).await;
        let refused = started.err().unwrap().to_string();
        assert!(
            refused.contains("the user a may not subscribe asks;"),
            "{refused}"
        );
    }
}

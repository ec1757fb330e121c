//! A log on three servers: what one of them does not have yet is no gap in a history that is read there.

use std::collections::BTreeMap;

use async_nats::Client;
use natsfn::testing::{TestCluster, TestServer};
use natsfn::{HeaderMap, Running};
use serde_json::{Value, json};

use crate::database::Database;
use crate::door::Doorman;
use crate::person::{Person, read};
use crate::server::{NATS_CONF, configured, connect};
use crate::wait::{until, within};
use crate::world::{World, unlimited};

const ROOM: &str = "chat.history.general";

/// Three servers with chat's configuration, and chat set up on them; the world's own is the first.
struct Three {
    world: World,
    others: Vec<TestServer>,
}

impl Three {
    async fn start() -> Self {
        // The disk is not what is asked here.
        let text = NATS_CONF.replace("sync_interval: always", "sync_interval: 1m");
        let cluster = TestCluster::start_with(|_, config| configured(config, &text)).await;
        let mut servers = cluster.unwrap().into_servers();
        let mut config = unlimited();
        config.stream.replicas = 3;
        let others = servers.split_off(1);
        let server = servers.remove(0);
        let world = World {
            setup: connect(&server, "setup", "_INBOX.s.setup").await,
            operator: connect(&server, "operator", "_INBOX.o.operator").await,
            doorman: Doorman::at(server.url()).await,
            database: Database::empty_sqlite().await,
            config,
            server,
        };
        world.set_up().await.unwrap();
        Self { world, others }
    }

    fn servers(&self) -> impl Iterator<Item = &TestServer> {
        std::iter::once(&self.world.server).chain(&self.others)
    }

    /// The name of the server that leads the log, as another one knows it.
    async fn leader(&self, nats: &Client) -> String {
        until("the log has a leader", async || {
            let info = nats.request("$JS.API.STREAM.INFO.CHAT_MESSAGES", "".into());
            let info: Value = serde_json::from_slice(&info.await.ok()?.payload).unwrap();
            info["cluster"]["leader"].as_str().map(str::to_owned)
        })
        .await
    }

    /// The server that leads the log, and one that follows.
    async fn roles(&self) -> (&TestServer, &TestServer) {
        let leader = self.leader(&self.world.setup).await;
        let (mut leads, mut follows) = (None, None);
        for server in self.servers() {
            let nats = connect(server, "setup", "_INBOX.s.setup").await;
            if nats.server_info().server_name == leader {
                leads = Some(server);
            } else {
                follows = Some(server);
            }
        }
        (leads.unwrap(), follows.unwrap())
    }

    /// Serves `history` on this server alone. Nothing is stored: all of a page is read in the log.
    async fn history_on(&self, server: &TestServer) -> Running {
        let definition = self.world.service().build().unwrap();
        let definition = definition.only(&["history".to_owned()]).unwrap();
        let nats = connect(server, "chat", "_INBOX.s.chat").await;
        let url = Some(&*self.world.database.url);
        natsfn::start(definition, nats, url).await.unwrap()
    }
}

/// Logs messages with these numbers, each acknowledged before the next.
async fn log(backend: &natsfn::Client, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let message = json!({ "user": "b", "text": n.to_string(), "timestamp": 1 }).to_string();
        let (id, message) = (n.to_string(), bytes::Bytes::from(message));
        until("it is acknowledged", async || {
            let headers = HeaderMap::new();
            let sent = backend.append("chat.general", Some(&id), headers, message.clone());
            sent.await.ok()
        })
        .await;
    }
}

/// Asks for the last ten while a server stands still, and lets it go on: the answer has all that was
/// acknowledged before, or is a 503, and then one that has all follows. Returns the first one's code.
async fn ask_as_it_wakes(alice: &Person, asleep: &TestServer, last: u64) -> u16 {
    let question = json!({ "limit": 10 });
    let wakes = async {
        // The request lies before the server when it goes on.
        alice.settle().await;
        asleep.resume();
    };
    // Nobody answers where the others have given that server up meanwhile.
    let asks = until("somebody answers", async || {
        let question = question.to_string();
        alice.nats.request(ROOM, question.into()).await.ok()
    });
    let (answer, ()) = futures_util::join!(asks, wakes);
    let code = match read::<Vec<Value>>(&answer) {
        Ok(messages) => {
            let texts = messages.iter().map(|it| it["text"].as_str().unwrap());
            assert_eq!(texts.collect::<Vec<_>>(), last_ten(last), "a gap");
            return 200;
        }
        Err(error) => error.code,
    };
    assert_eq!(code, 503);
    let page = until("history is served again", async || {
        let page = alice.page(ROOM, question.clone()).await;
        page.inspect_err(|error| assert_eq!(error.code, 503, "{error:?}"))
            .ok()
    })
    .await;
    assert_eq!(page.texts(), last_ten(last), "a gap");
    code
}

fn last_ten(last: u64) -> Vec<String> {
    (last - 9..=last).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn history_that_reads_from_a_replica_that_lags_shows_no_gap() {
    const ROUNDS: u64 = 20;
    const EACH: u64 = 50;
    let three = Three::start().await;
    let (leader, follower) = three.roles().await;
    let _history = three.history_on(follower).await;
    let backend = natsfn::Client::new(connect(leader, "backend", "_INBOX.o.backend").await);
    let alice = Person::connect(leader.url(), "alice", "_INBOX.u.alice").await;
    log(&backend, 1..EACH + 1).await;
    until("it answers", async || {
        alice.page(ROOM, Value::Null).await.ok()
    })
    .await;

    let mut codes: BTreeMap<u16, u64> = BTreeMap::new();
    for round in 1..=ROUNDS {
        follower.pause();
        let last = (round + 1) * EACH;
        log(&backend, round * EACH + 1..last + 1).await;
        let code = ask_as_it_wakes(&alice, follower, last).await;
        *codes.entry(code).or_default() += 1;
    }

    println!("{codes:?}");
    assert!(codes.contains_key(&200), "{codes:?}");
}

#[tokio::test]
async fn history_that_reads_from_a_leader_that_slept_through_its_succession_shows_no_gap() {
    let three = Three::start().await;
    let (leader, follower) = three.roles().await;
    let _history = three.history_on(leader).await;
    let backend = natsfn::Client::new(connect(follower, "backend", "_INBOX.o.backend").await);
    let alice = Person::connect(follower.url(), "alice", "_INBOX.u.alice").await;
    let there = connect(follower, "setup", "_INBOX.s.setup").await;
    log(&backend, 1..51).await;
    until("it answers", async || {
        alice.page(ROOM, Value::Null).await.ok()
    })
    .await;

    let before = three.leader(&there).await;
    leader.pause();
    until("another one leads", async || {
        (three.leader(&there).await != before).then_some(())
    })
    .await;
    within(log(&backend, 51..101)).await;
    let code = ask_as_it_wakes(&alice, leader, 100).await;

    println!("{code}");
}

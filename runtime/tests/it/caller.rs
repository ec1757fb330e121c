//! Who asks: the server's own stamp through an account import, and what a liar gets.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use natsfn::{Caller, Endpoint, Json, RateLimit, Running, Service, State};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::world::{GUARD, code, json, within};

/// The functions live in SHOP; people reach them through an import that stamps them.
const CONF: &str = r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
accounts {
  SHOP {
    users: [{ user: shop, password: shop }]
    exports: [
      { service: "who", accounts: [PEOPLE] }
      { service: "often", accounts: [PEOPLE] }
      { service: "slow.*", accounts: [PEOPLE] }
    ]
  }
  PEOPLE {
    users: [{ user: alice, password: alice }, { user: bob, password: bob }]
    imports: [
      { service: { account: SHOP, subject: "who" }, share: true }
      { service: { account: SHOP, subject: "often" }, share: true }
      { service: { account: SHOP, subject: "slow.*" }, share: true }
    ]
  }
}
"#;

struct Shop {
    _running: Running,
    /// What `slow` waits for: as many of its requests end as permits are added.
    ends: Arc<Semaphore>,
    server: natsfn::testing::TestServer,
}

impl Shop {
    async fn open() -> Self {
        async fn who(caller: Caller) -> Json<(String, String)> {
            Json((caller.user, caller.account))
        }
        async fn often() {}
        async fn slow(State(ends): State<Arc<Semaphore>>) {
            ends.acquire().await.unwrap().forget();
        }
        let server = natsfn::testing::nats_with(|config| config.text(CONF)).await;
        let limited = Endpoint::new("often", "often").rate_limit(RateLimit::new(0.1, 3));
        let two_at_once = RateLimit::new(1e6, 1_000_000).in_flight(2);
        let slowly = |name, subject| Endpoint::new(name, subject).rate_limit(two_at_once.clone());
        let ends = Arc::new(Semaphore::new(0));
        let service = Service::new("shop", "1.0.0")
            .state(ends.clone())
            .endpoint("who", who)
            .endpoint(limited, often)
            .endpoint(slowly("slow-a", "slow.a"), slow)
            .endpoint(slowly("slow-b", "slow.b"), slow);
        let nats = Self::login(&server, "shop").await;
        let _running = natsfn::start(service.build().unwrap(), nats, None)
            .await
            .unwrap();
        Self {
            _running,
            ends,
            server,
        }
    }

    async fn login(server: &natsfn::testing::TestServer, user: &str) -> Client {
        async_nats::ConnectOptions::with_user_and_password(user.into(), user.into())
            .connect(server.url())
            .await
            .unwrap()
    }

    async fn user(&self, name: &str) -> Client {
        Self::login(&self.server, name).await
    }

    /// Sends a request of bob's with this header block, byte for byte, and reads the answer.
    async fn hostile(&self, block: &[u8]) -> Message {
        let bob = self.user("bob").await;
        let inbox = bob.new_inbox();
        let mut answers = bob.subscribe(inbox.clone()).await.unwrap();
        // Answered once the server knows of the subscription.
        bob.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
        let mut raw = Raw::connect(self.server.url(), "bob");
        raw.publish("who", &inbox, block);
        within(answers.next()).await.unwrap()
    }
}

/// A client that writes the protocol by hand, since async-nats sends no such headers.
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    pub(crate) fn connect(url: &str, user: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("nats://")).unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        let mut raw = Self(BufReader::new(stream));
        let connect = serde_json::json!({
            "user": user, "pass": user, "headers": true, "verbose": false, "no_responders": true,
        });
        raw.write(format!("CONNECT {connect}\r\n").as_bytes());
        raw.round_trip();
        raw
    }

    /// Publishes an empty payload with this header block and waits until the server has it.
    pub(crate) fn publish(&mut self, subject: &str, reply: &str, block: &[u8]) {
        let size = block.len();
        self.write(format!("HPUB {subject} {reply} {size} {size}\r\n").as_bytes());
        self.write(block);
        self.write(b"\r\n");
        self.round_trip();
    }

    /// Asks with nothing, and waits until the server has it.
    pub(crate) fn ask(&mut self, subject: &str, reply: &str) {
        self.write(format!("PUB {subject} {reply} 0\r\n\r\n").as_bytes());
        self.round_trip();
    }

    /// Publishes bytes that no well-behaved client would, and waits until the server has them.
    pub(crate) fn append(&mut self, subject: &[u8], block: &[u8], payload: &[u8]) {
        let (headers, all) = (block.len(), block.len() + payload.len());
        self.write(
            &[
                b"HPUB ",
                subject,
                format!(" {headers} {all}\r\n").as_bytes(),
            ]
            .concat(),
        );
        self.write(&[block, payload, b"\r\n"].concat());
        self.round_trip();
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn round_trip(&mut self) {
        self.write(b"PING\r\n");
        let mut line = String::new();
        while !line.starts_with("PONG") {
            line.clear();
            assert!(
                self.0.read_line(&mut line).unwrap() > 0,
                "the server hung up"
            );
            assert!(!line.starts_with("-ERR"), "{line}");
        }
    }
}

#[tokio::test]
async fn the_server_says_who_asks_through_an_import() {
    let shop = Shop::open().await;
    for name in ["alice", "bob"] {
        let answer = shop
            .user(name)
            .await
            .request("who", "".into())
            .await
            .unwrap();
        assert_eq!(json(&answer), serde_json::json!([name, "PEOPLE"]));
    }
}

#[tokio::test]
async fn a_request_without_a_stamp_is_answered_401() {
    let shop = Shop::open().await;
    let inside = shop.user("shop").await;
    let answer = inside.request("who", "".into()).await.unwrap();
    assert_eq!(code(&answer), Some(401));
    assert!(
        json(&answer)["error"]
            .as_str()
            .unwrap()
            .contains("share: true")
    );
}

#[tokio::test]
async fn a_forged_stamp_is_overwritten_by_the_server() {
    let shop = Shop::open().await;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Request-Info", r#"{"user":"alice","acc":"PEOPLE"}"#);
    let bob = shop.user("bob").await;
    let answer = bob
        .request_with_headers("who", headers, "".into())
        .await
        .unwrap();
    assert_eq!(json(&answer)[0], "bob");
}

#[tokio::test]
async fn a_stamp_hidden_behind_a_bare_line_feed_makes_nobody_alice() {
    let shop = Shop::open().await;
    let block =
        b"NATS/1.0\r\nX: a\nNats-Request-Info: {\"user\":\"alice\",\"acc\":\"PEOPLE\"}\r\n\r\n";
    assert_eq!(code(&shop.hostile(block).await), Some(401));
}

#[tokio::test]
async fn a_header_block_that_does_not_end_makes_nobody_alice() {
    let shop = Shop::open().await;
    let block =
        b"NATS/1.0\r\nNats-Request-Info: {\"user\":\"alice\",\"acc\":\"PEOPLE\"}\r\nX: abcd";
    assert_eq!(code(&shop.hostile(block).await), Some(401));
}

#[tokio::test]
async fn who_asks_too_often_is_answered_429_and_others_are_not() {
    let shop = Shop::open().await;
    let (alice, bob) = (shop.user("alice").await, shop.user("bob").await);
    let mut codes = Vec::new();
    let mut last = Value::Null;
    for _ in 0..5 {
        let answer = alice.request("often", "".into()).await.unwrap();
        codes.push(code(&answer));
        if code(&answer).is_some() {
            last = json(&answer);
        }
    }
    assert_eq!(codes, [None, None, None, Some(429), Some(429)]);
    let wait = Duration::from_millis(last["details"]["retry_after_ms"].as_u64().unwrap());
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_secs(10),
        "{wait:?}"
    );
    assert_eq!(code(&bob.request("often", "".into()).await.unwrap()), None);
}

#[tokio::test]
async fn who_has_too_much_in_flight_is_answered_429_and_others_are_not() {
    let shop = Shop::open().await;
    let (alice, bob) = (shop.user("alice").await, shop.user("bob").await);
    let ask = async |who: &Client, subject: &'static str| {
        let answer = who.request(subject, "".into()).await.unwrap();
        (code(&answer), answer)
    };
    let mut asked = FuturesUnordered::new();
    for at in 0..200 {
        // Two endpoints, one allowance.
        asked.push(ask(&alice, ["slow.a", "slow.b"][at % 2]));
    }

    for _ in 0..198 {
        let (code, answer) = within(asked.next()).await.unwrap();
        assert_eq!(code, Some(429));
        let details = &json(&answer)["details"];
        assert!(details["retry_after_ms"].as_u64().unwrap() > 0, "{details}");
    }
    assert!(asked.next().now_or_never().is_none());
    // Bob's is let in, and whichever ends first makes room for another of hers.
    let bobs = ask(&bob, "slow.a");
    shop.ends.add_permits(3);
    let (bobs, alices) = within(join(bobs, asked.collect::<Vec<_>>())).await;
    assert_eq!(bobs.0, None);
    assert!(alices.iter().all(|(code, _)| code.is_none()));
    shop.ends.add_permits(1);
    assert_eq!(within(ask(&alice, "slow.b")).await.0, None);
}

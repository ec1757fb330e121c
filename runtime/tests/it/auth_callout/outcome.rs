//! What becomes of a login, and what its client, the server's log and ours show.

use std::time::{Duration, Instant, SystemTime};

use natsfn::auth_callout::{Allow, AuthKeys, AuthRequest, ConnectionType, Permissions, SUBJECT};
use natsfn::testing::local;
use natsfn::{Endpoint, Error, Json, Kind, RateLimit, Result, Service};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CONF, Door, REFUSED, twice};
use crate::captured::Captured;
use crate::world::{function, within};

/// How long nats-server waits for an answer.
const WAIT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_login_is_allowed_with_its_permissions_or_refused_and_only_the_server_learns_why() {
    let door = Door::new().await;
    let running = door.decide(twice).await;

    let mut alice = door.password("alice", "alicealice").await;
    assert_eq!(alice.answer, "PONG");
    alice
        .say("PUB shop.a 0\r\n\r\nPUB other 0\r\n\r\nSUB _INBOX.bob.> 1\r\nPING\r\n")
        .await;
    let told = [alice.line().await, alice.line().await, alice.line().await];
    assert!(
        told[0].contains("Violation for Publish to \"other\""),
        "{told:?}"
    );
    assert!(
        told[1].contains("Violation for Subscription to \"_INBOX.bob.>\""),
        "{told:?}"
    );
    assert_eq!(told[2], "PONG");

    assert_eq!(door.password("bob", "bob").await.answer, REFUSED);
    let log = door.logs("callout service returned an error").await;
    assert!(log.contains("wrong user name or password"), "{log}");
    let stats = function(&running, 0);
    assert_eq!(
        (&stats["num_requests"], &stats["num_errors"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn who_is_allowed_nothing_may_do_nothing() {
    let door = Door::new().await;
    let _running = door.decide(async || Allow::new("PEOPLE", "nobody")).await;

    let mut login = door.password("a", "a").await;

    assert_eq!(login.answer, "PONG");
    login.say("PUB a 0\r\n\r\nSUB b 1\r\n").await;
    assert!(
        login
            .line()
            .await
            .contains("Violation for Publish to \"a\"")
    );
    assert!(
        login
            .line()
            .await
            .contains("Violation for Subscription to \"b\"")
    );
}

#[tokio::test]
async fn a_function_learns_what_the_client_and_the_server_say() {
    let door = Door::new().await;
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let decide = move |request: AuthRequest| {
        let told = told.clone();
        async move {
            told.send(request).unwrap();
            Allow::new("PEOPLE", "a")
        }
    };
    let _running = door.decide(decide).await;

    let connect =
        json!({ "auth_token": "hush", "name": "door", "lang": "by hand", "version": "1" });
    assert_eq!(door.login(&connect).await.answer, "PONG");

    let request = asked.recv().await.unwrap();
    assert_eq!(request.connect.token.expose(), "hush");
    assert_eq!(request.connect.lang, "by hand");
    assert_eq!(
        (&*request.client.host, &*request.client.kind),
        ("127.0.0.1", "Client")
    );
    assert_eq!(
        (&*request.client.connection_type, &*request.client.name),
        ("nats", "door")
    );
    assert!(request.server.id.starts_with('N') && request.user_nkey.starts_with('U'));
    assert!(!request.server.version.is_empty() && request.tls.is_none());
    assert!(!format!("{request:?}").contains("hush"));
}

/// Whoever floods a door whose directory is away fills no log.
#[tokio::test]
async fn failure_that_lasts_is_one_warning() {
    let logged = Captured::begin();
    let door = Door::new().await;
    let (directory, look) = tokio::sync::watch::channel("down");
    let decide = move || {
        let directory = *look.borrow();
        std::future::ready(match directory {
            "up" => Ok(Allow::new("PEOPLE", "a")),
            _ => Err(Error::unavailable("the directory is down")),
        })
    };
    let _running = door.decide(decide).await;
    let login = json!({ "user": "a", "pass": "a" });

    let refused = futures_util::future::join_all((0..20).map(|_| door.login(&login))).await;
    for login in refused {
        assert_eq!(login.answer, REFUSED);
    }
    directory.send("up").unwrap();
    assert_eq!(door.login(&login).await.answer, "PONG");
    assert_eq!(door.login(&login).await.answer, "PONG");

    let all = logged.lines("");
    let warned = logged.lines("failed; more of this is only counted");
    assert_eq!(warned.len(), 1, "{all:#?}");
    assert!(warned[0].contains(" WARN "), "{warned:#?}");
    let unanswered = logged.lines("outcome=\"unanswered\"");
    assert_eq!(unanswered.len(), 20, "{all:#?}");
    let over = logged.lines("works again");
    assert_eq!(over.len(), 1, "{all:#?}");
    assert!(over[0].contains("failures=20"), "{over:#?}");
}

/// What is no decision refuses, or is not answered.
#[tokio::test]
async fn unavailable_and_late_are_no_answer_and_a_panic_and_nonsense_are_a_refusal() {
    let door = Door::new().await;
    let decide = async |request: AuthRequest| -> Result<Allow> {
        match &*request.connect.user {
            "unavailable" => Err(Error::unavailable("the directory is down")),
            "late" => std::future::pending().await,
            "panics" => panic!("this is the panic"),
            "nameless" => Ok(Allow::new("PEOPLE", "")),
            "spaced" => {
                Ok(Allow::new("PEOPLE", "a").permissions(Permissions::none().publish(["a b"])))
            }
            "over" => Ok(Allow::new("PEOPLE", "a").expires(SystemTime::UNIX_EPOCH)),
            _ => Err(Error::internal("a secret of ours")),
        }
    };
    let endpoint =
        Endpoint::auth_callout("decide", door.keys()).deadline(Duration::from_millis(100));
    let _running = door
        .serve(Service::new("auth", "1.0.0").endpoint(endpoint, decide))
        .await;

    for user in ["unavailable", "late"] {
        let asked = Instant::now();
        assert_eq!(door.password(user, "a").await.answer, REFUSED, "{user}");
        assert!(asked.elapsed() >= WAIT, "{user}");
        let log = std::fs::read_to_string(door.server.log()).unwrap();
        assert!(!log.contains("returned an error"), "{log}");
    }
    for user in ["panics", "nameless", "spaced", "over", "other"] {
        assert_eq!(door.password(user, "a").await.answer, REFUSED, "{user}");
    }
    door.logs("returned an error: the login has expired").await;
    let log = std::fs::read_to_string(door.server.log()).unwrap();
    assert_eq!(
        log.matches("returned an error: internal error").count(),
        4,
        "{log}"
    );
    assert!(!log.contains("secret of ours"), "{log}");
}

#[tokio::test]
async fn an_answer_that_is_no_allow_is_a_refusal() {
    let door = Door::new().await;
    let decide = async || Json(json!({ "account": "PEOPLE", "name": "a", "admin": true }));
    let running = door.decide(decide).await;

    assert_eq!(door.password("a", "a").await.answer, REFUSED);

    let error = function(&running, 0)["last_error"].clone();
    assert_eq!(error, "500:internal error");
}

#[tokio::test]
async fn a_server_without_our_xkey_is_refused_and_told_the_cure() {
    let other = AuthKeys::generate().xkey;
    let confs = [
        ("", "it is not encrypted"),
        (
            &*format!("xkey: {other}"),
            "rror decrypting auth callout response",
        ),
    ];
    for (xkey, reason) in confs {
        let logged = Captured::begin();
        let door = Door::with(CONF.replace("CALLOUT_XKEY", xkey), AuthKeys::generate()).await;
        let running = door.decide(twice).await;

        assert_eq!(door.password("a", "aa").await.answer, REFUSED);

        door.logs(reason).await;
        let cure = format!("needs xkey {}", door.new.xkey);
        assert_eq!(logged.lines(&cure).len(), 1, "{:?}", logged.lines(""));
        assert_eq!(function(&running, 0)["num_errors"], 1);
    }
}

#[tokio::test]
async fn another_issuer_is_refused_and_told_the_cure() {
    let mut new = AuthKeys::generate();
    let service = new.clone();
    new.issuer = AuthKeys::generate().issuer;
    let mut door = Door::with(CONF.replace("CALLOUT_XKEY", "xkey: $XKEY"), new).await;
    door.new = service;
    let _running = door.decide(twice).await;

    assert_eq!(door.password("a", "aa").await.answer, REFUSED);

    let log = door.logs("it is for another issuer").await;
    assert!(
        log.contains(&format!("needs issuer {}", door.new.issuer)),
        "{log}"
    );
}

#[tokio::test]
async fn each_decision_is_one_line_of_the_log_without_a_secret() {
    let logged = Captured::begin();
    let door = Door::new().await;
    let _running = door.decide(twice).await;

    door.password("alice", "alicealice").await;
    door.password("bob\n2026 INFO forged", "hush-hush").await;
    // Some clients send a token as a user name.
    door.password(&"hush-".repeat(13), "").await;
    door.login(&json!({ "auth_token": "hush-hush" })).await;

    let lines = logged.lines("outcome=");
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let with = |parts: &[&str]| {
        let found = lines
            .iter()
            .filter(|line| parts.iter().all(|part| line.contains(part)));
        assert_eq!(found.count(), 1, "{parts:?}: {lines:#?}");
    };
    let allowed = [
        "user=\"alice\"",
        "name=\"alice~1\"",
        "account=\"PEOPLE\"",
        "outcome=\"allowed\"",
    ];
    with(
        &[
            &allowed[..],
            &["host=\"127.0.0.1\"", "credential=\"password\""],
        ]
        .concat(),
    );
    let refused = [
        "outcome=\"refused\"",
        "reason=\"wrong user name or password\"",
    ];
    with(&[&refused[..], &["user=\"(20 bytes, no plain name)\""]].concat());
    with(&[&refused[..], &["user=\"(65 bytes, no plain name)\""]].concat());
    with(&["credential=\"token\"", "outcome=\"refused\""]);
    let all = logged.lines("");
    assert!(
        !all.iter()
            .any(|line| line.contains("hush") || line.contains("alicealice"))
    );
}

#[tokio::test]
async fn the_server_closes_a_connection_whose_time_is_over() {
    let door = Door::new().await;
    let decide = async || {
        let soon = SystemTime::now() + Duration::from_millis(1500);
        Allow::new("PEOPLE", "a").expires(soon)
    };
    let _running = door.decide(decide).await;

    let mut login = door.password("a", "a").await;

    assert_eq!(login.answer, "PONG");
    assert_eq!(login.line().await, "-ERR 'User Authentication Expired'");
    assert_eq!(login.line().await, "");
}

/// Whether a client comes in over WebSocket.
async fn comes_in_over_websocket(url: &str, connect: &Value) -> bool {
    let address = url.trim_start_matches("ws://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    // A server takes nothing before its own answer.
    let mut said = Vec::new();
    while !said.ends_with(b"} \r\n") {
        assert_ne!(within(stream.read_buf(&mut said)).await.unwrap(), 0);
    }
    let text = format!("CONNECT {connect}\r\nPING\r\n");
    // A binary frame of up to 64 KiB, masked with zeros.
    let mut frame = vec![0x82, 0x80 | 126];
    frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    stream.write_all(&frame).await.unwrap();
    loop {
        let read = within(stream.read_buf(&mut said)).await.unwrap();
        let comes_in = String::from_utf8_lossy(&said).contains("PONG");
        if comes_in || read == 0 {
            return comes_in;
        }
    }
}

#[tokio::test]
async fn a_client_comes_in_by_the_allowed_ways_only() {
    let door = Door::new().await;
    let decide = async |request: AuthRequest| {
        let ways = match &*request.connect.user {
            "tcp" => vec![ConnectionType::Standard],
            "web" => vec![ConnectionType::WebSocket],
            "both" => vec![ConnectionType::Standard, ConnectionType::WebSocket],
            _ => vec![],
        };
        Allow::new("PEOPLE", "a").connection_types(ways)
    };
    let _running = door.decide(decide).await;
    let url = door.server.addresses().websocket.clone().unwrap();

    for (user, tcp, web) in [
        ("tcp", "PONG", false),
        ("web", REFUSED, true),
        ("both", "PONG", true),
        ("any", "PONG", true),
    ] {
        assert_eq!(door.password(user, "a").await.answer, tcp, "{user}");
        let connect = json!({ "user": user, "pass": "a" });
        assert_eq!(comes_in_over_websocket(&url, &connect).await, web, "{user}");
    }
    door.logs("may not be made in this way: WebSocket").await;
}

#[tokio::test]
async fn a_login_is_decided_without_a_broker_and_without_keys_of_a_server() {
    let new = AuthKeys::generate();
    let keys = AuthKeys::from_seeds(&new.issuer_seed, &new.xkey_seed).unwrap();
    let endpoint = Endpoint::auth_callout("decide", keys);
    let door = local(Service::new("auth", "1.0.0").endpoint(endpoint, twice));

    let login = json!({ "connect_opts": { "user": "alice", "pass": "alicealice" } });
    let allow: Allow = door.request(SUBJECT, &login).await.unwrap();
    assert_eq!((&*allow.account, &*allow.name), ("PEOPLE", "alice~1"));

    let login = json!({ "connect_opts": { "user": "alice", "pass": "a" } });
    let refused = door.request::<Allow>(SUBJECT, &login).await.unwrap_err();
    assert_eq!(refused.code, Kind::Unauthorized.code());
}

#[test]
fn a_rate_limit_by_the_caller_is_a_mistake_where_nobody_is_logged_in() {
    let new = AuthKeys::generate();
    let keys = AuthKeys::from_seeds(&new.issuer_seed, &new.xkey_seed).unwrap();
    let endpoint = Endpoint::auth_callout("decide", keys).rate_limit(RateLimit::new(1.0, 1));
    let service = Service::new("auth", "1.0.0").endpoint(endpoint, twice);
    let error = service.build().err().unwrap();
    assert!(error.to_string().contains("rate_limit"), "{error}");
}

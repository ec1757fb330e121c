//! How fast people get in: by password, by session token and by access token, also in a flood of bogus
//! tokens; and how long it takes until 2,000 are back after a restart of nats-server.
//!
//! `cargo xtask bench logins`; `LOGINS_PASSWORDS`, `LOGINS_TOKENS`, `LOGINS_FLOOD` (a second) and
//! `LOGINS_PEOPLE` set the numbers.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it measured, and ends where it cannot"
)]

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/it/issuer.rs"]
mod issuer;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event};
use chat::auth::Door;
use chat::auth::password;
use chat::auth::users::file::{self, RoleName, User};
use chat::auth_service;
use chat::config::auth::Auth;
use futures_util::{StreamExt, stream};
use natsfn::auth_callout::AuthKeys;
use natsfn::config::{Login, NatsConfig};
use natsfn::server::{Server, ServerConfig};
use serde_json::Value;
use tokio::sync::Notify;

use crate::issuer::{Issuer, Key};

const NATS_CONF: &str = include_str!("../../nats.conf");

/// Who has a password in it; it is the name.
const USERS: [&str; 13] = [
    "send",
    "history",
    "persist",
    "page",
    "chat",
    "setup",
    "dead",
    "operator",
    "backend",
    "auth",
    "auth-operator",
    "sys",
    "kick",
];

/// People, with their names as passwords: several, since one may have few log-ins undecided at once.
const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn number(name: &str, default: usize) -> usize {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` only checks that it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let keys = AuthKeys::generate();
    let server = ServerConfig::new(directory.path().join("nats"))
        .text(NATS_CONF)
        .list("NATS_CONF_WEBSOCKET_ORIGINS", ["http://localhost:3000"])
        .variable("NATS_CONF_AUTH_ISSUER", &keys.issuer)
        .variable("NATS_CONF_AUTH_XKEY", &keys.xkey);
    let server = USERS.iter().fold(server, |server, user| {
        let name = user.to_uppercase().replace('-', "_");
        server.variable(format!("NATS_CONF_PASSWORD_{name}"), user)
    });
    let server = Server::start(server).await.unwrap();

    let users = directory.path().join("users.json");
    let user = |name: &str| User {
        name: None,
        roles: vec![RoleName::User],
        password: password::hash(&name.into()).unwrap(),
        since: None,
    };
    let add = |table: &mut file::Table| {
        table.extend(PEOPLE.map(|name| (name.to_owned(), user(name))));
        Ok(())
    };
    file::change(&users, add).unwrap();
    let key = Key::rsa("bench", 0);
    let issuer = Issuer::with(&[&key]).await;
    let config = Auth {
        issuer: Some(keys.issuer_seed),
        xkey: Some(keys.xkey_seed),
        users: Some(users),
        oidc: Some(issuer.config()),
        ..Auth::default()
    };
    let definition = auth_service(Door::open(&config).unwrap()).build().unwrap();
    let nats = NatsConfig {
        url: server.url().to_owned(),
        ..NatsConfig::default()
    };
    let nats = nats.login(&Login::new("auth", "auth", "_INBOX.s.auth"));
    let connections = natsfn::Connections::open(&nats, "auth").await.unwrap();
    let _auth = natsfn::start(definition, connections, None).await.unwrap();

    let url = server.url();
    let turn = AtomicUsize::new(0);
    let by_password = || {
        let name = PEOPLE[turn.fetch_add(1, Relaxed) % PEOPLE.len()];
        ConnectOptions::with_user_and_password(name.into(), name.into())
    };
    let passwords = number("LOGINS_PASSWORDS", 400);
    logins(
        "password, one at a time",
        url,
        passwords / 4,
        1,
        by_password,
    )
    .await;
    logins("password, 16 at a time", url, passwords, 16, by_password).await;
    let alice = ConnectOptions::with_user_and_password("alice".into(), "alice".into());
    let token = session(url, alice).await;
    let tokens = number("LOGINS_TOKENS", 4_000);
    let by_session = || ConnectOptions::with_token(token.clone());
    logins("session token, 64 at a time", url, tokens, 64, by_session).await;
    let access = key.sign(&issuer.claims("bob", &["user"]));
    let by_access = || ConnectOptions::with_token(access.clone());
    logins("access token, 64 at a time", url, tokens, 64, by_access).await;
    let other = Key::rsa("bench", 1);
    let bogus = other.sign(&issuer.claims("bob", &["user"]));
    flooded(url, &bogus, number("LOGINS_FLOOD", 1_000), by_access).await;
    back(&server, number("LOGINS_PEOPLE", 2_000), &token).await;
}

/// Logs in many times, so many at once.
async fn logins(
    how: &str,
    url: &str,
    count: usize,
    at_once: usize,
    options: impl Fn() -> ConnectOptions,
) {
    let began = Instant::now();
    let mut took: Vec<Duration> = stream::iter(0..count)
        .map(|_| {
            let login = options().connect(url);
            async {
                let began = Instant::now();
                login.await.unwrap();
                began.elapsed()
            }
        })
        .buffer_unordered(at_once)
        .collect()
        .await;
    let elapsed = began.elapsed();
    say(how, &mut took, elapsed);
}

fn say(how: &str, took: &mut [Duration], elapsed: Duration) {
    let (count, rate) = (took.len(), took.len() as f64 / elapsed.as_secs_f64());
    took.sort();
    let at = |percent: usize| took[(count - 1) * percent / 100].as_secs_f64() * 1_000.0;
    println!(
        "{how:<28} {count:>5} logins {rate:>7.0} /s   p50 {:>6.1} ms   p99 {:>6.1} ms",
        at(50),
        at(99)
    );
}

/// Logs in one after the other for 10 s, while others try a token that somebody else has signed.
async fn flooded(url: &str, bogus: &str, a_second: usize, options: impl Fn() -> ConnectOptions) {
    let began = Instant::now();
    let (url_of_flood, bogus) = (url.to_owned(), bogus.to_owned());
    let flood = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let mut tries = tokio::task::JoinSet::new();
        for n in 1..=1_000 {
            tick.tick().await;
            while tries.len() < n * a_second / 100 {
                let login = ConnectOptions::with_token(bogus.clone()).connect(url_of_flood.clone());
                tries.spawn(async { login.await.is_err() });
            }
        }
        (began.elapsed(), tries.join_all().await)
    });
    let mut took = Vec::new();
    while !flood.is_finished() {
        let began = Instant::now();
        options().connect(url).await.unwrap();
        took.push(began.elapsed());
    }
    let (lasted, refused) = flood.await.unwrap();
    assert!(
        refused.iter().all(|refused| *refused),
        "a bogus token got in"
    );
    let sent = refused.len() as f64 / lasted.as_secs_f64();
    say(
        &format!("... and {sent:.0} bogus tokens /s"),
        &mut took,
        began.elapsed(),
    );
}

/// A session token.
async fn session(url: &str, options: ConnectOptions) -> String {
    let options = options.custom_inbox_prefix("_INBOX.u.alice");
    let nats = options.connect(url).await.unwrap();
    let answer = nats.request("auth.session", "".into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

/// Everybody is connected, nats-server is killed, and everybody comes back.
async fn back(server: &Server, people: usize, token: &str) {
    let (connected, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let connections: Vec<Client> = stream::iter(0..people)
        .map(|_| {
            let (connected, all) = (connected.clone(), all.clone());
            ConnectOptions::with_token(token.to_owned())
                .max_reconnects(None)
                // As the page does: soon, and not all at once.
                .reconnect_delay_callback(|attempts| {
                    let longest = 250 << attempts.min(4);
                    Duration::from_millis(fastrand::u64(0..longest))
                })
                .event_callback(move |event| {
                    if matches!(event, Event::Connected)
                        && connected.fetch_add(1, Relaxed) + 1 == 2 * people
                    {
                        all.notify_one();
                    }
                    std::future::ready(())
                })
                .connect(server.url())
        })
        .buffer_unordered(64)
        .map(Result::unwrap)
        .collect()
        .await;
    let began = Instant::now();
    server.restart().await;
    let up = began.elapsed();
    if tokio::time::timeout(Duration::from_secs(120), all.notified())
        .await
        .is_err()
    {
        println!("after 120 s some are still away: {connected:?} connections of 2 x {people}");
        return;
    }
    println!(
        "{} people are back {:.1} s after nats-server was stopped, {:.1} s after it was up again",
        connections.len(),
        began.elapsed().as_secs_f64(),
        (began.elapsed() - up).as_secs_f64()
    );
}

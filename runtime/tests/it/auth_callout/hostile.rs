//! Requests that no server has sent: none of them is granted, and none ends anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::{HeaderMap, Message};
use futures_util::{StreamExt, stream};
use natsfn::auth_callout::{Allow, AuthKeys, AuthRequest, NewKeys, SUBJECT};
use natsfn::{Endpoint, Running, Service};
use nkeys::{KeyPair, XKey};
use serde_json::{Value, json};

use super::Door;
use super::forged::{Between, Forger, claims, sign};
use crate::captured::Captured;
use crate::world::{World, function};

const XKEY: &str = "Nats-Server-Xkey";

/// A callout that lets everybody in whose request it accepts.
struct Open {
    world: World,
    running: Running,
    calls: Arc<AtomicUsize>,
    forger: Forger,
    issuer: String,
}

impl Open {
    async fn new(keys: &NewKeys) -> Self {
        let world = World::new().await;
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let decide = move |_: AuthRequest| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Allow::new("PEOPLE", "anybody") }
        };
        let pair = AuthKeys::from_seeds(&keys.issuer_seed, &keys.xkey_seed).unwrap();
        let endpoint = Endpoint::auth_callout("decide", pair);
        let service = Service::new("auth", "1.0.0").endpoint(endpoint, decide);
        Self {
            running: world.serve(service).await,
            world,
            calls,
            forger: Forger::new(keys),
            issuer: keys.issuer.clone(),
        }
    }

    async fn ask(&self, xkey: Option<&str>, payload: Vec<u8>) -> Message {
        let mut headers = HeaderMap::new();
        if let Some(xkey) = xkey {
            headers.insert(XKEY, xkey);
        }
        self.world.ask_with(SUBJECT, headers, payload).await
    }

    /// The claims that a server with this curve key is answered, or else what an ordinary caller is.
    fn read(&self, answer: &Message, xkey: &str) -> Value {
        let server = XKey::from_public_key(xkey);
        let opened = server.and_then(|server| self.forger.curve.open(&answer.payload, &server));
        let text = opened.unwrap_or_else(|_| answer.payload.to_vec());
        serde_json::from_slice(&text)
            .unwrap_or_else(|_| claims(std::str::from_utf8(&text).unwrap()))
    }
}

/// A server's claims for its next login.
fn login(server: &KeyPair, xkey: &XKey, issuer: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let id = server.public_key();
    json!({
        "aud": "nats-authorization-request", "exp": now.as_secs() + 2, "iss": id, "sub": issuer,
        "nats": {
            "server_id": { "id": id, "xkey": xkey.public_key() },
            "user_nkey": KeyPair::new_user().public_key(),
            "client_info": { "host": "::1", "kind": "Client" },
            "connect_opts": { "user": "a", "pass": "b", "protocol": 1 },
            "type": "authorization_request", "version": 2,
        },
    })
}

#[tokio::test]
async fn a_request_of_which_anything_is_wrong_is_refused_with_the_reason() {
    let open = Open::new(&AuthKeys::generate()).await;
    let (server, xkey) = (KeyPair::new_server(), XKey::new());
    let (account, other_xkey) = (KeyPair::new_account(), XKey::new().public_key());
    let other = KeyPair::new_server().public_key();

    type Edit<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let cases: Vec<(&str, Edit)> = vec![
        ("", Box::new(|_| {})),
        ("another audience", Box::new(|it| it["aud"] = json!("nats"))),
        (
            "another audience",
            Box::new(|it| drop(it.as_object_mut().unwrap().remove("aud"))),
        ),
        (
            "another issuer",
            Box::new(|it| it["sub"] = json!(account.public_key())),
        ),
        (
            "expired",
            Box::new(|it| it["exp"] = json!(it["exp"].as_u64().unwrap() - 90)),
        ),
        (
            "expired",
            Box::new(|it| drop(it.as_object_mut().unwrap().remove("exp"))),
        ),
        ("expired", Box::new(|it| it["exp"] = json!(i64::MIN))),
        (
            "not the one that asks",
            Box::new(|it| it["nats"]["server_id"]["id"] = json!(other)),
        ),
        (
            "not the server's own",
            Box::new(|it| it["nats"]["server_id"]["xkey"] = json!(other_xkey)),
        ),
        (
            "user_nkey",
            Box::new(|it| it["nats"]["user_nkey"] = json!("")),
        ),
        (
            "user_nkey",
            Box::new(|it| it["nats"]["user_nkey"] = json!(other)),
        ),
        (
            "signature is wrong",
            Box::new(|it| it["iss"] = json!(other)),
        ),
        (
            "nobody who may",
            Box::new(|it| it["iss"] = json!(account.public_key())),
        ),
        ("nobody who may", Box::new(|it| it["iss"] = json!("N"))),
        ("cannot be read", Box::new(|it| it["nats"] = json!("login"))),
        (
            "cannot be read",
            Box::new(|it| it["nats"]["connect_opts"]["pass"] = json!([1])),
        ),
    ];
    for (reason, edit) in cases {
        let mut claims = login(&server, &xkey, &open.issuer);
        edit(&mut claims);
        let token = sign(&claims, &server);
        let payload = open.forger.seal(token.as_bytes(), &xkey);
        let answer = open.ask(Some(&xkey.public_key()), payload).await;
        let answer = open.read(&answer, &xkey.public_key());
        let error = answer["nats"]["error"]
            .as_str()
            .or(answer["error"].as_str());
        assert_eq!(
            answer["nats"]["jwt"].is_string(),
            reason.is_empty(),
            "{reason}: {answer}"
        );
        assert!(
            error.unwrap_or_default().contains(reason),
            "{reason}: {answer}"
        );
    }
    // A JWT that is not encrypted is answered as it is, with the cure.
    let token = sign(&login(&server, &xkey, &open.issuer), &server);
    let answer = open.ask(None, token.into()).await;
    let answer = open.read(&answer, "");
    assert!(
        answer["nats"]["error"]
            .as_str()
            .unwrap()
            .contains("not encrypted"),
        "{answer}"
    );
    assert_eq!(open.calls.load(Ordering::SeqCst), 1);
}

/// Changes bytes, at random and for certain.
fn mutate(random: &mut fastrand::Rng, original: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    while bytes == original {
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..=bytes.len());
            let to = random.usize(at..=bytes.len());
            match random.u8(0..7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
                1 if at < bytes.len() => bytes[at] = random.u8(..),
                2 => bytes.insert(at, random.u8(..)),
                3 => bytes.truncate(at),
                4 => drop(bytes.drain(at..to)),
                5 => bytes.extend_from_within(at..to),
                _ => bytes[at..to].reverse(),
            }
        }
    }
    bytes
}

#[tokio::test]
async fn of_ten_thousand_requests_that_were_changed_none_is_granted_and_nothing_panics() {
    const REQUESTS: usize = 10_000;
    let logged = Captured::begin();
    let door = Door::new().await;
    let mut between = Between::new(&door).await;
    let open = Open::new(&door.new).await;
    let mut originals = Vec::new();
    for connect in [
        json!({ "user": "alice", "pass": "alicealice" }),
        json!({ "auth_token": "a.b.c", "name": "ü".repeat(300) }),
    ] {
        // Nobody answers, and the login times out.
        let _waiting = door.raw(&connect).await;
        let login = between.next().await;
        let key = login.headers.as_ref().unwrap().get(XKEY).unwrap();
        let (token, server) = open.forger.open(&login);
        originals.push((key.to_string(), login.payload.to_vec(), token, server));
    }
    // That of a server whose clock is a year ahead does not expire meanwhile.
    let (server, xkey) = (KeyPair::new_server(), XKey::new());
    let mut ahead = login(&server, &xkey, &open.issuer);
    ahead["exp"] = json!(ahead["exp"].as_u64().unwrap() + 31_536_000);
    let token = sign(&ahead, &server);
    let payload = open.forger.seal(token.as_bytes(), &xkey);
    originals.push((xkey.public_key(), payload, token, xkey));
    for (xkey, payload, ..) in &originals {
        let answer = open.ask(Some(xkey), payload.clone()).await;
        assert!(open.read(&answer, xkey)["nats"]["jwt"].is_string());
    }
    let mut random = fastrand::Rng::with_seed(13);
    let requests: Vec<(String, Vec<u8>)> = (0..REQUESTS)
        .map(|n| {
            let (xkey, payload, token, server) = &originals[n % originals.len()];
            match n % 5 {
                0 => (xkey.clone(), mutate(&mut random, payload)),
                // The token inside, encrypted again as the server would.
                1 | 2 => {
                    let token = mutate(&mut random, token.as_bytes());
                    (xkey.clone(), open.forger.seal(&token, server))
                }
                3 => {
                    let mutated = mutate(&mut random, xkey.as_bytes());
                    let printable = mutated.into_iter().filter(u8::is_ascii_graphic);
                    let mutated = String::from_utf8(printable.collect()).unwrap();
                    (mutated, mutate(&mut random, payload))
                }
                _ => {
                    let mut payload = vec![0; random.usize(0..2000)];
                    payload.fill_with(|| random.u8(..));
                    if random.bool() {
                        payload.splice(0..0, *b"xkv1");
                    }
                    (xkey.clone(), payload)
                }
            }
        })
        .collect();

    let answers = stream::iter(requests).map(async |(xkey, payload)| {
        let answer = open.ask(Some(&xkey), payload).await;
        open.read(&answer, &xkey)
    });
    let answers: Vec<Value> = answers.buffer_unordered(64).collect().await;

    assert_eq!(answers.len(), REQUESTS);
    for answer in answers {
        let error = answer["nats"]["error"]
            .as_str()
            .or(answer["error"].as_str());
        assert!(
            answer["nats"]["jwt"].is_null() && error.is_some(),
            "{answer}"
        );
    }
    let stats = function(&open.running, 0);
    assert_eq!(stats["num_requests"], originals.len() + REQUESTS);
    assert_eq!(stats["num_errors"], REQUESTS);
    assert_eq!(open.calls.load(Ordering::SeqCst), originals.len());
    assert_eq!(logged.lines("outcome=\"refused\"").len(), REQUESTS);
    assert_eq!(logged.lines("panicked"), [""; 0]);
}

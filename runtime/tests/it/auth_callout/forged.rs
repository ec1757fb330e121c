//! Answers to a server that are not those of this login: it takes none of them.

use async_nats::{Client, Message, Subscriber};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;
use futures_util::future::join;
use natsfn::auth_callout::{AuthKeys, NewKeys, SUBJECT};
use natsfn::{Bytes, Endpoint, Running, Service};
use nkeys::{KeyPair, XKey};
use serde_json::{Value, json};

use super::{CONF, Door, REFUSED, twice};
use crate::world::{World, within};

/// Stands between a server and natsfn, which answers on a server of its own.
pub(super) struct Between {
    nats: Client,
    logins: Subscriber,
    oracle: World,
    _running: Running,
}

impl Between {
    pub(super) async fn new(door: &Door) -> Self {
        let oracle = World::new().await;
        let endpoint = Endpoint::auth_callout("decide", door.keys());
        let service = Service::new("auth", "1.0.0").endpoint(endpoint, twice);
        let running = oracle.serve(service).await;
        let nats = door.user("auth").await;
        let logins = nats.subscribe(SUBJECT).await.unwrap();
        // The server knows of it after a round trip.
        nats.request("_INBOX.nobody", "".into()).await.unwrap_err();
        Self {
            nats,
            logins,
            oracle,
            _running: running,
        }
    }

    /// What the server asks at the next login.
    pub(super) async fn next(&mut self) -> Message {
        within(self.logins.next()).await.unwrap()
    }

    /// natsfn's answer to that.
    async fn decide(&self, login: &Message) -> Bytes {
        let headers = login.headers.clone().unwrap();
        let answer = self
            .oracle
            .ask_with(SUBJECT, headers, login.payload.clone());
        answer.await.payload
    }

    async fn answer(&self, login: &Message, answer: Bytes) {
        let reply = login.reply.clone().unwrap();
        self.nats.publish(reply, answer).await.unwrap();
    }
}

/// Somebody who has the keys of the callout, or some of them.
pub(super) struct Forger {
    issuer: KeyPair,
    pub(super) curve: XKey,
}

impl Forger {
    pub(super) fn new(keys: &NewKeys) -> Self {
        Self {
            issuer: KeyPair::from_seed(keys.issuer_seed.expose()).unwrap(),
            curve: XKey::from_seed(keys.xkey_seed.expose()).unwrap(),
        }
    }

    /// The JWT of a login, and the server's curve key.
    pub(super) fn open(&self, login: &Message) -> (String, XKey) {
        let key = login
            .headers
            .as_ref()
            .unwrap()
            .get("Nats-Server-Xkey")
            .unwrap();
        let server = XKey::from_public_key(key.as_str()).unwrap();
        let token = self.curve.open(&login.payload, &server).unwrap();
        (String::from_utf8(token).unwrap(), server)
    }

    /// What the callout and the server share encrypts in both directions.
    pub(super) fn seal(&self, token: &[u8], server: &XKey) -> Vec<u8> {
        self.curve.seal(token, server).unwrap()
    }
}

/// The claims of a JWT.
pub(super) fn claims(token: &str) -> Value {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    serde_json::from_slice(&claims.unwrap()).unwrap()
}

/// A JWT.
pub(super) fn sign(claims: &Value, key: &KeyPair) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = key.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn an_answer_opens_no_second_login() {
    let door = Door::new().await;
    let mut between = Between::new(&door).await;

    let (alice, kept) = join(door.password("alice", "alicealice"), async {
        let login = between.next().await;
        let answer = between.decide(&login).await;
        between.answer(&login, answer.clone()).await;
        answer
    })
    .await;
    assert_eq!(alice.answer, "PONG");

    let (again, ()) = join(door.password("mallory", "x"), async {
        let login = between.next().await;
        between.answer(&login, kept).await;
    })
    .await;
    assert_eq!(again.answer, REFUSED);
    door.logs("response is not for expected user").await;
}

#[tokio::test]
async fn two_answers_that_are_swapped_open_neither_login() {
    let door = Door::new().await;
    let mut between = Between::new(&door).await;

    let logins = join(
        door.password("alice", "alicealice"),
        door.password("bob", "bobbob"),
    );
    let ((alice, bob), ()) = join(logins, async {
        let (one, other) = (between.next().await, between.next().await);
        let (first, second) = (between.decide(&one).await, between.decide(&other).await);
        between.answer(&one, second).await;
        between.answer(&other, first).await;
    })
    .await;

    assert_eq!((&*alice.answer, &*bob.answer), (REFUSED, REFUSED));
}

#[tokio::test]
async fn an_answer_for_another_server_opens_no_login() {
    let door = Door::new().await;
    let text = CONF.replace("CALLOUT_XKEY", "xkey: $XKEY");
    let next_door = Door::with(text, door.new.clone()).await;
    let (mut here, mut there) = (Between::new(&door).await, Between::new(&next_door).await);

    let logins = join(
        door.password("alice", "x"),
        next_door.password("alice", "alicealice"),
    );
    let ((alice, other), ()) = join(logins, async {
        let (asked, elsewhere) = (here.next().await, there.next().await);
        let answer = there.decide(&elsewhere).await;
        here.answer(&asked, answer.clone()).await;
        there.answer(&elsewhere, answer).await;
    })
    .await;

    assert_eq!((&*alice.answer, &*other.answer), (REFUSED, "PONG"));
}

#[tokio::test]
async fn an_answer_from_another_account_is_not_heard() {
    let door = Door::new().await;
    let mut between = Between::new(&door).await;
    let outside = door.user("static").await;

    let (alice, ()) = join(door.password("alice", "alicealice"), async {
        let login = between.next().await;
        // What is no answer would be a refusal.
        let reply = login.reply.clone().unwrap();
        outside.publish(reply, "nonsense".into()).await.unwrap();
        outside.request("nobody", "".into()).await.unwrap_err();
        let answer = between.decide(&login).await;
        between.answer(&login, answer).await;
    })
    .await;

    assert_eq!(alice.answer, "PONG");
}

/// One thing is wrong with each of these answers, and the first has none.
#[tokio::test]
async fn an_answer_of_which_anything_is_wrong_opens_no_login() {
    let door = Door::new().await;
    let mut between = Between::new(&door).await;
    let forger = Forger::new(&door.new);
    let stranger = KeyPair::new_account();
    let elsewhere = KeyPair::new_server().public_key();
    let nobody = KeyPair::new_user().public_key();

    type Edit = Box<dyn Fn(&mut Value, &mut Value)>;
    let cases: Vec<(&str, Edit)> = vec![
        ("", Box::new(|_, _| {})),
        ("response is not for expected user", {
            let nobody = nobody.clone();
            Box::new(move |_, answer| answer["sub"] = json!(nobody))
        }),
        (
            "response is not for server",
            Box::new(move |_, answer| answer["aud"] = json!(elsewhere)),
        ),
        (
            "Expected authorized user",
            Box::new(move |user, _| user["sub"] = json!(nobody)),
        ),
        (
            "o valid account",
            Box::new(|user, _| user["aud"] = json!("NOWHERE")),
        ),
        (
            "rror validating user JWT",
            Box::new(|user, _| user["exp"] = json!(1)),
        ),
        ("attempted to use issuer_account", {
            let account = stranger.public_key();
            Box::new(move |user, _| user["nats"]["issuer_account"] = json!(account))
        }),
    ];
    let grant = |login: &Message, edit: &Edit, user_key: &KeyPair, key: &KeyPair| {
        let (token, server) = forger.open(login);
        let asked = claims(&token);
        let mut user = json!({
            "iss": user_key.public_key(), "sub": asked["nats"]["user_nkey"], "aud": "PEOPLE",
            "name": "forged", "nats": { "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 },
        });
        let mut answer = json!({
            "iss": key.public_key(), "sub": asked["nats"]["user_nkey"],
            "aud": asked["nats"]["server_id"]["id"],
            "nats": { "type": "authorization_response", "version": 2 },
        });
        edit(&mut user, &mut answer);
        answer["nats"]["jwt"] = json!(sign(&user, user_key));
        (sign(&answer, key), server)
    };
    let ours = &forger.issuer;

    for (reason, edit) in &cases {
        let (alice, ()) = join(door.password("alice", "x"), async {
            let login = between.next().await;
            let (answer, server) = grant(&login, edit, ours, ours);
            let answer = forger.seal(answer.as_bytes(), &server);
            between.answer(&login, answer.into()).await;
        })
        .await;
        let expected = if reason.is_empty() { "PONG" } else { REFUSED };
        assert_eq!(alice.answer, expected, "{reason}");
        door.logs(reason).await;
    }

    let unchanged = &cases[0].1;
    let others_curve = XKey::from_seed(AuthKeys::generate().xkey_seed.expose()).unwrap();
    type Wrap<'a> = Box<dyn Fn(&Message) -> Vec<u8> + 'a>;
    let cases: [(&str, Wrap); 3] = [
        (
            "rong issuer",
            Box::new(|login| {
                let (answer, server) = grant(login, unchanged, &stranger, ours);
                forger.seal(answer.as_bytes(), &server)
            }),
        ),
        (
            "signing key is unknown",
            Box::new(|login| grant(login, unchanged, ours, &stranger).0.into_bytes()),
        ),
        (
            "rror decrypting auth callout response",
            Box::new(|login| {
                let (answer, server) = grant(login, unchanged, ours, ours);
                others_curve.seal(answer.as_bytes(), &server).unwrap()
            }),
        ),
    ];
    for (reason, wrap) in &cases {
        let (alice, ()) = join(door.password("alice", "x"), async {
            let login = between.next().await;
            between.answer(&login, wrap(&login).into()).await;
        })
        .await;
        assert_eq!(alice.answer, REFUSED, "{reason}");
        door.logs(reason).await;
    }
}

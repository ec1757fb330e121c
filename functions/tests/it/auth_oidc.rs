//! People of a provider: real tokens, and every one that must be refused.

use std::time::Duration;

use async_nats::ConnectOptions;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::StatusCode;
use jsonwebtoken::{Algorithm, Header};
use ring::hmac;
use serde_json::{Value, json};

use crate::doorway::{Doorway, REFUSED};
use crate::issuer::{Issuer, Key, part, seconds, signed};
use crate::wait::{until, within};

/// The user information that a token's connection gets.
async fn info(doorway: &Doorway, token: &str, uid: &str) -> Value {
    let options = ConnectOptions::with_token(token.to_owned());
    let client = doorway.client(options, uid).await;
    let info = within(client.request("$SYS.REQ.USER.INFO", "".into()))
        .await
        .unwrap();
    serde_json::from_slice::<Value>(&info.payload).unwrap()["data"].clone()
}

fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn access_token_of_each_algorithm_lets_its_owner_in() {
    let (rsa, curve) = (Key::rsa("rsa-1", 0), Key::p256("curve-1"));
    let issuer = Issuer::with(&[&rsa, &curve]).await;
    // As some issuers do, the key for RS256 and PS256 is the same.
    let mut any = rsa.public();
    any.as_object_mut().unwrap().remove("alg");
    // A number may not begin with a zero byte; some issuers write one.
    let modulus = any["n"].as_str().unwrap();
    let mut modulus = BASE64_URL_SAFE_NO_PAD.decode(modulus).unwrap();
    modulus.insert(0, 0);
    any["n"] = json!(BASE64_URL_SAFE_NO_PAD.encode(modulus));
    issuer.serve_keys(vec![any, curve.public(), json!({ "kty": "odd", "kid": 7 })]);
    let doorway = Doorway::of(&issuer).await;
    let _auth = doorway.serve().await;

    let pss = rsa.by(Algorithm::PS256);
    for key in [&rsa, &curve, &pss] {
        let token = key.sign(&issuer.claims("5c1e-4b", &["user"]));
        assert_eq!(
            doorway.token(&token).await.answer,
            "PONG",
            "{:?}",
            key.algorithm
        );
        assert_eq!(doorway.password("", &token).await.answer, "PONG");
    }

    let token = rsa.sign(&issuer.claims("5c1e-4b", &["admin"]));
    let data = info(&doorway, &token, "o-5c1e-4b").await;
    assert_eq!(data["user"], "o-5c1e-4b~Test%205c1e-4b");
    assert_eq!(data["account"], "PEOPLE");
    let may = data["permissions"]["publish"]["allow"].to_string();
    assert!(
        may.contains("admin.send.*") && !may.contains("auth.session"),
        "{data}"
    );
    let expires = data["expires"].as_u64().unwrap() / 1_000_000_000;
    assert!((800..=900).contains(&expires), "{data}");
}

#[tokio::test]
async fn subject_is_hashed_where_it_is_no_token_of_a_subject() {
    let key = Key::rsa("rsa-1", 0);
    let issuer = Issuer::with(&[&key]).await;
    let doorway = Doorway::of(&issuer).await;
    let _auth = doorway.serve().await;

    for subject in [
        "a.b",
        "*",
        ">",
        "_INBOX.>",
        "alice~x",
        "a b",
        &"x".repeat(200),
    ] {
        let token = key.sign(&issuer.claims(subject, &["user"]));
        let uid = chat::auth::person::uid_of_subject(subject);
        assert_eq!(uid.len(), 46);
        let data = info(&doorway, &token, &uid).await;
        let inboxes = data["permissions"]["subscribe"]["allow"].to_string();
        assert!(inboxes.contains(&format!("\"_INBOX.u.{uid}.>\"")), "{data}");
        assert!(
            data["user"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{uid}~"))
        );
    }
    // Somebody of the issuer who is called as a local user is somebody else.
    let token = key.sign(&issuer.claims("alice", &[]));
    let data = info(&doorway, &token, "o-alice").await;
    assert_eq!(data["user"], "o-alice~Test%20alice");
    assert!(
        !data["permissions"]["subscribe"]["allow"]
            .to_string()
            .contains("_INBOX.u.alice")
    );
}

#[tokio::test]
async fn every_bad_token_is_refused_with_its_reason() {
    let (key, other) = (Key::rsa("rsa-1", 0), Key::rsa("rsa-1", 1));
    let issuer = Issuer::with(&[&key]).await;
    let doorway = Doorway::of(&issuer).await;
    let _auth = doorway.serve().await;
    let good = issuer.claims("bob", &["user"]);
    assert_eq!(doorway.token(&key.sign(&good)).await.answer, "PONG");

    // Claims.
    for (changes, reason) in [
        (
            json!({ "iss": "http://127.0.0.1:1/realms/other" }),
            "no such issuer configured",
        ),
        (json!({ "iss": null }), "no such issuer configured"),
        (
            json!({ "aud": "other", "azp": "other" }),
            "the token is for another client than chat-web",
        ),
        (
            json!({ "typ": "ID", "nonce": "n", "aud": "chat-web" }),
            "this is no access token",
        ),
        (json!({ "typ": "Refresh" }), "this is no access token"),
        (
            json!({ "typ": null, "nonce": "n" }),
            "this is no access token",
        ),
        (json!({ "exp": seconds() - 90 }), "token expired 9"),
        (json!({ "exp": null }), "the token never expires"),
        (json!({ "exp": "tomorrow" }), "exp is no time"),
        (
            json!({ "nbf": seconds() + 3_600 }),
            "token is valid only in 3",
        ),
        (json!({ "sub": "" }), "the token has no sub"),
        (json!({ "sub": null }), "the token has no sub"),
    ] {
        doorway
            .refuses(&key.sign(&with(good.clone(), changes)), reason)
            .await;
    }

    // Algorithms.
    let unsigned = |header: Value| format!("{}.{}.", part(&header), part(&good));
    for alg in ["none", "None", "NONE", "nOnE"] {
        let token = unsigned(json!({ "alg": alg, "typ": "JWT", "kid": "rsa-1" }));
        assert_eq!(doorway.token(&token).await.answer, REFUSED, "{alg}");
        let token = token + &BASE64_URL_SAFE_NO_PAD.encode("x");
        assert_eq!(doorway.token(&token).await.answer, REFUSED, "{alg}");
    }
    let public = key.public();
    let modulus = BASE64_URL_SAFE_NO_PAD
        .decode(public["n"].as_str().unwrap())
        .unwrap();
    for secret in [public.to_string().into_bytes(), modulus, b"rsa-1".to_vec()] {
        let header = Header {
            kid: Some("rsa-1".to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let token = signed(&header, &good, |message| {
            hmac::sign(&secret, message).as_ref().to_vec()
        });
        doorway
            .refuses(&token, "the token is signed by HS256")
            .await;
    }
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS512] {
        let token = key.by(algorithm).sign(&good);
        doorway
            .refuses(&token, &format!("the token is signed by {algorithm:?}"))
            .await;
    }
    // The key is for RS256 alone.
    let pss = key.by(Algorithm::PS256);
    doorway
        .refuses(&pss.sign(&good), "a key that its issuer does not have")
        .await;

    // Signatures: another's key, a changed payload, parts of two tokens.
    doorway
        .refuses(&other.sign(&good), "the token is forged or damaged")
        .await;
    let token = key.sign(&good);
    let parts: Vec<&str> = token.split('.').collect();
    let admin = part(&issuer.claims("bob", &["admin"]));
    for forged in [
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], &parts[2][4..]),
        format!("{}.{}.", parts[0], parts[1]),
    ] {
        doorway
            .refuses(&forged, "the token is forged or damaged")
            .await;
    }
    for broken in [
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.x"),
        format!(".{}.{}", parts[1], parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        "eyJ".to_owned(),
    ] {
        assert_eq!(doorway.token(&broken).await.answer, REFUSED, "{broken}");
    }

    // Where the key comes from.
    for (kid, reason) in [
        (
            json!("../../../etc/passwd"),
            "a key that its issuer does not have",
        ),
        (
            json!("rsa-1/../rsa-1"),
            "a key that its issuer does not have",
        ),
        (
            json!("http://127.0.0.1:1/key"),
            "a key that its issuer does not have",
        ),
        (json!(""), "a key that its issuer does not have"),
        (json!(null), "it has no kid"),
    ] {
        let mut header = key.header();
        header.kid = kid.as_str().map(str::to_owned);
        let token = key.sign_with(&header, &good);
        doorway.refuses(&token, reason).await;
    }
    // A key that the token brings along is not looked at.
    let mut header = other.header();
    header.jku = Some("http://127.0.0.1:1/keys".to_owned());
    header.x5u = Some("http://127.0.0.1:1/chain".to_owned());
    header.jwk = serde_json::from_value(other.public()).ok();
    let token = other.sign_with(&header, &good);
    doorway
        .refuses(&token, "the token is forged or damaged")
        .await;
    let mut header = key.header();
    header.crit = Some(vec!["exp".to_owned()]);
    let token = key.sign_with(&header, &good);
    doorway
        .refuses(&token, "the token is forged or damaged")
        .await;

    // As large as one with many roles, and larger.
    let padded = |n| key.sign(&with(good.clone(), json!({ "padding": "x".repeat(n) })));
    assert_eq!(doorway.token(&padded(8_000)).await.answer, "PONG");
    doorway
        .refuses(&padded(9_500), "bytes, which is more than 12288")
        .await;
    let visitor = doorway.token(&padded(50_000)).await;
    assert_eq!(visitor.answer, "-ERR 'maximum control line exceeded'");

    assert_eq!(doorway.token(&key.sign(&good)).await.answer, "PONG");
}

#[tokio::test]
async fn new_key_of_the_issuer_is_taken_and_an_old_one_refused_when_it_is_gone() {
    let (old, new) = (Key::rsa("old", 0), Key::rsa("new", 1));
    let issuer = Issuer::with(&[&old]).await;
    let doorway = Doorway::of(&issuer).await;
    let _auth = doorway.serve().await;
    let claims = issuer.claims("bob", &["user"]);
    assert_eq!(doorway.token(&old.sign(&claims)).await.answer, "PONG");
    assert_eq!(issuer.asked_for_keys(), 1);

    issuer.rotate(&[&new]);

    // The issuer is asked at most once in 10 s.
    assert_eq!(doorway.token(&new.sign(&claims)).await.answer, REFUSED);
    until("the new key is known", async || {
        let answer = doorway.token(&new.sign(&claims)).await.answer;
        (answer == "PONG").then_some(())
    })
    .await;
    assert_eq!(issuer.asked_for_keys(), 2);
    assert_eq!(doorway.token(&old.sign(&claims)).await.answer, REFUSED);
}

#[tokio::test]
async fn issuer_that_is_away_harms_nobody_whose_key_is_known() {
    let (key, unknown) = (Key::rsa("rsa-1", 0), Key::rsa("rsa-2", 1));
    let issuer = Issuer::with(&[&key]).await;
    let doorway = Doorway::of(&issuer).await;
    let claims = issuer.claims("bob", &["user"]);

    for how in ["failing", "stalled", "another"] {
        match how {
            "failing" => issuer.answer(StatusCode::SERVICE_UNAVAILABLE),
            "stalled" => issuer.stall(true),
            _ => issuer.rename("http://127.0.0.1:1/realms/other"),
        }
        // It has never answered: nobody can say who this is, and nobody says that he is wrong.
        let auth = doorway.serve().await;
        let token = json!({ "auth_token": key.sign(&claims) });
        doorway.leaves_undecided(&token).await;
        assert_eq!(doorway.password("bob", "bob").await.answer, "PONG", "{how}");

        issuer.answer(StatusCode::OK);
        issuer.stall(false);
        issuer.rename(&issuer.url);
        until("the keys are known", async || {
            let answer = doorway.token(&key.sign(&claims)).await.answer;
            (answer == "PONG").then_some(())
        })
        .await;

        match how {
            "failing" => issuer.answer(StatusCode::SERVICE_UNAVAILABLE),
            "stalled" => issuer.stall(true),
            _ => issuer.rename("http://127.0.0.1:1/realms/other"),
        }
        assert_eq!(
            doorway.token(&key.sign(&claims)).await.answer,
            "PONG",
            "{how}"
        );
        let visitor = doorway.token(&unknown.sign(&claims)).await;
        assert_ne!(visitor.answer, "PONG", "{how}");
        issuer.answer(StatusCode::OK);
        issuer.stall(false);
        issuer.rename(&issuer.url);
        auth.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn connection_ends_with_its_access_token() {
    let key = Key::p256("curve-1");
    let issuer = Issuer::with(&[&key]).await;
    let doorway = Doorway::of(&issuer).await;
    let _auth = doorway.serve().await;
    let claims = with(
        issuer.claims("bob", &["user"]),
        json!({ "exp": seconds() + 3 }),
    );
    let token = key.sign(&claims);

    let mut visitor = doorway.token(&token).await;

    assert_eq!(visitor.answer, "PONG");
    visitor
        .ends_with("-ERR 'User Authentication Expired'")
        .await;
    doorway
        .refuses(&token, "s ago, or this machine's clock is off")
        .await;
}

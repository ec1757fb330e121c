//! A flood of bogus tokens is in nobody's way.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::doorway::{Doorway, REFUSED};
use crate::issuer::{Issuer, Key};

const SECONDS: usize = 10;

/// Bogus tokens a second. Each costs nats-server a millisecond of a processor, and a build for tests
/// another: `FLOOD=1000` is for a release build on a machine with nothing else to do.
fn a_second() -> usize {
    std::env::var("FLOOD").map_or(300, |flood| flood.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn good_logins_stay_fast_in_a_flood_of_bogus_tokens() {
    let (key, other) = (Key::rsa("rsa-1", 0), Key::rsa("rsa-1", 1));
    let issuer = Issuer::with(&[&key]).await;
    let doorway = std::sync::Arc::new(Doorway::of(&issuer).await);
    let _auth = doorway.serve().await;
    let claims = issuer.claims("bob", &["user"]);
    let good = key.sign(&claims);
    assert_eq!(doorway.token(&good).await.answer, "PONG");
    let asked = issuer.asked_for_keys();

    // Signed by another key, and with ids of keys that nobody has.
    let forged = other.sign(&claims);
    let bogus = move |n: usize| {
        if n.is_multiple_of(2) {
            return forged.clone();
        }
        let mut key = other.clone();
        key.id = format!("invented-{n}");
        key.sign(&claims)
    };
    // Signing takes longer than a flood has time for.
    let tokens: Vec<String> = (0..64).map(bogus).collect();
    let tokens = std::sync::Arc::new(tokens);
    let in_a_tick = a_second() / 100;
    let start = Instant::now();
    let flood = tokio::spawn({
        let (doorway, tokens) = (doorway.clone(), tokens.clone());
        async move {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            let mut knocking = tokio::task::JoinSet::new();
            for n in 0..100 * SECONDS {
                tick.tick().await;
                for m in 0..in_a_tick {
                    let (doorway, tokens) = (doorway.clone(), tokens.clone());
                    knocking.spawn(async move {
                        let token = &tokens[(n * in_a_tick + m) % tokens.len()];
                        doorway.knock(&json!({ "auth_token": token })).await.answer
                    });
                }
            }
            knocking.join_all().await
        }
    });

    let mut took = Vec::new();
    let mut failed = 0;
    while !flood.is_finished() {
        let began = Instant::now();
        if doorway.token(&good).await.answer != "PONG" {
            failed += 1;
        }
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answers = flood.await.unwrap();
    took.sort();
    let p99 = took[took.len() * 99 / 100];
    let slowest = took[took.len() - 1];
    let asked = issuer.asked_for_keys() - asked;
    println!(
        "{} bogus tokens; {} good logins: p50 {:?}, p99 {p99:?}, slowest {slowest:?}, failed {failed}, keys asked for {asked} times, {:?}",
        answers.len(),
        took.len(),
        took[took.len() / 2],
        start.elapsed()
    );
    assert!(answers.iter().all(|answer| answer == REFUSED));
    assert_eq!(answers.len(), SECONDS * 100 * in_a_tick);
    assert_eq!(failed, 0);
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(asked <= 1, "{asked}");
}

//! Dead letters that cannot be written: good messages go on, and the bad ones wait without a sound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use natsfn::{Batch, Error, Result, Service};
use serde_json::{Value, json};

use crate::captured::Captured;
use crate::log::{consumer, numbers};
use crate::world::{World, conf, function, until};

/// Messages that the function refuses, and how often it was asked.
fn service(calls: &Arc<AtomicU64>) -> Service {
    let calls = calls.clone();
    let store = move |batch: Batch<u64>| {
        calls.fetch_add(1, Ordering::SeqCst);
        let bad = batch.iter().any(|n| **n > 1000);
        async move {
            if bad {
                Err(Error::bad_request("too large a number"))
            } else {
                Result::Ok(())
            }
        }
    };
    Service::new("a", "1.0.0").consumer(consumer(), store)
}

async fn letters(world: &World) -> u64 {
    let info = world.api("STREAM.INFO.DEAD_LETTERS", &Value::Null).await;
    info["state"]["messages"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn bad_messages_wait_unasked_while_dead_letters_cannot_be_written() {
    let bad: u64 = std::env::var("BAD_MESSAGES").map_or(2000, |n| n.parse().unwrap());
    let captured = Captured::begin();
    let world = World::new().await;
    let calls = Arc::default();
    world.set_up(service(&calls)).await;
    world.api("STREAM.DELETE.DEAD_LETTERS", &Value::Null).await;
    // Half of them cannot be decoded, half the function refuses.
    let half = bad / 2;
    world
        .store("log.a", (0..half).map(|n| format!("bad {n}")))
        .await;
    world
        .store("log.a", (0..half).map(|n| (2000 + n).to_string()))
        .await;
    let running = world.serve(service(&calls)).await;
    world.store("log.a", numbers(100)).await;

    until("good ones are done, bad ones wait", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_pending"] == 0 && info["num_ack_pending"] == bad).then_some(())
    })
    .await;
    let data = function(&running, 0)["data"].clone();
    assert_eq!(data["state"], "holding");
    let reason = data["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("dead letters cannot be written: "),
        "{reason}"
    );
    let (before, began) = (
        function(&running, 0)["num_requests"].clone(),
        Instant::now(),
    );
    let called = calls.load(Ordering::SeqCst);
    // Good ones are not kept waiting by those that are not.
    let mut longest = Duration::ZERO;
    for n in 1..=20 {
        let stored = Instant::now();
        world.store("log.a", numbers(1)).await;
        let floor = bad + 100 + n;
        until("the good one is done", async || {
            let info = world.consumer("LOG", "store").await;
            (info["delivered"]["stream_seq"] == floor && info["num_ack_pending"] == bad)
                .then_some(())
        })
        .await;
        longest = longest.max(stored.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let delivered =
        function(&running, 0)["num_requests"].as_u64().unwrap() - before.as_u64().unwrap();
    let lines = captured.lines("").len();
    println!(
        "{bad} bad: {lines} lines, {delivered} deliveries and {} calls in {:?}, a good one waits {longest:?}",
        calls.load(Ordering::SeqCst) - called,
        began.elapsed()
    );
    assert!(lines < 10, "{:#?}", captured.lines(""));
    assert_eq!(calls.load(Ordering::SeqCst) - called, 20, "only good ones");
    assert!(longest < Duration::from_secs(20), "{longest:?}");

    world.set_up(service(&calls)).await;
    let back = Instant::now();
    world.settled("LOG", "store", bad + 120).await;

    println!("all are dead letters after {:?}", back.elapsed());
    assert_eq!(letters(&world).await, bad, "each once");
    assert_eq!(
        calls.load(Ordering::SeqCst) - called,
        20,
        "nobody asked again"
    );
    assert_eq!(function(&running, 0)["data"]["state"], "running");
}

#[tokio::test]
async fn full_stream_of_dead_letters_is_written_to_once_it_has_room() {
    let world = World::new().await;
    let calls = Arc::default();
    world.set_up(service(&calls)).await;
    let mut config = world.api("STREAM.INFO.DEAD_LETTERS", &Value::Null).await["config"].clone();
    config["max_msgs"] = json!(3);
    world.api("STREAM.UPDATE.DEAD_LETTERS", &config).await;
    world
        .store("log.a", (0..10).map(|n| format!("bad {n}")))
        .await;
    let running = world.serve(service(&calls)).await;
    until("it is full", async || {
        let data = function(&running, 0)["data"].clone();
        let info = world.consumer("LOG", "store").await;
        (data["state"] == "holding" && info["num_ack_pending"] == 7).then_some(())
    })
    .await;

    config["max_msgs"] = json!(-1);
    world.api("STREAM.UPDATE.DEAD_LETTERS", &config).await;
    world.settled("LOG", "store", 10).await;

    assert_eq!(letters(&world).await, 10);
}

#[tokio::test]
async fn stream_of_dead_letters_is_asked_for_once_a_second_and_not_for_each_letter() {
    const BAD: u64 = 1000;
    let world = World::new().await;
    let calls = Arc::default();
    world.set_up(service(&calls)).await;
    let mut asked = world
        .nats
        .subscribe("$JS.API.STREAM.INFO.DEAD_LETTERS")
        .await
        .unwrap();
    world
        .store("log.a", (0..BAD).map(|n| format!("bad {n}")))
        .await;
    let began = Instant::now();
    let _running = world.serve(service(&calls)).await;
    world.settled("LOG", "store", BAD).await;
    let seconds = began.elapsed().as_secs() + 1;

    world.settle().await;
    let asked = std::iter::from_fn(|| tokio::task::unconstrained(asked.next()).now_or_never());
    let asked = asked.count() as u64;
    assert_eq!(letters(&world).await, BAD);
    // And once when the function begins.
    assert!(asked <= seconds + 1, "{asked} times in {seconds} s");
}

#[tokio::test]
async fn what_waits_for_its_dead_letter_is_given_back_at_a_stop() {
    let world = World::new().await;
    let calls = Arc::default();
    world.set_up(service(&calls)).await;
    world.api("STREAM.DELETE.DEAD_LETTERS", &Value::Null).await;
    world
        .store("log.a", (0..10).map(|n| format!("bad {n}")))
        .await;
    let running = world.serve(service(&calls)).await;
    until("all wait", async || {
        let holding = function(&running, 0)["data"]["state"] == "holding";
        let info = world.consumer("LOG", "store").await;
        (holding && info["num_ack_pending"] == 10).then_some(())
    })
    .await;

    running.stop(Duration::from_secs(5)).await;
    world.set_up(service(&calls)).await;
    let _again = world.serve(service(&calls)).await;

    let began = Instant::now();
    world.settled("LOG", "store", 10).await;
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "before the ack wait is over"
    );
    assert_eq!(letters(&world).await, 10);
}

#[tokio::test]
async fn dead_letters_that_nothing_answers_keep_good_messages_waiting_once() {
    const BAD: u64 = 50;
    let world = World::with(|config| config.text(conf("dead.>"))).await;
    let calls = Arc::default();
    world.set_up(service(&calls)).await;
    let bad = (0..BAD).map(|n| format!("bad {n}"));
    let good = numbers(BAD);
    let both: Vec<String> = bad.zip(good).flat_map(|(bad, good)| [bad, good]).collect();
    world.store("log.a", both).await;
    let running = world.serve(service(&calls)).await;
    let began = Instant::now();
    until("good ones are done, bad ones wait", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_pending"] == 0 && info["num_ack_pending"] == BAD).then_some(())
    })
    .await;
    let waited = began.elapsed();
    println!("good ones are done after {waited:?}");
    assert!(waited < Duration::from_secs(25), "{waited:?}");
    until("the state says it", async || {
        let data = function(&running, 0)["data"].clone();
        (data["state"] == "holding").then_some(())
    })
    .await;

    world.server.reload(&conf("nothing")).unwrap();
    world.settled("LOG", "store", 2 * BAD).await;

    assert_eq!(letters(&world).await, BAD, "each once");
}

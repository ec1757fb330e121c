//! How long a message that fails waits: read from the naks that the server gets, for nobody waits a
//! quarter of an hour here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use natsfn::{Batch, Consumer, Error, Json, Kind, Outcomes, Retry, Service};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::log::{consumer, deliver_all_in_vain, deliver_in_vain, letters, numbers};
use crate::world::{World, code, next, state, until, within};

const MINUTE: Duration = Duration::from_secs(60);

/// What becomes of message 0; every other one is good.
type Zero = fn() -> Error;

fn cannot() -> Error {
    Error::internal("cannot")
}

/// A function of batches that tells which numbers it was called with.
fn service(consumer: Consumer, zero: Zero, seen: &UnboundedSender<u64>) -> Service {
    let seen = seen.clone();
    let store = move |batch: Batch<u64>| {
        let mut outcomes = Outcomes::new();
        for item in &batch {
            seen.send(**item).unwrap();
            if **item == 0 {
                outcomes.fail(item.message(), zero());
            }
        }
        async { outcomes }
    };
    Service::new("a", "1.0.0").consumer(consumer, store)
}

/// The naks from now on.
pub(crate) async fn naks(world: &World) -> Subscriber {
    let naks = world.nats.subscribe("$JS.ACK.LOG.a-store.>").await.unwrap();
    world.settle().await;
    naks
}

/// The next delay that the server is asked for.
pub(crate) async fn delay(naks: &mut Subscriber) -> Duration {
    loop {
        let settled = within(naks.next()).await.unwrap();
        let text = str::from_utf8(&settled.payload).unwrap();
        if let Some(nak) = text.strip_prefix("-NAK ") {
            let nak: Value = serde_json::from_str(nak).unwrap();
            return Duration::from_nanos(nak["delay"].as_u64().unwrap());
        }
    }
}

pub(crate) fn is_about(delay: Duration, wait: Duration) {
    let range = wait.mul_f64(0.75)..=wait.mul_f64(1.25);
    assert!(range.contains(&delay), "{delay:?}, not {wait:?}");
}

/// Whether a delay is the one that a function asks for: up to a quarter longer.
fn is_asked(delay: Duration, wait: Duration) {
    let range = wait..=wait.mul_f64(1.25);
    assert!(range.contains(&delay), "{delay:?}, not {wait:?}");
}

/// Waits until the function is called with this.
pub(crate) async fn called_with(n: u64, seen: &mut UnboundedReceiver<u64>) {
    while next(seen).await != n {}
}

/// Stores good messages from the one after `good` on, until the bad one is a dead letter: each of its attempts counts
/// because another message has succeeded since the one before.
async fn dead_after(mut good: u64, world: &World, seen: &mut UnboundedReceiver<u64>) {
    until("it is a dead letter", async || {
        good += 1;
        world.store("log.a", [good.to_string()]).await;
        called_with(good, seen).await;
        (!letters(world).await.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn waits_double_up_to_the_longest_and_the_last_attempt_makes_a_dead_letter() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let wait = Duration::from_millis(10);
    let retry = Retry::exponential(wait..=5 * wait).attempts(6);
    let service = || service(consumer().retry(retry), cannot, &seen);
    world.set_up(service()).await;
    let mut naks = naks(&world).await;
    let _running = world.serve(service()).await;
    world.store("log.a", ["0", "1"].map(str::to_owned)).await;
    called_with(1, &mut sightings).await;

    dead_after(1, &world, &mut sightings).await;

    for factor in [1, 2, 4, 5, 5] {
        let mut waited = delay(&mut naks).await;
        // Where the machine is slow, it may have been given back untried, for half a second or more.
        while waited > 10 * wait {
            waited = delay(&mut naks).await;
        }
        is_about(waited, factor * wait);
    }
    let letters = letters(&world).await;
    assert_eq!((letters.len(), letters[0].kind.as_str()), (1, "Internal"));
    assert_eq!(letters[0].sequence, 1);
}

#[tokio::test]
async fn retry_goes_on_in_another_process_and_its_wait_on_another_start_of_the_server() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let retry = Retry::exponential(Duration::from_secs(1)..=15 * MINUTE).within(24 * 60 * MINUTE);
    let service = || service(consumer().retry(retry), cannot, &seen);
    world.set_up(service()).await;
    // A good one too: where nothing else succeeds, the cause may be an outage that ends soon.
    world.store("log.a", ["0", "1"].map(str::to_owned)).await;
    // Eight deliveries of each to processes that are gone.
    deliver_all_in_vain(&world, 2, 8).await;
    let mut naks = naks(&world).await;

    let running = world.serve(service()).await;
    is_about(delay(&mut naks).await, Duration::from_secs(256));
    called_with(1, &mut sightings).await;
    let stopped = running.stop(Duration::from_secs(5)).await;
    let _running = world.serve(service()).await;
    world.server.restart().await;

    let stored = async || {
        let client = natsfn::Client::new(world.nats.clone());
        let headers = natsfn::HeaderMap::new();
        let appended = client.append("log.a", Some("2"), headers, "2".into());
        appended.await.ok()
    };
    until("the server is back", stored).await;
    // A message that came later is handled, and the waiting one is left to wait.
    assert_eq!(next(&mut sightings).await, 2, "{stopped:?}");
    until("only one waits", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_ack_pending"] == 1 && info["ack_floor"]["stream_seq"] == 0).then_some(())
    })
    .await;
    assert!(letters(&world).await.is_empty());
}

#[tokio::test]
async fn thousand_messages_that_wait_a_quarter_of_an_hour_stop_no_other() {
    const N: u64 = 1000;
    for single in [false, true] {
        let world = World::new().await;
        let (seen, mut sightings) = mpsc::unbounded_channel();
        let retry = Retry::fixed(15 * MINUTE);
        let service = || {
            if !single {
                return service(consumer().retry(retry), cannot, &seen);
            }
            let seen = seen.clone();
            let store = move |Json(n): Json<u64>| {
                seen.send(n).unwrap();
                async move { if n == 0 { Err(cannot()) } else { Ok(()) } }
            };
            Service::new("a", "1.0.0").consumer(consumer().retry(retry), store)
        };
        world.set_up(service()).await;
        let running = world.serve(service()).await;
        // A good one after each that fails.
        for _ in 0..N / 100 {
            let payloads = (1..=200).map(|n| (n % 2 * n).to_string());
            world.store("log.a", payloads).await;
        }
        until("all wait", async || {
            let info = world.consumer("LOG", "store").await;
            (info["num_ack_pending"] == N && info["num_pending"] == 0).then_some(())
        })
        .await;

        world.store("log.a", ["1000".to_owned()]).await;
        called_with(1000, &mut sightings).await;

        assert!(letters(&world).await.is_empty());
        until("it is at work", async || {
            (state(&running, 0) == "running").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn consumer_whose_limit_of_waiting_messages_is_reached_says_so_and_goes_on_with_a_larger_one()
{
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || service(consumer().retry(Retry::fixed(15 * MINUTE)), cannot, &seen);
    world.set_up(service()).await;
    let limit = async |most: u64| {
        let mut config = world.consumer("LOG", "store").await["config"].clone();
        config["max_ack_pending"] = most.into();
        let body = json!({ "stream_name": "LOG", "config": config, "action": "update" });
        let changed = world.api("CONSUMER.CREATE.LOG.a-store", &body).await;
        assert!(changed["error"].is_null(), "{changed}");
    };
    limit(10).await;
    let _running = world.serve(service()).await;
    let zeros = (0..10).map(|_| "0".to_owned());
    world
        .store("log.a", ["1".to_owned()].into_iter().chain(zeros))
        .await;
    until("all wait", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_ack_pending"] == 10).then_some(())
    })
    .await;

    world.store("log.a", ["2".to_owned()]).await;
    let warning = until("it warns", async || {
        let stats = world.ask_json("$SRV.STATS.a", "").await;
        let warning = &stats["endpoints"][0]["data"]["warning"];
        warning.as_str().map(str::to_owned)
    })
    .await;
    assert!(warning.contains("max_ack_pending"), "{warning}");

    limit(20).await;
    called_with(2, &mut sightings).await;
}

#[tokio::test]
async fn message_comes_again_when_the_function_says_and_holds_no_other() {
    for error in [
        || Error::unavailable("no answer").retry_in(10 * MINUTE),
        || cannot().retry_in(10 * MINUTE),
        || Error::new(Kind::NotFound, "not there yet").retry_in(10 * MINUTE),
        || {
            Error::new(Kind::TooManyRequests, "slow down")
                .with_details(json!({ "retry_after_ms": 600_000 }))
        },
    ] as [Zero; 4]
    {
        let world = World::new().await;
        let (seen, mut sightings) = mpsc::unbounded_channel();
        let service = || service(consumer(), error, &seen);
        world.set_up(service()).await;
        let mut naks = naks(&world).await;
        let running = world.serve(service()).await;

        world.store("log.a", ["0".to_owned()]).await;
        is_asked(delay(&mut naks).await, 10 * MINUTE);
        world.store("log.a", numbers(1)).await;
        called_with(1, &mut sightings).await;

        assert_eq!(state(&running, 0), "running");
        assert!(letters(&world).await.is_empty());
    }
}

#[tokio::test]
async fn message_that_comes_again_at_once_is_not_tried_all_the_time() {
    for error in [
        || cannot().retry_in(Duration::ZERO),
        || {
            Error::new(Kind::TooManyRequests, "slow down")
                .with_details(json!({ "retry_after_ms": 0 }))
        },
    ] as [Zero; 2]
    {
        let world = World::new().await;
        let (seen, _sightings) = mpsc::unbounded_channel();
        let service = || service(consumer(), error, &seen);
        world.set_up(service()).await;
        let mut naks = naks(&world).await;
        let _running = world.serve(service()).await;

        world.store("log.a", ["0".to_owned()]).await;

        for _ in 0..2 {
            is_asked(delay(&mut naks).await, Duration::from_secs(1));
        }
    }
}

#[tokio::test]
async fn good_message_that_was_delivered_often_elsewhere_has_all_its_attempts_here() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let wait = Duration::from_millis(10);
    let retry = Retry::fixed(wait).attempts(3);
    let service = || service(consumer().retry(retry), cannot, &seen);
    world.set_up(service()).await;
    world.store("log.a", ["0".to_owned()]).await;
    // An outage in an earlier process.
    deliver_in_vain(&world, 8).await;
    let _running = world.serve(service()).await;
    called_with(0, &mut sightings).await;

    dead_after(0, &world, &mut sightings).await;

    assert_eq!(letters(&world).await[0].attempts, 3);
}

#[tokio::test]
async fn short_wait_beside_a_long_one_is_short_and_what_was_not_there_is_handled_then() {
    let world = World::new().await;
    let is_there = Arc::new(AtomicBool::new(false));
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let (seen, is_there) = (seen.clone(), is_there.clone());
        let store = move |Json(n): Json<u64>| {
            let was_there = is_there.swap(n == 1, Ordering::SeqCst);
            seen.send(n).unwrap();
            async move {
                match n {
                    0 => Err(cannot().retry_in(10 * MINUTE)),
                    1 if !was_there => {
                        let error = Error::new(Kind::NotFound, "not there yet");
                        Err(error.retry_in(Duration::from_millis(20)))
                    }
                    _ => Ok(()),
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let mut naks = naks(&world).await;
    let _running = world.serve(service()).await;
    world.store("log.a", ["0".to_owned()]).await;
    is_asked(delay(&mut naks).await, 10 * MINUTE);

    world.store("log.a", ["1".to_owned()]).await;

    for n in [0, 1, 1] {
        assert_eq!(next(&mut sightings).await, n);
    }
    until("one is left", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_ack_pending"] == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn caller_finds_the_time_in_the_details_where_the_kind_shows_them() {
    let world = World::new().await;
    let busy = |Json(n): Json<u64>| async move {
        let kind = if n == 0 {
            Kind::Internal
        } else {
            Kind::TooManyRequests
        };
        Err::<(), _>(Error::new(kind, "slow down").retry_in(Duration::from_millis(1500)))
    };
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("busy", busy))
        .await;

    let shown = world.ask("busy", "1").await;
    let hidden = world.ask("busy", "0").await;

    assert_eq!((code(&shown), code(&hidden)), (Some(429), Some(500)));
    let shown: Value = serde_json::from_slice(&shown.payload).unwrap();
    assert_eq!(shown["details"], json!({ "retry_after_ms": 1500 }));
    let hidden: Value = serde_json::from_slice(&hidden.payload).unwrap();
    assert!(hidden["details"].is_null(), "{hidden}");
}

#[tokio::test]
async fn retry_that_makes_no_sense_is_a_mistake_at_the_start() {
    let second = Duration::from_secs(1);
    for retry in [
        Retry::fixed(Duration::ZERO),
        Retry::exponential(2 * second..=second),
        Retry::fixed(second).within(Duration::ZERO),
        Retry::exponential(second..=Duration::MAX),
        Retry::fixed(second).within(Duration::MAX),
    ] {
        let (seen, _sightings) = mpsc::unbounded_channel();
        let built = service(consumer().retry(retry), cannot, &seen).build();
        let error = built.err().unwrap().to_string();
        assert!(error.contains("Retry"), "{error}");
    }
}

//! Whose fault a failure is: nothing is given up while nothing succeeds, and a bad message among good
//! ones is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use natsfn::{Batch, Consumer, Json, Result, Running, Service};
use serde_json::{Value, json};

use crate::log::{attempts, consumer, letters, numbers};
use crate::world::{World, function, state, until, within};

/// Something that the function needs, and that fails as anything does: by a plain `?`.
#[derive(Clone, Default)]
struct Webhook {
    away: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Webhook {
    fn away() -> Self {
        let webhook = Self::default();
        webhook.away.store(true, Ordering::SeqCst);
        webhook
    }

    fn post(&self) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            Err(std::io::Error::other("connection refused"))?;
        }
        Ok(())
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn comes_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }

    /// A function of batches that needs it.
    fn batches(&self, consumer: Consumer) -> Service {
        let webhook = self.clone();
        let store = move |_: Batch<u64>| {
            let posted = webhook.post();
            async move { posted }
        };
        Service::new("a", "1.0.0").consumer(consumer, store)
    }

    /// A function of single messages that needs it.
    fn singles(&self, consumer: Consumer) -> Service {
        let webhook = self.clone();
        let store = move |_: Json<u64>| {
            let posted = webhook.post();
            async move { posted }
        };
        Service::new("a", "1.0.0").consumer(consumer, store)
    }
}

fn holds(running: &Running) -> bool {
    let data = function(running, 0)["data"].clone();
    data["state"] == "holding"
        && data["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("connection refused"))
}

/// Serves while the webhook is away, which comes back after a while; everything must be handled
/// soon after.
async fn buries_nothing(service: impl Fn(&Webhook) -> Service) {
    const N: u64 = 200;
    let world = World::new().await;
    let webhook = Webhook::away();
    world.set_up(service(&webhook)).await;
    world.store("log.a", numbers(N)).await;
    let running = world.serve(service(&webhook)).await;
    until("it holds", async || holds(&running).then_some(())).await;
    let calls = webhook.calls();
    until("others were tried", async || {
        (webhook.calls() > calls + 8).then_some(())
    })
    .await;
    // Messages that come meanwhile wait as well.
    world.store("log.a", numbers(10)).await;

    webhook.comes_back();
    let back = Instant::now();
    world.settled("LOG", "store", N + 10).await;

    assert!(letters(&world).await.is_empty());
    assert_eq!(state(&running, 0), "running");
    assert!(back.elapsed() < Duration::from_secs(10), "{back:?}");
}

#[tokio::test]
async fn batches_are_not_given_up_while_nothing_succeeds() {
    buries_nothing(|webhook| webhook.batches(consumer().retry(attempts(1)))).await;
}

#[tokio::test]
async fn single_messages_are_not_given_up_while_nothing_succeeds() {
    buries_nothing(|webhook| webhook.singles(consumer().retry(attempts(1)))).await;
}

#[tokio::test]
async fn few_calls_and_redeliveries_are_made_while_nothing_succeeds() {
    const N: u64 = 5000;
    for single in [false, true] {
        let world = World::new().await;
        let webhook = Webhook::away();
        let service = || {
            if single {
                webhook.singles(consumer())
            } else {
                webhook.batches(consumer())
            }
        };
        world.set_up(service()).await;
        world.store("log.a", numbers(N)).await;
        let running = world.serve(service()).await;
        until("it holds", async || holds(&running).then_some(())).await;
        let deliveries = || function(&running, 0)["num_requests"].as_u64().unwrap();
        let (calls, delivered, began) = (webhook.calls(), deliveries(), Instant::now());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let seconds = began.elapsed().as_secs_f64();
        let calls = (webhook.calls() - calls) as f64 / seconds;
        let delivered = (deliveries() - delivered) as f64 / seconds;
        println!("single {single}: {calls:.1} calls/s, {delivered:.1} deliveries/s");
        assert!((1.0..30.0).contains(&calls), "{calls} calls a second");
        assert!(delivered < 1000.0, "{delivered} deliveries a second");

        webhook.comes_back();
        world.settled("LOG", "store", N).await;
        assert!(letters(&world).await.is_empty());
    }
}

#[tokio::test]
async fn instance_that_is_deployed_wrong_gives_nothing_up_beside_a_good_one() {
    const N: u64 = 100;
    let world = World::new().await;
    let (wrong, good) = (Webhook::away(), Webhook::default());
    let consumer = || consumer().retry(attempts(1)).max_batch(5);
    world.set_up(good.batches(consumer())).await;
    let _wrong = world.serve(wrong.batches(consumer())).await;
    let _good = world.serve(good.batches(consumer())).await;
    world.store("log.a", numbers(N)).await;

    world.settled("LOG", "store", N).await;

    assert!(letters(&world).await.is_empty());
}

#[tokio::test]
async fn instance_at_which_nothing_succeeds_asks_for_a_moment_only_and_then_pauses() {
    let world = World::new().await;
    let wrong = Webhook::away();
    world.set_up(wrong.batches(consumer())).await;
    let running = world.serve(wrong.batches(consumer())).await;
    world.store("log.a", numbers(1)).await;
    until("it holds", async || {
        (state(&running, 0) == "holding").then_some(())
    })
    .await;
    world.api("STREAM.PURGE.LOG", &Value::Null).await;
    let pulls = "$JS.API.CONSUMER.MSG.NEXT.LOG.>";
    let mut pulls = world.nats.subscribe(pulls).await.unwrap();
    // One of before may be on its way.
    within(pulls.next()).await.unwrap();

    let mut asked = Vec::new();
    for _ in 0..3 {
        let pull = within(pulls.next()).await.unwrap();
        let pull: Value = serde_json::from_slice(&pull.payload).unwrap();
        assert_eq!(pull["expires"], json!(100_000_000), "{pull}");
        asked.push(Instant::now());
    }
    let pause = asked[2] - asked[0];
    assert!(pause > Duration::from_millis(1500), "{pause:?}");
}

/// A service that fails at some numbers.
fn bad_ones(
    consumer: Consumer,
    bad: impl Fn(u64) -> bool + Clone + Send + Sync + 'static,
) -> Service {
    let store = move |batch: Batch<u64>| {
        let bad = batch.iter().any(|n| bad(**n));
        async move {
            if bad {
                Err(std::io::Error::other("cannot"))?;
            }
            Ok::<(), natsfn::Error>(())
        }
    };
    Service::new("a", "1.0.0").consumer(consumer, store)
}

#[tokio::test]
async fn run_of_bad_messages_is_given_up_once_good_ones_succeed() {
    let world = World::new().await;
    let service = || bad_ones(consumer().retry(attempts(2)).max_batch(20), |n| n <= 60);
    world.set_up(service()).await;
    world.store("log.a", numbers(60)).await;
    let running = world.serve(service()).await;
    until("it holds", async || {
        (state(&running, 0) == "holding").then_some(())
    })
    .await;

    let mut n = 60;
    until("the bad ones are dead letters", async || {
        n += 1;
        world.store("log.a", [n.to_string()]).await;
        (letters(&world).await.len() == 60).then_some(())
    })
    .await;

    world.settled("LOG", "store", n).await;
    let letters = letters(&world).await;
    assert!(letters.iter().all(|letter| letter.sequence <= 60));
    assert!(letters.iter().all(|letter| letter.attempts == 2));
    assert_eq!(state(&running, 0), "running");
}

#[tokio::test]
async fn bad_message_that_is_alone_is_given_up_after_its_time() {
    let time = Duration::from_millis(1500);
    let world = World::new().await;
    let service = || bad_ones(consumer().retry(attempts(1).within(time)), |_| true);
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    let began = Instant::now();
    let running = world.serve(service()).await;

    world.settled("LOG", "store", 1).await;

    assert!(began.elapsed() >= time);
    let letters = letters(&world).await;
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].reason.starts_with("cannot (given up after"),
        "{}",
        letters[0].reason
    );
    until("it is at work", async || {
        (state(&running, 0) == "running").then_some(())
    })
    .await;
}

#[tokio::test]
async fn good_messages_behind_a_bad_first_one_are_handled_at_once() {
    const N: u64 = 2000;
    for single in [false, true] {
        for panics in [false, true] {
            let world = World::new().await;
            let handled = Arc::new(AtomicU64::new(0));
            let service = || {
                let handled = handled.clone();
                let handle = move |n: usize, bad: bool| {
                    if bad && panics {
                        panic!("a bad one");
                    }
                    let result = if bad {
                        Err(std::io::Error::other("cannot").into())
                    } else {
                        handled.fetch_add(n as u64, Ordering::SeqCst);
                        Ok::<(), natsfn::Error>(())
                    };
                    async { result }
                };
                let service = Service::new("a", "1.0.0");
                if single {
                    service.consumer(consumer(), move |Json(n): Json<u64>| handle(1, n == 1))
                } else {
                    service.consumer(consumer(), move |batch: Batch<u64>| {
                        handle(batch.len(), batch.iter().any(|n| **n == 1))
                    })
                }
            };
            world.set_up(service()).await;
            world.store("log.a", numbers(N)).await;
            let began = Instant::now();
            let _running = world.serve(service()).await;
            until("the good ones are handled", async || {
                (handled.load(Ordering::SeqCst) == N - 1).then_some(())
            })
            .await;
            println!("single {single}, panics {panics}: {:?}", began.elapsed());
            assert!(began.elapsed() < Duration::from_secs(25), "{began:?}");
            assert!(letters(&world).await.is_empty());
        }
    }
}

//! Messages that have been delivered often without an end: they may be what ends the process. They
//! run apart, and what they share a fate with gets through.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use natsfn::{Batch, Json, Service};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use crate::log::{consumer, deliver_all_in_vain, deliver_in_vain, letters, numbers};
use crate::world::{World, function, next, state, until};

/// How often a message has come before one of these tests begins: as after an hour of crashes, or
/// of a cause that lasted until the process was started again.
const OFTEN: u64 = 101;

#[tokio::test]
async fn backlog_that_was_delivered_often_is_at_full_speed_after_a_few_calls() {
    const N: usize = 500;
    for single in [false, true] {
        let world = World::new().await;
        let calls = Arc::new(AtomicU64::new(0));
        let (at_once, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let service = || {
            let (calls, at_once, most) = (calls.clone(), at_once.clone(), most.clone());
            let work = move || {
                calls.fetch_add(1, Relaxed);
                let (at_once, most) = (at_once.clone(), most.clone());
                async move {
                    most.fetch_max(at_once.fetch_add(1, Relaxed) + 1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    at_once.fetch_sub(1, Relaxed);
                }
            };
            let service = Service::new("a", "1.0.0");
            if single {
                service.consumer(consumer(), move |_: Json<u64>| work())
            } else {
                service.consumer(consumer(), move |_: Batch<u64>| work())
            }
        };
        world.set_up(service()).await;
        world.store("log.a", numbers(N as u64)).await;
        deliver_all_in_vain(&world, N, OFTEN).await;
        let began = Instant::now();

        let _running = world.serve(service()).await;
        world.settled("LOG", "store", N as u64).await;

        let (calls, most, took) = (calls.load(Relaxed), most.load(Relaxed), began.elapsed());
        println!("single {single}: {calls} calls, {most} at once, in {took:?}");
        if single {
            assert!(most > 8, "{most} at once");
        } else {
            assert!(calls < 50, "{calls} calls");
        }
    }
}

#[tokio::test]
async fn messages_that_were_slow_are_held_in_bounded_numbers() {
    const N: u64 = 1500;
    let world = World::new().await;
    let service = || {
        let store = |Json(number): Json<u64>| async move {
            if number % 2 == 0 {
                std::future::pending::<()>().await;
            }
        };
        let consumer = consumer().deadline(Duration::from_millis(100));
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    // What is delivered and not given back is held by the process.
    let mut acks = world.nats.subscribe("$JS.ACK.LOG.>").await.unwrap();
    world.set_up(service()).await;
    // Every second one is slow: where nothing succeeded few would be tried.
    world.store("log.a", numbers(2 * N)).await;
    let running = world.serve(service()).await;
    let mut most = 0;
    let mut settled = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        let taken = function(&running, 0)["num_requests"].as_u64().unwrap();
        // Its answer comes behind what it has given back until then, on the same connections.
        world.ask("$SRV.PING.a", "").await;
        while let Some(Some(ack)) = tokio::task::unconstrained(acks.next()).now_or_never() {
            settled += u64::from(!ack.payload.starts_with(b"+WPI"));
        }
        most = most.max(taken.saturating_sub(settled));
    }
    println!("at most {most} of {N} were held");
    assert!(most < 6 * 128, "{most}");
}

#[tokio::test]
async fn message_that_runs_alone_is_remembered_until_it_has_ended_though_dead_letters_wait() {
    let world = World::new().await;
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let end = Arc::new(Notify::new());
    let service = || {
        let (began, end) = (began.clone(), end.clone());
        let store = move |Json(_): Json<u64>| {
            let (began, end) = (began.clone(), end.clone());
            async move {
                began.send(()).unwrap();
                end.notified().await;
            }
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    let remembered = async || {
        let metadata = world.consumer("LOG", "store").await["config"]["metadata"].clone();
        metadata["natsfn.crashes"].as_str().unwrap().to_owned()
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(1)).await;
    deliver_in_vain(&world, OFTEN).await;
    world.api("STREAM.DELETE.DEAD_LETTERS", &Value::Null).await;
    let running = world.serve(service()).await;
    next(&mut beginnings).await;
    world.store("log.a", ["bad".to_owned()]).await;
    until("the letter waits", async || {
        (state(&running, 0) == "holding").then_some(())
    })
    .await;

    // Time to look several times whether it has ended; it is right however often that was.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        remembered().await.contains("\"1-"),
        "{}",
        remembered().await
    );

    end.notify_one();
    until("its end is noted", async || {
        (remembered().await == "{}").then_some(())
    })
    .await;
}

/// An instance that ends as a killed process does: nothing is given back, no word is said.
struct Instance(Option<tokio::runtime::Runtime>);

impl Instance {
    fn start(url: &str, service: Service) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = url.to_owned();
        runtime.spawn(async move {
            let nats = async_nats::connect(url).await.unwrap();
            let running = natsfn::start(service.build().unwrap(), nats, None).await;
            let _running = running.unwrap();
            std::future::pending::<()>().await;
        });
        Self(Some(runtime))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves 200 messages, of which the bad ones end the process, and starts it again and again until
/// the good ones are handled and the bad ones are dead letters. Returns how often.
async fn survives(world: &World, single: bool, bad: &'static [u64]) -> u32 {
    const N: u64 = 200;
    let handled = Arc::new(Mutex::new(BTreeSet::new()));
    let (crash, mut crashes) = mpsc::unbounded_channel();
    let service = || {
        let (crash, handled) = (crash.clone(), handled.clone());
        let handle = move |all: Vec<u64>| {
            let (crash, handled) = (crash.clone(), handled.clone());
            async move {
                if all.iter().any(|number| bad.contains(number)) {
                    // The test may be over.
                    let _ = crash.send(());
                    std::future::pending::<()>().await;
                }
                handled.lock().unwrap().extend(all);
            }
        };
        let consumer = consumer().ack_wait(Duration::from_millis(200));
        let service = Service::new("a", "1.0.0");
        if single {
            service.consumer(consumer, move |Json(number): Json<u64>| {
                handle(vec![number])
            })
        } else {
            service.consumer(consumer, move |batch: Batch<u64>| {
                handle(batch.iter().map(|number| **number).collect())
            })
        }
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(N)).await;
    deliver_all_in_vain(world, 200, 8).await;
    let mut more = N;
    for restarts in 0..100 {
        let instance = Instance::start(world.server.url(), service());
        let done = until(
            "the good ones are handled, and the bad ones are dead letters",
            async || {
                // New ones come all the time.
                more += 1;
                world.store("log.a", [more.to_string()]).await;
                let handled = handled.lock().unwrap().range(..=N).count();
                (handled + letters(world).await.len() == N as usize).then_some(())
            },
        );
        tokio::select! {
            Some(()) = crashes.recv() => drop(instance),
            () = done => return restarts,
        }
    }
    let handled = handled.lock().unwrap().len();
    panic!(
        "{handled} good ones were handled, {} dead letters",
        letters(world).await.len()
    );
}

#[tokio::test]
async fn message_that_ends_the_process_is_a_dead_letter_in_the_end_and_good_ones_get_through() {
    for single in [false, true] {
        let world = World::new().await;
        let began = Instant::now();
        let restarts = survives(&world, single, &[1, 150]).await;
        println!(
            "single {single}: {restarts} restarts, {:?}",
            began.elapsed()
        );
        let letters = letters(&world).await;
        let sequences: Vec<u64> = letters.iter().map(|letter| letter.sequence).collect();
        assert_eq!(
            sequences.iter().copied().collect::<BTreeSet<_>>(),
            BTreeSet::from([1, 150])
        );
        for letter in letters {
            assert_eq!(letter.attempts, 5);
            assert!(
                letter.reason.contains("in the function alone"),
                "{}",
                letter.reason
            );
        }
    }
}

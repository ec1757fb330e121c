//! A durable consumer that somebody changes by hand while it feeds a function.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use natsfn::{Batch, Error, Service};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::log::{Calls, consumer, letters, numbers};
use crate::world::{World, conf, next, state, until, within};

/// Changes one setting, as `nats consumer edit` does.
async fn edit(world: &World, key: &str, value: Value) {
    let mut config = world.consumer("LOG", "store").await["config"].clone();
    config[key] = value;
    let filter = config["filter_subject"].as_str().unwrap_or_default();
    let call = format!("CONSUMER.CREATE.LOG.a-store.{filter}");
    let call = call.trim_end_matches('.');
    let body = json!({ "stream_name": "LOG", "config": config, "action": "update" });
    let edited = world.api(call, &body).await;
    assert_eq!(edited["config"][key], config[key], "{edited}");
}

#[tokio::test]
async fn message_that_fails_comes_again_however_often_the_consumer_may_deliver() {
    let world = World::new().await;
    let calls = Calls::default();
    let service = || {
        let calls = calls.clone();
        let store = move |batch: Batch<u64>| {
            calls.count(&batch);
            let fails = batch.iter().any(|n| calls.of(**n).0 == 1);
            async move {
                if fails {
                    Err(Error::internal("the first time"))
                } else {
                    Ok(())
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer().max_batch(1), store)
    };
    world.set_up(service()).await;
    // Before it is found, and while it is at work.
    edit(&world, "max_deliver", json!(1)).await;
    world.store("log.a", numbers(1)).await;
    let _running = world.serve(service()).await;
    world.settled("LOG", "store", 1).await;
    edit(&world, "max_deliver", json!(1)).await;
    world.store("log.a", ["2".to_owned()]).await;
    world.settled("LOG", "store", 2).await;

    assert_eq!([calls.of(1).0, calls.of(2).0], [2, 2]);
    let config = &world.consumer("LOG", "store").await["config"];
    assert_eq!(config["max_deliver"], -1, "{config}");
}

#[tokio::test]
async fn message_that_came_without_its_payload_comes_again_with_it() {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer().max_batch(1), store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    world.store("log.a", numbers(1)).await;
    world.settled("LOG", "store", 1).await;
    edit(&world, "headers_only", json!(true)).await;
    world.store("log.a", numbers(20)).await;
    world.settled("LOG", "store", 21).await;

    assert_eq!(letters(&world).await.len(), 0);
}

#[tokio::test]
async fn consumer_that_could_not_be_changed_back_at_once_is_used_as_soon_as_it_is() {
    let world = World::with(|config| config.text(conf("nothing"))).await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let running = world.serve(service()).await;
    world.store("log.a", numbers(1)).await;
    world.settled("LOG", "store", 1).await;
    edit(&world, "headers_only", json!(true)).await;
    let denied = conf("$JS.API.CONSUMER.CREATE.LOG.>");
    world.server.reload(&denied).unwrap();
    until("it is denied", async || {
        let request = async_nats::Request::new().timeout(Some(Duration::from_millis(500)));
        let call = "$JS.API.CONSUMER.CREATE.LOG.other";
        world.nats.send_request(call, request).await.err()
    })
    .await;
    world.store("log.a", ["2".to_owned()]).await;
    until("it holds", async || {
        (state(&running, 0) == "holding").then_some(())
    })
    .await;

    world.server.reload(&conf("nothing")).unwrap();

    world.settled("LOG", "store", 2).await;
    until("it runs", async || {
        (state(&running, 0) == "running").then_some(())
    })
    .await;
}

#[tokio::test]
async fn stream_that_is_changed_so_that_it_loses_messages_is_warned_of() {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    let log = world.api("STREAM.INFO.LOG", &Value::Null).await["config"].clone();
    let warning = async || world.ask_json("fn.a.store", "").await["warning"].clone();
    assert_eq!(warning().await, Value::Null);

    let mut loses = log.clone();
    (loses["max_msgs"], loses["discard"]) = (json!(5), json!("old"));
    world.api("STREAM.UPDATE.LOG", &loses).await;
    let told = until("it is told", async || {
        warning().await.as_str().map(str::to_owned)
    })
    .await;
    assert!(told.contains("LOG"), "{told}");
    world.store("log.a", numbers(1)).await;
    world.settled("LOG", "store", 1).await;

    world.api("STREAM.UPDATE.LOG", &log).await;
    until("it is well again", async || {
        warning().await.is_null().then_some(())
    })
    .await;
}

#[tokio::test]
async fn dead_letters_that_would_be_discarded_wait_until_setup_has_changed_their_stream_back() {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let info = async || world.api("STREAM.INFO.DEAD_LETTERS", &Value::Null).await;
    let _running = world.serve(service()).await;
    let data = async || world.ask_json("fn.a.store", "").await;
    until("it runs", async || {
        (data().await["state"] == "running").then_some(())
    })
    .await;

    let mut config = info().await["config"].clone();
    (config["max_msgs"], config["discard"]) = (json!(1), json!("old"));
    world.api("STREAM.UPDATE.DEAD_LETTERS", &config).await;
    let data = until("it is told before there is a letter", async || {
        let data = data().await;
        (data["state"] == "holding").then_some(data)
    })
    .await;
    for told in [&data["reason"], &data["warning"]] {
        let told = told.as_str().unwrap();
        let names = ["DEAD_LETTERS", "discard `old`", "`setup`"];
        assert!(names.iter().all(|name| told.contains(name)), "{told}");
    }
    world
        .store("log.a", ["bad 1", "bad 2", "bad 3", "4"].map(str::to_owned))
        .await;
    until("the good one is done, the bad ones wait", async || {
        let info = world.consumer("LOG", "store").await;
        (info["num_pending"] == 0 && info["num_ack_pending"] == 3).then_some(())
    })
    .await;
    assert_eq!(info().await["state"]["messages"], 0);

    world.set_up(service()).await;
    world.settled("LOG", "store", 4).await;

    let info = info().await;
    assert_eq!(info["config"]["discard"], "new");
    assert_eq!(info["config"]["max_msgs"], -1);
    assert_eq!(info["state"]["messages"], 3);
}

#[tokio::test]
async fn consumer_whose_filter_is_changed_is_warned_of() {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    let data = async || world.ask_json("fn.a.store", "").await;
    assert_eq!(data().await["warning"], Value::Null);

    edit(&world, "filter_subject", json!("log.other")).await;

    let warning = until("it is told", async || {
        data().await["warning"].as_str().map(str::to_owned)
    })
    .await;
    assert!(
        warning.contains("log.other") && warning.contains("a setup"),
        "{warning}"
    );
}

#[tokio::test]
async fn function_whose_consumer_is_paused_says_so_until_it_goes_on() {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    let pause = async |until: &str| {
        let call = "CONSUMER.PAUSE.LOG.a-store";
        let paused = world.api(call, &json!({ "pause_until": until })).await;
        assert!(paused.get("error").is_none(), "{paused}");
    };
    let data = async || world.ask_json("fn.a.store", "").await;

    pause("2100-01-01T00:00:00Z").await;
    let held = until("it holds", async || {
        let data = data().await;
        (data["state"] == "holding").then_some(data)
    })
    .await;
    let reason = held["reason"].as_str().unwrap();
    assert!(
        reason.contains("nats consumer resume LOG a-store"),
        "{reason}"
    );

    pause("0001-01-01T00:00:00Z").await;
    until("it runs", async || {
        (data().await["state"] == "running").then_some(())
    })
    .await;
}

#[tokio::test]
async fn messages_come_however_little_the_consumer_lets_an_instance_ask_for() {
    let (tenth_of_a_second, few_bytes) = (json!(100_000_000), json!(100));
    for (key, value) in [
        ("max_batch", json!(3)),
        ("max_expires", tenth_of_a_second),
        ("max_bytes", few_bytes.clone()),
    ] {
        let world = World::new().await;
        let service = || {
            let store = |_: Batch<u64>| async {};
            Service::new("a", "1.0.0").consumer(consumer(), store)
        };
        world.set_up(service()).await;
        // Before it is found, and while it is at work.
        edit(&world, key, value.clone()).await;
        world.store("log.a", numbers(20)).await;
        let _running = world.serve(service()).await;
        world.settled("LOG", "store", 20).await;
        edit(&world, key, Value::Null).await;
        world.store("log.a", numbers(20)).await;
        world.settled("LOG", "store", 40).await;
        edit(&world, key, value.clone()).await;
        world.store("log.a", numbers(20)).await;
        world.settled("LOG", "store", 60).await;

        // An operator's limits stay, but for one with which a message never comes.
        let expected = if value == few_bytes {
            Value::Null
        } else {
            value
        };
        let config = &world.consumer("LOG", "store").await["config"];
        assert_eq!(config[key], expected, "{config}");
    }
}

#[tokio::test]
async fn instance_that_may_not_wait_beside_others_does_not_ask_all_the_time() {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let mut config = world.consumer("LOG", "store").await["config"].clone();
    world.api("CONSUMER.DELETE.LOG.a-store", &Value::Null).await;
    config["max_waiting"] = json!(1);
    let body = json!({ "stream_name": "LOG", "config": config, "action": "create" });
    let made = until("its files are gone", async || {
        let made = world.api("CONSUMER.CREATE.LOG.a-store", &body).await;
        made.get("error").is_none().then_some(made)
    })
    .await;
    assert_eq!(made["config"]["max_waiting"], 1, "{made}");
    let asked = world
        .nats
        .subscribe("$JS.API.CONSUMER.MSG.NEXT.LOG.a-store");
    let mut asked = asked.await.unwrap();
    world.settle().await;
    let (_one, _other) = (world.serve(service()).await, world.serve(service()).await);
    let mut ask = async || within(asked.next()).await.unwrap();
    // Each begins with one.
    for _ in 0..2 {
        ask().await;
    }

    // What was asked while the other one started.
    while asked.next().now_or_never().is_some() {}
    let mut ask = async || within(asked.next()).await.unwrap();
    let began = Instant::now();
    for _ in 0..6 {
        ask().await;
    }

    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    world.store("log.a", numbers(20)).await;
    world.settled("LOG", "store", 20).await;
}

#[tokio::test]
async fn message_that_is_larger_than_the_server_takes_any_more_comes_too() {
    let sized = |size| format!("{}\nmax_payload: {size}\n", conf("nothing"));
    let world = World::with(|config| config.text(sized("8MB"))).await;
    let service = || {
        let store = |_: Batch<String>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let large = format!("{:?}", "x".repeat(5 << 20));
    world.store("log.a", ["\"small\"".to_owned(), large]).await;

    world.server.reload(&sized("1MB")).unwrap();
    let _running = world.serve(service()).await;

    world.settled("LOG", "store", 2).await;
    assert_eq!(letters(&world).await.len(), 0);
}

#[tokio::test]
async fn function_is_slower_than_the_ack_wait_that_somebody_has_set_and_no_other_instance_is_given_its_message()
 {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let deadline = Duration::from_secs(16);
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            let delivered = batch[0].message().delivered();
            seen.send((delivered, Instant::now())).unwrap();
            async move {
                if delivered == 1 {
                    std::future::pending::<()>().await;
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer().deadline(deadline), store)
    };
    world.set_up(service()).await;
    edit(&world, "ack_wait", json!(5_000_000_000_u64)).await;
    let (_one, _other) = (world.serve(service()).await, world.serve(service()).await);
    world.store("log.a", numbers(1)).await;

    let (first, began) = next(&mut sightings).await;
    let (second, again) = next(&mut sightings).await;

    assert_eq!((first, second), (1, 2));
    assert!(again - began >= deadline, "{:?}", again - began);
    world.settled("LOG", "store", 1).await;
}

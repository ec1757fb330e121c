//! Whose a durable consumer is: two services on one stream, an earlier version's consumer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use natsfn::{Batch, Consumer, Service, Stream, setup};
use serde_json::{Value, json};

use crate::world::{World, function, until, within};

type Seen = Arc<Mutex<Vec<u64>>>;

fn orders() -> Consumer {
    Consumer::new("store", Stream::new("ORDERS", ["orders.>"]))
}

/// A service whose function `store` notes the sequences that it handles.
fn service(name: &str, consumer: Consumer, seen: &Seen) -> Service {
    let seen = seen.clone();
    let store = move |batch: Batch<Value>| {
        let seqs = batch.iter().map(natsfn::Item::seq);
        seen.lock().unwrap().extend(seqs);
        async {}
    };
    Service::new(name, "1.0.0").consumer(consumer, store)
}

fn sorted(seen: &Seen) -> Vec<u64> {
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    seen
}

async fn set_up(world: &World, service: Service) -> Result<(), (u8, String)> {
    setup::setup(&service.build().unwrap(), &world.nats, None)
        .await
        .map_err(|error| (error.exit_code(), error.to_string()))
}

#[tokio::test]
async fn services_that_name_a_function_alike_on_one_stream_each_get_every_message() {
    let world = World::new().await;
    let (of_shop, of_billing) = (Seen::default(), Seen::default());
    let shop = || service("shop", orders().max_batch(5), &of_shop);
    let billing = || service("billing", orders().max_batch(5), &of_billing);
    world.set_up(shop()).await;
    world.set_up(billing()).await;
    let _running = (world.serve(shop()).await, world.serve(billing()).await);

    let payloads = (0..100).map(|n| n.to_string());
    world.store("orders.a", payloads).await;

    let all: Vec<u64> = (1..=100).collect();
    until("each message is handled twice", async || {
        let handled = of_shop.lock().unwrap().len() + of_billing.lock().unwrap().len();
        (handled >= 200).then_some(())
    })
    .await;
    let (shop, billing) = (sorted(&of_shop), sorted(&of_billing));
    assert_eq!((shop.len(), billing.len()), (100, 100));
    assert_eq!((shop, billing), (all.clone(), all));
}

#[tokio::test]
async fn setup_is_not_undone_by_an_instance_that_changes_the_consumer_at_the_same_moment() {
    let world = World::new().await;
    let seen = Seen::default();
    set_up(&world, service("shop", orders(), &seen))
        .await
        .unwrap();
    let mut updates = world
        .nats
        .subscribe("$JS.API.CONSUMER.CREATE.>")
        .await
        .unwrap();
    let config = world.consumer("ORDERS", "store").await["config"].clone();
    let patient = || service("shop", orders().ack_wait(Duration::from_secs(77)), &seen);
    // What was read before it is written after it.
    let instance = async {
        let update = within(updates.next()).await.unwrap();
        let body = json!({ "stream_name": "ORDERS", "config": config, "action": "update" });
        let call = update.subject.trim_start_matches("$JS.API.");
        let undone = world.api(call, &body).await;
        assert_eq!(undone["config"]["ack_wait"], config["ack_wait"], "{undone}");
    };

    let (set_up, ()) = tokio::join!(set_up(&world, patient()), instance);

    set_up.unwrap();
    let config = &world.consumer("ORDERS", "store").await["config"];
    assert_eq!(config["ack_wait"], 77_000_000_000_u64, "{config}");
}

#[tokio::test]
async fn consumer_of_another_service_is_refused_with_both_ways_out() {
    let world = World::new().await;
    let (of_shop, of_billing) = (Seen::default(), Seen::default());
    let shop = || service("shop", orders().durable("store"), &of_shop);
    let billing = || service("billing", orders().durable("store"), &of_billing);
    set_up(&world, shop()).await.unwrap();

    let (code, refused) = set_up(&world, billing()).await.unwrap_err();

    assert_eq!(code, 2);
    for part in [
        "the service shop",
        ".durable(\"NAME\")",
        "billing setup --take-over store",
    ] {
        assert!(refused.contains(part), "{part:?} in {refused}");
    }
    let running = world.serve(billing()).await;
    until("billing holds", async || {
        let data = function(&running, 0)["data"].clone();
        (data["state"] == "holding" && data["reason"].as_str()?.contains("the service shop"))
            .then_some(())
    })
    .await;
    let shop_runs = world.serve(shop()).await;
    world
        .store("orders.a", (0..50).map(|n| n.to_string()))
        .await;
    world.settled("ORDERS", "store", 50).await;
    assert_eq!((sorted(&of_shop).len(), sorted(&of_billing).len()), (50, 0));

    // Taken over, it goes on for billing, which nobody starts again, and shop is refused.
    let taken = setup::Options::default().take_over("store");
    setup::setup_with(&billing().build().unwrap(), &world.nats, None, &taken)
        .await
        .unwrap();
    world
        .store("orders.a", (0..10).map(|n| n.to_string()))
        .await;
    world.settled("ORDERS", "store", 60).await;
    until("shop holds", async || {
        let data = function(&shop_runs, 0)["data"].clone();
        (data["state"] == "holding" && data["reason"].as_str()?.contains("the service billing"))
            .then_some(())
    })
    .await;
    assert_eq!(sorted(&of_billing), (51..=60).collect::<Vec<_>>());
    assert_eq!(sorted(&of_shop).len(), 50);
}

/// A consumer as earlier versions of natsfn made it, with 5 of 10 messages handled.
async fn of_an_earlier_version(world: &World) {
    let stream = json!({
        "name": "ORDERS", "subjects": ["orders.>"], "discard": "new", "allow_direct": true
    });
    let made = world.api("STREAM.CREATE.ORDERS", &stream).await;
    assert!(made["error"].is_null(), "{made}");
    let consumer = json!({ "stream_name": "ORDERS", "config": {
        "durable_name": "store", "name": "store", "ack_policy": "explicit", "max_deliver": -1
    }});
    let made = world.api("CONSUMER.CREATE.ORDERS.store", &consumer).await;
    assert!(made["error"].is_null(), "{made}");
    world
        .store("orders.a", (0..10).map(|n| n.to_string()))
        .await;
    let mut messages = world.nats.subscribe("taken").await.unwrap();
    let next = "$JS.API.CONSUMER.MSG.NEXT.ORDERS.store";
    let five = world.nats.publish_with_reply(next, "taken", "5".into());
    five.await.unwrap();
    for _ in 0..5 {
        let ack = within(messages.next()).await.unwrap().reply.unwrap();
        world.nats.publish(ack, "+ACK".into()).await.unwrap();
    }
    world.settle().await;
}

#[tokio::test]
async fn consumer_of_an_earlier_version_is_not_started_over_by_anybody() {
    let world = World::new().await;
    of_an_earlier_version(&world).await;
    let seen = Seen::default();
    let newer = || service("shop", orders(), &seen);

    let (code, refused) = set_up(&world, newer()).await.unwrap_err();

    assert_eq!(code, 2);
    assert!(
        refused.contains(".durable(\"store\")") && refused.contains(".durable(\"shop-store\")"),
        "{refused}"
    );
    let running = world.serve(newer()).await;
    until("it holds", async || {
        let data = function(&running, 0)["data"].clone();
        (data["state"] == "holding" && data["reason"].as_str()?.contains(".durable")).then_some(())
    })
    .await;
    running.stop(Duration::from_secs(5)).await;
    assert_eq!(sorted(&seen), [0; 0]);

    // Named by hand, it goes on where it was, and has an owner from then on.
    let named = || service("shop", orders().durable("store"), &seen);
    set_up(&world, named()).await.unwrap();
    let _running = world.serve(named()).await;
    world.settled("ORDERS", "store", 10).await;
    assert_eq!(sorted(&seen), [6, 7, 8, 9, 10]);
    let metadata = world.consumer("ORDERS", "store").await["config"]["metadata"].clone();
    assert_eq!(metadata["natsfn.service"], "shop");
}

#[tokio::test]
async fn setup_keeps_what_an_operator_has_set_on_a_consumer() {
    let world = World::new().await;
    let seen = Seen::default();
    set_up(&world, service("shop", orders(), &seen))
        .await
        .unwrap();
    let mut config = world.consumer("ORDERS", "store").await["config"].clone();
    config["max_ack_pending"] = 200_000.into();
    config["description"] = "mine".into();
    config["metadata"]["team"] = "blue".into();
    let body = json!({ "stream_name": "ORDERS", "config": config });
    let changed = world.api("CONSUMER.CREATE.ORDERS.shop-store", &body).await;
    assert!(changed["error"].is_null(), "{changed}");

    let again = service("shop", orders().ack_wait(Duration::from_secs(7)), &seen);
    set_up(&world, again).await.unwrap();

    let config = world.consumer("ORDERS", "store").await["config"].clone();
    assert_eq!(config["ack_wait"], 7_000_000_000_u64);
    assert_eq!(config["max_ack_pending"], 200_000);
    assert_eq!(config["description"], "mine");
    assert_eq!(config["metadata"]["team"], "blue");
    assert_eq!(config["metadata"]["natsfn.service"], "shop");
}

#[tokio::test]
async fn consumer_that_no_function_can_be_fed_from_is_refused() {
    let world = World::new().await;
    let stream = json!({ "name": "ORDERS", "subjects": ["orders.>"], "discard": "new" });
    world.api("STREAM.CREATE.ORDERS", &stream).await;
    let seen = Seen::default();
    for (made, why) in [
        (
            json!({ "ack_policy": "explicit", "deliver_subject": "pushed" }),
            "pushes",
        ),
        (json!({ "ack_policy": "none" }), "no acknowledgement"),
    ] {
        let mut config = made;
        config["durable_name"] = "mine".into();
        let body = json!({ "stream_name": "ORDERS", "config": config });
        let created = world.api("CONSUMER.CREATE.ORDERS.mine", &body).await;
        assert!(created["error"].is_null(), "{created}");

        let stream = Stream::existing("ORDERS");
        let consumer = Consumer::new("store", stream).durable("mine");
        let (code, refused) = set_up(&world, service("shop", consumer, &seen))
            .await
            .unwrap_err();

        assert_eq!(code, 2);
        assert!(refused.contains(why), "{refused}");
        world.api("CONSUMER.DELETE.ORDERS.mine", &Value::Null).await;
    }
}

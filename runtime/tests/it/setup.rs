//! Setting up: what is made, what is refused because it would lose messages, and twice at once.

use std::time::Duration;

use natsfn::{Batch, Consumer, Endpoint, Service, Stream, setup};
use serde_json::{Value, json};

use crate::world::{World, state, until};

async fn store(_: Batch<Value>) {}
async fn price() {}

fn service() -> Service {
    Service::new("shop", "1.0.0")
        .endpoint(Endpoint::new("price", "shop.price.{sku}"), price)
        .consumer(
            Consumer::new("store", Stream::new("ORDERS", ["orders.{kind}"])),
            store,
        )
}

async fn set_up(world: &World, service: Service) -> Result<(), String> {
    let service = service.build().unwrap();
    setup::setup(&service, &world.nats, None)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn streams_and_consumers_are_made_so_that_nothing_acknowledged_is_lost() {
    let world = World::new().await;
    set_up(&world, service()).await.unwrap();

    for name in ["ORDERS", "DEAD_LETTERS"] {
        let stream = world
            .api(&format!("STREAM.INFO.{name}"), &Value::Null)
            .await;
        let config = &stream["config"];
        assert_eq!(config["storage"], "file", "{name}");
        assert_eq!(config["retention"], "limits", "{name}");
        assert_eq!(config["discard"], "new", "{name}");
        assert_eq!(config["max_age"], 0, "{name}");
        assert_eq!(config["max_msgs"], -1, "{name}");
    }
    let consumer = world.consumer("ORDERS", "store").await;
    let config = &consumer["config"];
    assert_eq!(config["durable_name"], "shop-store");
    assert_eq!(config["ack_policy"], "explicit");
    assert_eq!(config["max_deliver"], -1);
    assert_eq!(config["deliver_policy"], "all");
    assert!(
        config["max_ack_pending"].as_u64().unwrap() >= 2 * 500 * 8,
        "{config}"
    );
}

#[tokio::test]
async fn setup_may_run_again_and_twice_at_once() {
    let world = World::new().await;
    let (one, other) = tokio::join!(set_up(&world, service()), set_up(&world, service()));
    assert_eq!((one, other), (Ok(()), Ok(())));
    set_up(&world, service()).await.unwrap();
}

#[tokio::test]
async fn setup_upgrades_what_is_there_and_keeps_the_messages() {
    let world = World::new().await;
    set_up(&world, service()).await.unwrap();
    world
        .store("orders.a", ["1".to_owned(), "2".to_owned()])
        .await;
    let newer = || {
        let stream = Stream::new("ORDERS", ["orders.{kind}", "returns.{kind}"]);
        let stream = stream.max_bytes(1 << 20).republish(">", "live.>");
        let consumer = Consumer::new("store", stream).ack_wait(Duration::from_secs(7));
        Service::new("shop", "2.0.0").consumer(consumer.filter(["orders.{kind}"]), store)
    };

    set_up(&world, newer()).await.unwrap();

    let stream = world.api("STREAM.INFO.ORDERS", &Value::Null).await;
    assert_eq!(
        stream["config"]["subjects"],
        json!(["orders.*", "returns.*"])
    );
    assert_eq!(stream["config"]["republish"]["dest"], "live.>");
    assert_eq!(
        stream["config"]["max_bytes"], -1,
        "no limit becomes shorter"
    );
    assert_eq!(stream["state"]["messages"], 2);
    let consumer = world.consumer("ORDERS", "store").await;
    assert_eq!(consumer["config"]["ack_wait"], 7_000_000_000_u64);
    assert_eq!(consumer["config"]["filter_subject"], "orders.*");
}

#[tokio::test]
async fn a_stream_of_somebody_else_that_captures_a_function_is_an_error() {
    let world = World::new().await;
    for n in 0..30 {
        let body = json!({"name": format!("S{n}"), "subjects": [format!("s.{n}")]});
        world.api(&format!("STREAM.CREATE.S{n}"), &body).await;
    }
    for (captured, of) in [
        ("shop.>", "price"),
        ("shop.*.x", "price"),
        ("fn.>", "store"),
    ] {
        let wide = json!({"name": "WIDE", "subjects": [captured]});
        let made = world.api("STREAM.CREATE.WIDE", &wide).await;
        assert!(made["error"].is_null(), "{made}");
        let error = set_up(&world, service()).await.unwrap_err();
        assert!(
            error.contains("WIDE") && error.contains(captured) && error.contains(of),
            "{error}"
        );
        world.api("STREAM.DELETE.WIDE", &Value::Null).await;
    }
    set_up(&world, service()).await.unwrap();
}

/// The ways in which a stream discards what nobody has consumed, each as a change of its
/// configuration.
fn discarding() -> [Value; 5] {
    [
        json!({"allow_rollup_hdrs": true}),
        json!({"discard": "old", "max_msgs": 10}),
        json!({"discard": "old", "max_bytes": 1_000_000}),
        json!({"max_age": 600_000_000_000_u64}),
        json!({"max_msgs_per_subject": 1, "discard": "old"}),
    ]
}

async fn change(world: &World, change: &Value) {
    let mut config = world.api("STREAM.INFO.ORDERS", &Value::Null).await["config"].clone();
    for (key, value) in change.as_object().unwrap() {
        config[key] = value.clone();
    }
    let changed = world.api("STREAM.UPDATE.ORDERS", &config).await;
    assert!(changed["error"].is_null(), "{changed}");
}

#[tokio::test]
async fn a_stream_whose_limits_discard_what_is_unread_is_refused_at_the_start() {
    let world = World::new().await;
    for limits in discarding() {
        set_up(&world, service()).await.unwrap();
        change(&world, &limits).await;
        let nats = world.connect().await;
        let error = natsfn::start(service().build().unwrap(), nats, None)
            .await
            .err()
            .unwrap();
        let error = error.to_string();
        assert!(
            error.contains("ORDERS") && error.contains("nobody has consumed"),
            "{error}"
        );
        // Setting up again mends it.
        set_up(&world, service()).await.unwrap();
        let running = world.serve(service()).await;
        running.stop(Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn a_stream_whose_messages_may_say_when_they_end_is_refused() {
    let world = World::new().await;
    set_up(&world, service()).await.unwrap();
    change(&world, &json!({"allow_msg_ttl": true})).await;
    let nats = world.connect().await;
    let started = natsfn::start(service().build().unwrap(), nats, None).await;
    let started = started.map(drop).map_err(|error| error.to_string());
    let [set_up, planned] = both(&world, service).await;
    for answer in [started, set_up, planned] {
        let error = answer.unwrap_err();
        assert!(
            error.contains("ORDERS")
                && error.contains("Nats-TTL")
                && error.contains("another stream is needed"),
            "{error}"
        );
    }
    let meant = || {
        let stream = Stream::new("ORDERS", ["orders.{kind}"]).may_discard();
        Service::new("shop", "1.0.0").consumer(Consumer::new("store", stream), store)
    };
    assert_eq!(both(&world, meant).await, [Ok(()), Ok(())]);
}

/// What `setup` and `setup --plan` answer.
async fn both(world: &World, service: impl Fn() -> Service) -> [Result<(), String>; 2] {
    let only_plan = setup::Options::default().only_plan();
    let planned =
        setup::setup_with(&service().build().unwrap(), &world.nats, None, &only_plan).await;
    let planned = planned.map(drop).map_err(|error| error.to_string());
    [set_up(world, service()).await, planned]
}

#[tokio::test]
async fn a_stream_that_a_crash_of_the_server_empties_is_refused_with_the_cure() {
    for (key, value) in [("storage", "memory"), ("persist_mode", "async")] {
        let world = World::new().await;
        set_up(&world, service()).await.unwrap();
        let mut stream = world.api("STREAM.INFO.ORDERS", &Value::Null).await["config"].clone();
        world.api("STREAM.DELETE.ORDERS", &Value::Null).await;
        stream[key] = json!(value);
        let made = world.api("STREAM.CREATE.ORDERS", &stream).await;
        assert_eq!(made["config"][key], value, "{made}");
        for answer in both(&world, service).await {
            let error = answer.expect_err(key);
            assert!(
                error.contains("ORDERS")
                    && error.contains(value)
                    && error.contains("nats stream rm ORDERS")
                    && error.contains("may_discard"),
                "{error}"
            );
        }
        let started = natsfn::start(service().build().unwrap(), world.connect().await, None).await;
        let error = started.err().expect(key).to_string();
        assert!(error.contains(value), "{error}");
        let meant = || {
            let stream = Stream::new("ORDERS", ["orders.{kind}"]).may_discard();
            Service::new("shop", "1.0.0").consumer(Consumer::new("store", stream), store)
        };
        assert_eq!(both(&world, meant).await, [Ok(()), Ok(())]);
    }
}

#[tokio::test]
async fn a_stream_that_stores_messages_under_other_subjects_is_refused_until_it_does_not() {
    let world = World::new().await;
    set_up(&world, service()).await.unwrap();
    for (source, destination) in [
        ("", "other.>"),
        ("orders.*", "other.{{wildcard(1)}}"),
        ("orders.a", "other"),
    ] {
        let transform = json!({"src": source, "dest": destination});
        change(&world, &json!({ "subject_transform": transform })).await;
        for answer in both(&world, service).await {
            let error = answer.unwrap_err();
            assert!(
                error.contains("subject_transform") && error.contains("--no-transform"),
                "{error}"
            );
        }
        let meant = || {
            let stream = Stream::new("ORDERS", ["orders.{kind}"]).configure(|config| {
                config.subject_transform = serde_json::from_value(transform.clone()).unwrap();
            });
            Service::new("shop", "1.0.0").consumer(Consumer::new("store", stream), store)
        };
        assert_eq!(both(&world, meant).await, [Ok(()), Ok(())]);
    }
    change(&world, &json!({ "subject_transform": null })).await;
    assert_eq!(both(&world, service).await, [Ok(()), Ok(())]);
}

#[tokio::test]
async fn a_stream_that_is_sealed_is_refused_with_the_cure() {
    let world = World::new().await;
    set_up(&world, service()).await.unwrap();
    change(&world, &json!({"sealed": true})).await;
    for answer in both(&world, service).await {
        let error = answer.unwrap_err();
        assert!(
            error.contains("sealed") && error.contains("nats stream rm ORDERS"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn limits_that_discard_are_refused_at_build_unless_they_are_meant() {
    let discards = || {
        Stream::new("ORDERS", ["orders.>"]).configure(|config| {
            config.max_age = Duration::from_secs(600);
        })
    };
    let with =
        |stream| Service::new("shop", "1.0.0").consumer(Consumer::new("store", stream), store);
    let error = with(discards()).build().err().unwrap();
    assert!(error.to_string().contains("max_age") && error.to_string().contains("may_discard"));

    let world = World::new().await;
    set_up(&world, with(discards().may_discard()))
        .await
        .unwrap();
    let running = world.serve(with(discards().may_discard())).await;
    until("it runs", async || {
        (state(&running, 0) == "running").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_without_jetstream_is_an_error_that_says_so() {
    let conf = "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT";
    let world = World::with(|config| config.text(conf)).await;
    let error = set_up(&world, service()).await.unwrap_err();
    assert!(error.contains("JetStream"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_too_old_for_the_service_is_refused() {
    let world = World::new().await;
    let service = service().min_server(99, 0, 0).build().unwrap();
    let error = natsfn::start(service, world.connect().await, None)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("99.0.0"), "{error}");
}

#[tokio::test]
async fn account_with_limits_as_hosted_ones_have_them_is_enough() {
    let text = r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
jetstream { store_dir: $NATS_CONF_STORE_DIR, limits { max_request_batch: 10 } }
no_auth_user: a
accounts { A {
  jetstream { max_store: 1GB, max_bytes_required: true, max_ack_pending: 500 }
  users: [ { user: a, password: a } ]
} }
"#;
    let world = World::with(|config| config.text(text)).await;
    let no_size = set_up(&world, service()).await.unwrap_err();
    let orders = Stream::new("ORDERS", ["orders.{kind}"]).max_bytes(1 << 20);
    let service =
        || Service::new("shop", "1.0.0").consumer(Consumer::new("store", orders.clone()), store);
    set_up(&world, service()).await.unwrap();
    let made = world.consumer("ORDERS", "store").await;
    set_up(&world, service()).await.unwrap();
    let kept = world.consumer("ORDERS", "store").await;
    let plan = setup::Options::default().only_plan();
    let definition = service().build().unwrap();
    let plan = setup::setup_with(&definition, &world.nats, None, &plan).await;

    let _running = world.serve(service()).await;
    let orders = (0..50).map(|n| n.to_string()).chain(["bad".to_owned()]);
    world.store("orders.a", orders).await;
    world.settled("ORDERS", "store", 51).await;

    assert!(
        no_size.contains("ORDERS: cannot be made") && no_size.contains(".max_bytes(..)"),
        "{no_size}"
    );
    assert_eq!(made["config"]["max_ack_pending"], 500, "{made}");
    assert_eq!(made["config"], kept["config"]);
    let plan = plan.unwrap();
    assert!(
        plan.contains(&"consumer shop-store of ORDERS: stays as it is".to_owned()),
        "{plan:?}"
    );
    let letters = world.api("STREAM.INFO.DEAD_LETTERS", &Value::Null).await;
    assert!(
        letters["config"]["max_bytes"].as_i64().unwrap() > 0,
        "{letters}"
    );
    assert_eq!(letters["state"]["messages"], 1);
}

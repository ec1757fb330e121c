//! What PING, INFO and STATS say of a service, field by field.

use std::collections::BTreeSet;

use natsfn::{Bytes, Consumer, Endpoint, Service, Stream};
use serde_json::{Value, json};

use crate::world::{World, json as body};

async fn echo(body: Bytes) -> Bytes {
    body
}

#[tokio::test]
async fn two_endpoints_of_one_name_both_stay_and_count_apart() {
    let world = World::new().await;
    let service = Service::new("twins", "1.0.0")
        .endpoint(Endpoint::new("twin", "twin.a"), echo)
        .endpoint(Endpoint::new("twin", "twin.b"), echo);
    let _running = world.serve(service).await;

    world.ask("twin.b", "x").await;

    let info = world.ask_json("$SRV.INFO.twins", "").await;
    assert_eq!(info["endpoints"][0]["subject"], "twin.a");
    assert_eq!(info["endpoints"][1]["subject"], "twin.b");
    let stats = world.ask_json("$SRV.STATS.twins", "").await;
    assert_eq!(stats["endpoints"][0]["num_requests"], 0);
    assert_eq!(stats["endpoints"][1]["num_requests"], 1);
}

#[tokio::test]
async fn a_subject_defaults_to_the_name_and_may_have_wildcards() {
    let world = World::new().await;
    let service = Service::new("a", "1.0.0")
        .endpoint("plain", echo)
        .endpoint(Endpoint::new("star", "star.*.x"), echo)
        .endpoint(Endpoint::new("rest", "rest.>"), echo)
        .endpoint(Endpoint::new("named", "named.{one}.{two}"), echo);
    let _running = world.serve(service).await;

    for subject in ["plain", "star.any.x", "rest.a.b.c", "named.a.b"] {
        assert_eq!(world.ask(subject, "x").await.payload, "x", "{subject}");
    }
    let info = world.ask_json("$SRV.INFO.a", "").await;
    let subjects: Vec<&Value> = info["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["subject"])
        .collect();
    assert_eq!(subjects, ["plain", "star.*.x", "rest.>", "named.*.*"]);
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn ping_info_and_stats_have_the_fields_of_adr_32() {
    let world = World::new().await;
    let service = Service::new("shop", "1.2.3-rc.1")
        .description("sells")
        .metadata("team", "x")
        .endpoint(
            Endpoint::new("price", "shop.price.{sku}").metadata("unit", "cent"),
            echo,
        );
    let running = world.serve(service).await;
    let base = ["type", "name", "id", "version", "metadata"];

    let ping = world.ask_json("$SRV.PING.shop", "").await;
    assert_eq!(
        ping,
        json!({
            "type": "io.nats.micro.v1.ping_response", "name": "shop", "id": running.id(),
            "version": "1.2.3-rc.1", "metadata": {"team": "x"},
        })
    );

    let info = world.ask_json("$SRV.INFO.shop", "").await;
    assert_eq!(
        info,
        json!({
            "type": "io.nats.micro.v1.info_response", "name": "shop", "id": running.id(),
            "version": "1.2.3-rc.1", "metadata": {"team": "x"}, "description": "sells",
            "endpoints": [{
                "name": "price", "subject": "shop.price.*", "queue_group": "q",
                "metadata": {"unit": "cent"},
            }],
        })
    );

    let stats = world.ask_json("$SRV.STATS.shop", "").await;
    assert_eq!(
        keys(&stats),
        base.into_iter().chain(["started", "endpoints"]).collect()
    );
    assert_eq!(stats["metadata"], json!({"team": "x"}));
    let started = stats["started"].as_str().unwrap();
    assert!(
        started.ends_with('Z') && started.as_bytes()[10] == b'T',
        "{started}"
    );
    let endpoint = &stats["endpoints"][0];
    let counters = [
        "name",
        "subject",
        "queue_group",
        "num_requests",
        "num_errors",
        "last_error",
        "processing_time",
        "average_processing_time",
        "data",
    ];
    assert_eq!(keys(endpoint), counters.into_iter().collect());
    assert_eq!(endpoint["last_error"], "");
    assert!(endpoint["data"].is_object());
}

#[tokio::test]
async fn missing_fields_are_empty_and_never_null() {
    let world = World::new().await;
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("echo", echo))
        .await;
    for verb in ["PING", "INFO", "STATS"] {
        let answer = world.ask_json(&format!("$SRV.{verb}"), "").await;
        assert_eq!(answer["metadata"], json!({}), "{verb}");
        assert!(!answer.to_string().contains("null"), "{answer}");
    }
    let info = world.ask_json("$SRV.INFO", "").await;
    assert_eq!(info["description"], "");
    assert_eq!(info["endpoints"][0]["metadata"], json!({}));
}

#[tokio::test]
async fn a_stream_function_tells_its_stream_and_state() {
    let world = World::new().await;
    async fn store(_: natsfn::Batch<Value>) {}
    let service = || {
        let consumer = Consumer::new("store", Stream::new("ORDERS", ["orders.>"]));
        Service::new("shop", "1.0.0").consumer(consumer.metadata("x", "y"), store)
    };
    world.set_up(service()).await;
    world
        .store("orders.a", (0..10).map(|n| n.to_string()))
        .await;
    let _running = world.serve(service()).await;
    world.settled("ORDERS", "store", 10).await;

    let info = world.ask_json("$SRV.INFO.shop", "").await;
    let endpoint = &info["endpoints"][0];
    assert_eq!(endpoint["subject"], "fn.shop.store");
    assert_eq!(
        endpoint["metadata"],
        json!({"stream": "ORDERS", "consumer": "shop-store", "filter": "orders.>", "x": "y"})
    );
    let stats = world.ask_json("$SRV.STATS.shop", "").await;
    assert_eq!(stats["endpoints"][0]["num_requests"], 10);
    let data = &stats["endpoints"][0]["data"];
    assert_eq!(*data, world.ask_json("fn.shop.store", "").await);
    for (key, value) in [
        ("stream", json!("ORDERS")),
        ("consumer", json!("shop-store")),
        ("pending", json!(0)),
        ("ack_pending", json!(0)),
        ("redelivered", json!(0)),
        ("dead_lettered", json!(0)),
        ("in_flight", json!(0)),
        ("state", json!("running")),
    ] {
        assert_eq!(data[key], value, "{key}");
    }
}

#[tokio::test]
async fn info_and_stats_fit_into_max_payload() {
    const LIMIT: usize = 16 * 1024;
    let conf = "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT, max_payload: 16384";
    let world = World::with(|config| config.text(conf)).await;
    let mut service = Service::new("large", "1.0.0").metadata("why", "x".repeat(2000));
    for n in 0..2000 {
        let endpoint = Endpoint::new(format!("e{n}"), format!("large.{n}"));
        service = service.endpoint(endpoint.metadata("long", "y".repeat(100)), echo);
    }
    let _running = world.serve(service).await;

    for verb in ["INFO", "STATS"] {
        let answer = world.ask(&format!("$SRV.{verb}"), "").await;
        assert!(
            answer.payload.len() <= LIMIT,
            "{verb}: {}",
            answer.payload.len()
        );
        // It tells as much as fits.
        assert!(
            answer.payload.len() > LIMIT - 1024,
            "{verb}: {}",
            answer.payload.len()
        );
        assert_eq!(body(&answer)["name"], "large");
        assert_eq!(body(&answer)["endpoints"][1]["name"], "e1");
    }
}

#[tokio::test]
async fn endpoints_stay_in_the_order_of_registration() {
    let world = World::new().await;
    let names: Vec<String> = (0..40).map(|n| format!("e{}", n * 7 % 40)).collect();
    let mut service = Service::new("a", "1.0.0");
    for name in &names {
        service = service.endpoint(name.as_str(), echo);
    }
    let _running = world.serve(service).await;
    for verb in ["INFO", "STATS"] {
        let answer = world.ask_json(&format!("$SRV.{verb}"), "").await;
        let told: Vec<&Value> = answer["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| &e["name"])
            .collect();
        assert_eq!(told, names.iter().collect::<Vec<_>>(), "{verb}");
    }
}

#[tokio::test]
async fn info_lists_only_the_functions_that_are_served() {
    let world = World::new().await;
    let service = Service::new("a", "1.0.0")
        .endpoint("b", echo)
        .endpoint("c", echo);
    let served = service.build().unwrap().only(&["c".to_owned()]).unwrap();
    let _running = natsfn::start(served, world.connect().await, None)
        .await
        .unwrap();
    let info = world.ask_json("$SRV.INFO.a", "").await;
    assert_eq!(info["endpoints"].as_array().unwrap().len(), 1);
    assert_eq!(info["endpoints"][0]["name"], "c");
}

//! The runtime's spans: names, kinds, parents, links and attributes, for any function.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use natsfn::{
    Batch, Client, Consumer, Endpoint, Error, Json, Outcomes, Path, Result, Retry, Running,
    Service, State, Stream,
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::collector::Span;
use crate::traced::{Spans, Traced};
use crate::world::{World, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const ABOVE: &str = "b7ad6b7169203331";

/// Headers as a page sends them.
fn from_outside(trace: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{trace}-{ABOVE}-01"));
    headers
}

/// The function takes nothing while a test holds this.
type Gate = Arc<Semaphore>;

async fn put(client: Client, Path(id): Path<String>) -> Result<Json<u64>> {
    let own = tracing::info_span!("look", id);
    own.in_scope(|| tracing::info!("looked"));
    let message = format!("m{id}");
    let put = client
        .append(
            &format!("orders.{id}"),
            Some(&message),
            HeaderMap::new(),
            id.into(),
        )
        .await?;
    Ok(Json(put.seq))
}

/// Refuses 13, fails on 14, has seen 15 before.
async fn take(State(gate): State<Gate>, orders: Batch<u64>) -> Result<Outcomes> {
    drop(gate.acquire().await);
    let mut outcomes = Outcomes::new();
    for order in &orders {
        match **order {
            13 => outcomes.fail(order.message(), Error::bad_request("unlucky")),
            14 => return Err(Error::internal("broken")),
            15 => outcomes.duplicate(order.message()),
            _ => {}
        }
    }
    Ok(outcomes)
}

/// A service with its functions, traced, and the number of orders that it has seen.
struct Shop {
    traced: Traced,
    world: World,
    gate: Gate,
    running: Running,
    put: u64,
}

impl Shop {
    async fn open() -> Self {
        let traced = Traced::begin().await;
        let world = World::new().await;
        let gate = Gate::new(Semaphore::new(1));
        let service = || {
            let orders = Stream::new("ORDERS", ["orders.{id}", "returns.{id}"]);
            Service::new("shop", "1.0.0")
                .state(gate.clone())
                .endpoint(Endpoint::new("put", "shop.put.{id}"), put)
                .consumer(
                    Consumer::new("take", orders).retry(Retry::default().attempts(2)),
                    take,
                )
        };
        world.set_up(service()).await;
        let running = world.serve(service()).await;
        Self {
            traced,
            world,
            gate,
            running,
            put: 0,
        }
    }

    /// Puts an order, in a trace of its own that the page began.
    async fn put(&mut self, id: u64, trace: &str) {
        let subject = format!("shop.put.{id}");
        self.world.ask_with(&subject, from_outside(trace), "").await;
        self.put += 1;
    }

    /// Waits until the function has been given everything that was put, while the gate is shut.
    async fn until_taken(&self) {
        until("everything is delivered", async || {
            let stats = self.running.stats();
            (stats["endpoints"][1]["num_requests"] == self.put).then_some(())
        })
        .await;
    }

    /// Waits until everything is settled, and ends.
    async fn close(self) -> Spans {
        self.world.settled("ORDERS", "take", self.put).await;
        self.running.stop(Duration::from_secs(5)).await;
        self.traced.end().await
    }
}

/// A trace of its own for each.
fn trace(n: u64) -> String {
    format!("{n:032x}")
}

#[tokio::test]
async fn a_message_alone_is_one_trace_from_the_request_to_the_ack() {
    let mut shop = Shop::open().await;
    shop.put(7, TRACE).await;
    let port = shop.world.nats.server_info().port;
    let spans = shop.close().await;

    let asked = spans.one("process shop.put.{id}");
    assert_eq!(
        (asked.kind, &*asked.trace, &*asked.parent),
        ("SERVER", TRACE, ABOVE)
    );
    asked.has(&json!({
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "shop.put.7",
        "messaging.destination.template": "shop.put.{id}",
        "messaging.consumer.group.name": "q",
        "server.address": "127.0.0.1",
        "server.port": port,
    }));
    let own = spans.one("look");
    assert!(own.is_below(asked));
    assert_eq!(
        (own.kind, &*own.events),
        ("INTERNAL", &["looked".to_owned()][..])
    );
    let published = spans.one("publish orders.{id}");
    assert!(published.is_below(asked));
    assert_eq!(published.kind, "PRODUCER");
    published.has(&json!({
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders.7",
        "messaging.message.id": "m7",
        "nats.stream": "ORDERS",
        "nats.stream.sequence": 1,
        "nats.duplicate": false,
    }));
    let received = spans.one("receive orders.{id}");
    assert_eq!((received.kind, &*received.parent), ("CLIENT", ""));
    received.has(&json!({
        "messaging.operation.type": "receive",
        "messaging.batch.message_count": 1,
        "messaging.consumer.group.name": "shop-take",
    }));
    let batch = spans.one("process_batch orders.{id}");
    assert!(batch.is_below(published));
    assert_eq!(batch.kind, "CONSUMER");
    assert_eq!(batch.links, [(received.trace.clone(), received.id.clone())]);
    batch.has(&json!({
        "messaging.operation.type": "process",
        "messaging.batch.message_count": 1,
        "messaging.message.id": "m7",
        "nats.stream.sequence": 1,
        "nats.delivery_count": 1,
        "outcome": "done",
    }));
    let ack = spans.one("ack orders.{id}");
    assert!(ack.is_below(batch));
    assert_eq!(ack.kind, "CLIENT");
    ack.has(&json!({ "messaging.operation.type": "settle" }));
    assert_eq!(spans.0.len(), 6, "{:#?}", spans.tree());
    assert!(spans.0.iter().all(|span| !span.failed));
}

#[tokio::test]
async fn a_batch_links_every_message_and_each_keeps_a_whole_trace_of_its_own() {
    const N: u64 = 200;
    let mut shop = Shop::open().await;
    let shut = shop.gate.clone().acquire_owned().await.unwrap();
    // The first is in the function, the second waits for its turn: what comes then is one batch.
    shop.put(1_001, &trace(1_001)).await;
    shop.until_taken().await;
    shop.put(1_002, &trace(1_002)).await;
    shop.until_taken().await;
    for id in 1..=N {
        shop.put(id + 100, &trace(id)).await;
    }
    shop.until_taken().await;
    drop(shut);
    let spans = shop.close().await;

    let batch = spans
        .named("process_batch orders.{id}")
        .find(|span| span.get("messaging.batch.message_count") == N)
        .unwrap_or_else(|| panic!("{:#?}", spans.tree()));
    let received = spans.0.iter().find(|span| span.id == batch.parent).unwrap();
    assert_eq!(received.name, "receive orders.{id}");
    assert_eq!(received.parent, "");
    assert_eq!(batch.trace, received.trace);
    let published: Vec<&Span> = (1..=N)
        .map(|id| {
            let mut own = spans.named("publish orders.{id}");
            own.find(|span| span.trace == trace(id)).unwrap()
        })
        .collect();
    let links: Vec<_> = published
        .iter()
        .map(|span| (span.trace.clone(), span.id.clone()))
        .collect();
    assert_eq!(batch.links, links);
    for published in published {
        let mut own = spans.named("process orders.{id}");
        let handled = own.find(|span| span.is_below(published)).unwrap();
        assert_eq!(handled.kind, "CONSUMER");
        assert_eq!(handled.links, [(batch.trace.clone(), batch.id.clone())]);
        handled.has(&json!({
            "messaging.message.id": published.get("messaging.message.id"),
            "nats.stream.sequence": published.get("nats.stream.sequence"),
            "nats.delivery_count": 1,
            "outcome": "done",
        }));
    }
    let acks = spans
        .named("ack orders.{id}")
        .filter(|span| span.is_below(batch));
    assert_eq!(acks.count(), 1);
    // The two before it were alone.
    assert_eq!(spans.named("process orders.{id}").count(), N as usize);
}

#[tokio::test]
async fn outcome_of_each_message_shows_in_its_own_trace() {
    let mut shop = Shop::open().await;
    let shut = shop.gate.clone().acquire_owned().await.unwrap();
    shop.put(1, &trace(1)).await;
    shop.until_taken().await;
    shop.put(2, &trace(2)).await;
    shop.until_taken().await;
    for id in [13, 15, 16] {
        shop.put(id, &trace(id)).await;
    }
    shop.until_taken().await;
    drop(shut);
    let spans = shop.close().await;

    let outcome = |id| {
        let mut own = spans.named("process orders.{id}");
        own.find(|span| span.trace == trace(id)).unwrap()
    };
    outcome(13).has(&json!({ "outcome": "dead_letter", "error.type": "bad_request" }));
    outcome(15).has(&json!({ "outcome": "duplicate", "error.type": null }));
    outcome(16).has(&json!({ "outcome": "done", "error.type": null }));
    let mut batches = spans.named("process_batch orders.{id}");
    let batch = batches
        .find(|span| span.get("messaging.batch.message_count") == 3)
        .unwrap();
    batch.has(&json!({ "error.type": "bad_request", "outcome": null }));
    let settled = |how, n| {
        let name = format!("{how} orders.{{id}}");
        let all: Vec<_> = spans
            .named(&name)
            .filter(|span| span.is_below(batch))
            .collect();
        assert_eq!(all.len(), 1, "{how}");
        all[0].has(&json!({ "messaging.batch.message_count": n }));
    };
    settled("ack", 2);
    settled("term", 1);
}

#[tokio::test]
async fn a_message_that_fails_is_one_trace_through_every_delivery() {
    let mut shop = Shop::open().await;
    shop.put(14, TRACE).await;
    // Each failure is an attempt where others succeed meanwhile.
    let mut id = 100;
    until("it is given up", async || {
        id += 1;
        shop.put(id, &trace(id)).await;
        let data = shop.running.stats()["endpoints"][1]["data"].clone();
        (data["dead_lettered"] == 1).then_some(())
    })
    .await;
    let spans = shop.close().await;

    let mut published = spans.named("publish orders.{id}");
    let published = published.find(|span| span.trace == TRACE).unwrap();
    // With another in its batch, its own span is below that of the batch.
    let tries: Vec<&Span> = ["process_batch orders.{id}", "process orders.{id}"]
        .into_iter()
        .flat_map(|name| spans.named(name))
        .filter(|span| span.trace == TRACE)
        .collect();
    assert!(tries.len() >= 2, "{:#?}", spans.tree());
    let outcome = |outcome: &str| {
        let found = tries.iter().filter(|span| span.get("outcome") == outcome);
        found.count()
    };
    assert_eq!(
        (outcome("retried"), outcome("dead_letter")),
        (tries.len() - 1, 1)
    );
    let mut deliveries: Vec<u64> = Vec::new();
    for span in &tries {
        assert!(span.is_below(published));
        assert!(span.failed);
        span.has(&json!({ "error.type": "internal" }));
        deliveries.push(span.get("nats.delivery_count").as_u64().unwrap());
    }
    deliveries.sort_unstable();
    assert_eq!(deliveries, (1..=tries.len() as u64).collect::<Vec<_>>());
    assert_eq!(spans.named("term orders.{id}").count(), 1);
}

#[tokio::test]
async fn message_that_cannot_be_read_shows_in_its_own_trace() {
    let mut shop = Shop::open().await;
    let mut headers = from_outside(TRACE);
    headers.insert("Nats-Msg-Id", "bad");
    shop.put = 1;
    Client::new(shop.world.nats.clone())
        .append("orders.x", None, headers, "no number".into())
        .await
        .unwrap();
    let spans = shop.close().await;

    let handled = spans.one("process orders.{id}");
    let received = spans.one("receive orders.{id}");
    assert_eq!((&*handled.trace, &*handled.parent), (TRACE, ABOVE));
    assert_eq!(
        handled.links,
        [(received.trace.clone(), received.id.clone())]
    );
    handled.has(&json!({
        "outcome": "dead_letter",
        "error.type": "bad_request",
        "messaging.message.id": "bad",
    }));
    assert!(spans.one("term orders.{id}").is_below(received));
}

#[tokio::test]
async fn dead_letter_without_a_trace_shows_in_the_span_that_settles_it() {
    let mut shop = Shop::open().await;
    let shut = shop.gate.clone().acquire_owned().await.unwrap();
    // From somebody who traces nothing. The first two are taken one by one, so the others are a batch.
    for payload in ["1", "2", "13", "16", "no number"] {
        let nats = &shop.world.nats;
        nats.request("orders.x", payload.into()).await.unwrap();
        shop.put += 1;
        if ["1", "2", "no number"].contains(&payload) {
            shop.until_taken().await;
        }
    }
    drop(shut);
    let spans = shop.close().await;

    let terms: Vec<&Span> = spans.named("term orders.{id}").collect();
    assert_eq!(terms.len(), 2, "{:#?}", spans.tree());
    for term in terms {
        term.has(&json!({ "outcome": "dead_letter", "error.type": "bad_request" }));
    }
    for ack in spans.named("ack orders.{id}") {
        ack.has(&json!({ "outcome": null }));
    }
}

#[tokio::test]
async fn a_batch_of_several_subjects_goes_by_the_streams_name() {
    let mut shop = Shop::open().await;
    let shut = shop.gate.clone().acquire_owned().await.unwrap();
    for id in [1, 2] {
        shop.put(id, &trace(id)).await;
        shop.until_taken().await;
    }
    shop.put(3, &trace(3)).await;
    shop.world.store("returns.3", ["3".to_owned()]).await;
    shop.put += 1;
    shop.until_taken().await;
    drop(shut);
    let spans = shop.close().await;

    let batch = spans.one("process_batch ORDERS");
    batch.has(&json!({
        "messaging.batch.message_count": 2,
        "messaging.destination.template": null,
        "messaging.destination.name": null,
        "nats.stream": "ORDERS",
    }));
    assert_eq!(batch.links.len(), 1, "one of the two has a trace");
    assert!(spans.one("ack ORDERS").is_below(batch));
}

#[tokio::test]
async fn trace_headers_of_a_caller_are_used_only_if_valid() {
    let traced = Traced::begin().await;
    let world = World::new().await;
    let service = || {
        Service::new("shop", "1.0.0")
            .stream(Stream::new("ORDERS", ["orders.{id}"]))
            .endpoint(Endpoint::new("put", "shop.put.{id}"), put)
    };
    world.set_up(service()).await;
    let running = world.serve(service()).await;
    let good = format!("00-{TRACE}-{ABOVE}-01");
    let hostile = [
        String::new(),
        "00-nonsense".to_owned(),
        format!("ff-{TRACE}-{ABOVE}-01"),
        format!("00-{}-{ABOVE}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        good.to_uppercase(),
        format!("{good}-{}", "x".repeat(100_000)),
        format!("00-{TRACE}\u{0}-{ABOVE}-01"),
    ];
    for (at, parent) in hostile.iter().enumerate() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", parent.as_str());
        headers.insert("tracestate", "a=b");
        headers.insert("baggage", "user=mallory");
        let subject = format!("shop.put.{at}");
        let answer = world.ask_with(&subject, headers, "").await;
        assert!(answer.headers.is_none(), "{answer:?}");
    }
    // A good one with a state and baggage that nobody would carry.
    let mut headers = from_outside(TRACE);
    headers.insert("tracestate", "x".repeat(100_000));
    headers.insert("baggage", "user=mallory");
    world.ask_with("shop.put.good", headers, "").await;
    let last = hostile.len() as u64 + 1;
    let client = Client::new(world.nats.clone());
    let stored = client.message("ORDERS", last).await.unwrap().unwrap();
    let names = ["baggage", "tracestate", "traceparent"];
    let has = names.map(|name| stored.headers().get(name).is_some());
    assert_eq!(has, [false, false, true]);
    running.stop(Duration::from_secs(5)).await;

    let spans = traced.end().await;
    assert!(!format!("{:?}", spans.0).contains("mallory"));
    let asked: Vec<&Span> = spans.named("process shop.put.{id}").collect();
    assert_eq!(asked.len(), hostile.len() + 1);
    for span in &asked[..hostile.len()] {
        assert_eq!(span.parent, "", "{span:#?}");
        assert_ne!(span.trace, TRACE);
    }
    assert_eq!(
        (&*asked[hostile.len()].trace, &*asked[hostile.len()].parent),
        (TRACE, ABOVE)
    );
}

//! The spans of chat's functions, as the page of names has them; what belongs to any function is
//! proved where the runtime is.

use std::time::Duration;

use async_nats::HeaderMap;
use natsfn::Kind;
use natsfn::failpoint::{Failpoints, Fault};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::collector::Collector;
use crate::database::Database;
use crate::person::read;
use crate::program::Place;
use crate::traced::{Spans, Traced};
use crate::wait::until;
use crate::world::{World, append, unlimited};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const ABOVE: &str = "b7ad6b7169203331";

fn from_page() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{TRACE}-{ABOVE}-01"));
    headers
}

/// Runs a test on PostgreSQL, and returns its spans. SQLite's threads are not the test's; a process
/// of its own shows their spans, below.
async fn spans_of(test: impl AsyncFn(&World)) -> Spans {
    let traced = Traced::begin().await;
    let world = World::of(Database::empty_postgres().await, unlimited()).await;
    test(&world).await;
    traced.end().await
}

async fn send(world: &World, id: &str) {
    let alice = world.person("alice").await;
    let draft = json!({ "id": id, "text": "it's a secret" }).to_string();
    let answer = alice
        .ask_with("chat.send.general", from_page(), draft)
        .await;
    read::<serde_json::Value>(&answer).unwrap();
}

#[tokio::test]
async fn a_message_is_one_trace_from_the_request_to_its_row() {
    let test = async |world: &World| {
        let running = world.serve().await;
        send(world, "m1").await;
        world.settled().await;
        running.stop(Duration::from_secs(5)).await;
    };
    let spans = spans_of(test).await;
    let sent = spans.one("process chat.send.{room}");
    assert_eq!(
        (sent.kind, &*sent.trace, &*sent.parent),
        ("SERVER", TRACE, ABOVE)
    );
    sent.has(&json!({
        "messaging.destination.name": "chat.send.general",
        "messaging.consumer.group.name": "q",
        "error.type": null,
    }));
    let published = spans.one("publish chat.{room}");
    assert!(published.is_below(sent));
    published.has(&json!({
        "messaging.message.id": "alice:m1",
        "nats.stream": "CHAT_MESSAGES",
        "nats.stream.sequence": 1,
        "nats.duplicate": false,
    }));
    let batch = spans.one("process_batch chat.{room}");
    assert!(batch.is_below(published));
    batch.has(&json!({
        "messaging.consumer.group.name": "chat-persist",
        "messaging.message.id": "alice:m1",
        "nats.delivery_count": 1,
        "outcome": "stored",
    }));
    let insert = spans.one("INSERT messages");
    assert!(insert.is_below(batch));
    assert_eq!(insert.kind, "CLIENT");
    insert.has(&json!({
        "db.system.name": "postgresql",
        "db.collection.name": "messages",
        "db.operation.name": "INSERT",
        "error.type": null,
    }));
    let text = insert.get("db.query.text").to_string();
    assert!(
        text.contains("INSERT INTO") && !text.contains("secret"),
        "{text}"
    );
    assert!(!insert.get("db.namespace").is_null());
    assert!(spans.one("COMMIT").is_below(batch));
    assert!(spans.one("ack chat.{room}").is_below(batch));
    assert_eq!(spans.one("receive chat.{room}").parent, "");
}

#[tokio::test]
async fn a_process_that_only_sends_names_the_subject_of_the_log() {
    let test = async |world: &World| {
        let running = world.serve_only(&["send"]).await;
        send(world, "m1").await;
        running.stop(Duration::from_secs(5)).await;
    };
    spans_of(test).await.one("publish chat.{room}");
}

#[tokio::test]
async fn a_page_of_history_is_a_trace_with_its_select() {
    let test = async |world: &World| {
        let running = world.serve().await;
        let alice = world.person("alice").await;
        let answer = alice
            .ask_with("chat.history.general", from_page(), "")
            .await;
        read::<serde_json::Value>(&answer).unwrap();
        running.stop(Duration::from_secs(5)).await;
    };
    let spans = spans_of(test).await;
    let asked = spans.one("process chat.history.{room}");
    assert_eq!(
        (asked.kind, &*asked.trace, &*asked.parent),
        ("SERVER", TRACE, ABOVE)
    );
    let mut selects = spans
        .named("SELECT messages")
        .filter(|span| span.is_below(asked));
    let select = selects
        .next()
        .unwrap_or_else(|| panic!("{:#?}", spans.tree()));
    select.has(&json!({
        "db.system.name": "postgresql",
        "db.collection.name": "messages",
        "db.operation.name": "SELECT",
    }));
}

#[tokio::test]
async fn a_redelivered_message_is_stored_once_and_then_a_duplicate() {
    let test = async |world: &World| {
        let failpoints = Failpoints::new();
        // Committed, and then not acknowledged.
        failpoints.at("ack", [Fault::Fail(Kind::Internal)]);
        let service = world.service().failpoints(failpoints);
        let running = world.start("chat", service, &[]).await.unwrap();
        send(world, "m1").await;
        world.settled().await;
        running.stop(Duration::from_secs(5)).await;
    };
    let spans = spans_of(test).await;
    let published = spans.one("publish chat.{room}");
    let tries: Vec<_> = spans.named("process_batch chat.{room}").collect();
    let [first, second] = tries.as_slice() else {
        panic!("{:#?}", spans.tree())
    };
    assert!(first.is_below(published) && second.is_below(published));
    first.has(&json!({ "nats.delivery_count": 1, "outcome": "retried" }));
    second.has(&json!({ "nats.delivery_count": 2, "outcome": "duplicate" }));
}

#[tokio::test]
async fn a_repeat_under_the_same_id_is_told_by_the_log() {
    let test = async |world: &World| {
        let running = world.serve().await;
        send(world, "m1").await;
        send(world, "m1").await;
        world.settled().await;
        running.stop(Duration::from_secs(5)).await;
    };
    let spans = spans_of(test).await;
    let published: Vec<_> = spans.named("publish chat.{room}").collect();
    assert_eq!(published.len(), 2);
    published[0].has(&json!({ "nats.duplicate": false, "nats.stream.sequence": 1 }));
    published[1].has(&json!({ "nats.duplicate": true, "nats.stream.sequence": 1 }));
}

#[tokio::test]
async fn a_message_that_nobody_can_read_is_a_dead_letter_in_its_own_trace() {
    let test = async |world: &World| {
        let running = world.serve().await;
        let backend = world.backend().await.continuing(&from_page());
        append(&backend, "chat.general", Some("bad"), "no JSON").await;
        world.settled().await;
        running.stop(Duration::from_secs(5)).await;
    };
    let spans = spans_of(test).await;
    let handled = spans.one("process chat.{room}");
    assert_eq!(handled.trace, TRACE);
    assert_eq!(handled.kind, "CONSUMER");
    handled.has(&json!({
        "messaging.message.id": "bad",
        "outcome": "dead_letter",
        "error.type": "bad_request",
    }));
    assert_eq!(spans.one("term chat.{room}").events, ["dead letter"]);
    let received = spans.one("receive chat.{room}");
    assert_eq!(
        handled.links,
        [(received.trace.clone(), received.id.clone())]
    );
}

#[tokio::test]
async fn a_failed_insert_tells_the_databases_own_code_and_no_value() {
    let test = async |world: &World| {
        let running = world.serve().await;
        // After the first look at the schema, so that the statement itself fails.
        send(world, "m1").await;
        world.settled().await;
        let drop = "DROP TABLE messages";
        world.database.pool.execute_unprepared(drop).await.unwrap();
        send(world, "m2").await;
        until("persist holds", async || {
            let stats = running.stats().to_string();
            stats.contains("\"holding\"").then_some(())
        })
        .await;
        running.stop(Duration::from_secs(5)).await;
    };
    let spans = spans_of(test).await;
    let mut inserts = spans.named("INSERT messages");
    let failed = inserts
        .find(|span| span.failed)
        .unwrap_or_else(|| panic!("{:#?}", spans.tree()));
    failed.has(&json!({ "db.response.status_code": "42P01", "error.type": "42P01" }));
    let all = format!("{:?}", spans.0);
    assert!(!all.contains("secret"), "a span tells a message's text");
}

#[tokio::test]
async fn a_program_sends_what_it_and_its_commands_do_as_one_trace() {
    let collector = Collector::start().await;
    let place = Place::new().variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
    let dev = place.dev(&[]).await;
    let draft = json!({ "id": "m1", "text": "it's a secret" }).to_string();
    let said = place
        .run(&["invoke", "--user", "alice", "chat.send.general", &draft])
        .await;
    said.json();
    let page = place.run(&["invoke", "chat.history.general"]).await;
    page.json();
    // What it holds is stored, and the spans of that are sent, before it ends.
    assert_eq!(dev.interrupt().await, Some(0));

    let spans = Spans(collector.spans());
    let asked = spans
        .named("request")
        .find(|span| span.get("messaging.destination.name") == "chat.send.general")
        .unwrap();
    let mut above = asked;
    for name in [
        "process chat.send.{room}",
        "publish chat.{room}",
        "process_batch chat.{room}",
        "INSERT messages",
    ] {
        let next = spans.one(name);
        assert!(next.is_below(above), "{name}: {:#?}", spans.tree());
        above = next;
    }
    above.has(&json!({ "db.system.name": "sqlite", "db.namespace": "chat.db" }));
    let upkeep = spans.0.iter().find(|span| {
        span.parent.is_empty() && span.get("db.system.name") != serde_json::Value::Null
    });
    assert!(upkeep.is_none(), "a statement alone: {upkeep:#?}");
    let page = spans.one("process chat.history.{room}");
    assert!(
        spans
            .named("SELECT messages")
            .any(|span| span.is_below(page))
    );
    for span in &spans.0 {
        assert_eq!(span.resource["service.name"], "chat");
        assert_eq!(span.dropped, 0);
    }
    assert!(!format!("{:?}", spans.0).contains("secret"));
}

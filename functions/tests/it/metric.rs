//! What chat measures: names, labels, and no room and no person in any of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::collector::{Collector, Measured};
use crate::http::ask;
use crate::jaeger::free;
use crate::program::Place;
use crate::prometheus;
use crate::wait::until;

/// Every metric, in alphabetical order, and what Prometheus calls it.
const METRICS: [(&str, &str); 17] = [
    (
        "db.client.operation.duration",
        "db_client_operation_duration_seconds",
    ),
    (
        "messaging.client.consumed.messages",
        "messaging_client_consumed_messages_total",
    ),
    (
        "messaging.client.operation.duration",
        "messaging_client_operation_duration_seconds",
    ),
    (
        "messaging.process.duration",
        "messaging_process_duration_seconds",
    ),
    ("natsfn.batch.size", "natsfn_batch_size"),
    ("natsfn.consumer.ack_pending", "natsfn_consumer_ack_pending"),
    (
        "natsfn.consumer.oldest.age",
        "natsfn_consumer_oldest_age_milliseconds",
    ),
    ("natsfn.consumer.pending", "natsfn_consumer_pending"),
    ("natsfn.dead_letters", "natsfn_dead_letters_total"),
    ("natsfn.duplicates", "natsfn_duplicates_total"),
    ("natsfn.healthy", "natsfn_healthy"),
    ("natsfn.in_flight", "natsfn_in_flight"),
    ("natsfn.outcomes", "natsfn_outcomes_total"),
    ("natsfn.redeliveries", "natsfn_redeliveries_total"),
    ("natsfn.shed", "natsfn_shed_total"),
    ("natsfn.stream.bytes", "natsfn_stream_bytes"),
    ("natsfn.stream.limit", "natsfn_stream_limit_bytes"),
];

/// What a text asks of Prometheus about functions, and not the labels in it.
pub(crate) fn asked_for(text: &str) -> impl Iterator<Item = &str> {
    let labels = [
        "natsfn_function",
        "natsfn_service",
        "messaging_operation_name",
    ];
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| {
            ["natsfn_", "messaging_", "db_client"]
                .iter()
                .any(|start| word.starts_with(start))
        })
        .filter(move |word| !labels.contains(word))
}

/// Whether Prometheus knows a metric by this name.
pub(crate) fn is_metric(word: &str) -> bool {
    let metric = ["_bucket", "_count", "_sum"]
        .iter()
        .fold(word, |word, suffix| word.trim_end_matches(suffix));
    METRICS.iter().any(|(_, known)| *known == metric)
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let dashboard = include_str!("../../../otel/dashboard.json");
    let alerts = include_str!("../../../otel/alerts.yaml");
    for text in [dashboard, alerts] {
        let mut found = 0;
        for word in asked_for(text) {
            assert!(is_metric(word), "{word}");
            found += 1;
        }
        assert!(found > 8);
    }
    for (_, metric) in METRICS {
        assert!(
            asked_for(dashboard)
                .chain(asked_for(alerts))
                .any(|word| word.starts_with(metric)),
            "nobody shows {metric}"
        );
    }
}

/// The rows of the table of metrics in docs/observability.md: names, and names for Prometheus.
fn documented() -> BTreeSet<(&'static str, &'static str)> {
    let text = include_str!("../../../docs/observability.md");
    let (_, table) = text
        .split_once("| metric | for Prometheus | what |\n")
        .unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let names = rows.map(|row| {
        let mut cells = row.split('`');
        (cells.nth(1).unwrap(), cells.nth(1).unwrap())
    });
    names.collect()
}

#[test]
fn every_metric_is_documented_and_no_other() {
    assert_eq!(documented(), METRICS.into_iter().collect());
}

#[tokio::test]
async fn prometheus_reads_every_metric_under_its_documented_name_without_a_collector() {
    let [health] = free(1)[..] else {
        unreachable!("there is one")
    };
    let place = Place::new().variable("CHAT_HEALTH__LISTEN", &health.to_string());
    let dev = place.dev(&[]).await;
    let draft = json!({ "id": "m1", "text": "hello" }).to_string();
    let sent = ["invoke", "--user", "alice", "chat.send.lounge", &draft];
    place.run(&sent).await.json();
    place.run(&["invoke", "chat.history.lounge"]).await.json();
    // Nobody can read this one.
    place.run(&["invoke", "chat.lounge", "no JSON"]).await;
    let metrics = async || {
        let answer = ask(health, "GET", "/metrics", &[]).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            "text/plain; version=0.0.4; charset=utf-8"
        );
        prometheus::read(std::str::from_utf8(&answer.body).unwrap())
    };
    let value = |metrics: &BTreeMap<String, prometheus::Family>, name: &str, function: &str| {
        let mut samples = metrics.get(name)?.samples.iter();
        let of_function = |one: &&prometheus::Sample| {
            one.labels.get("natsfn_function").map(String::as_str) == Some(function)
        };
        samples.find(of_function).map(|one| one.value)
    };

    let metrics = until("the letter is counted, and the log's size", async || {
        let metrics = metrics().await;
        let letters = value(&metrics, "natsfn_dead_letters_total", "persist")?;
        let bytes = value(&metrics, "natsfn_stream_bytes", "persist")?;
        (letters >= 1.0 && bytes > 0.0).then_some(metrics)
    })
    .await;

    assert_eq!(value(&metrics, "natsfn_healthy", "persist"), Some(1.0));
    assert_eq!(value(&metrics, "natsfn_consumer_pending", "send"), None);
    let names: BTreeSet<&str> = metrics.keys().map(String::as_str).collect();
    let expected = METRICS.map(|(_, name)| name).into_iter();
    // What the process is: its resource.
    assert_eq!(names, expected.chain(["target_info"]).collect());
    let service = &metrics["target_info"].samples[0].labels["service_name"];
    assert_eq!(service, "chat");
    let labels = metrics.values().flat_map(|family| &family.samples);
    for one in labels {
        let personal = |text: &String| ["lounge", "alice", "m1"].iter().any(|it| text.contains(it));
        assert!(!one.labels.values().any(personal), "{one:?}");
    }
    let process = &metrics["messaging_process_duration_seconds"].samples;
    let is_send = |one: &&prometheus::Sample| {
        one.name.ends_with("_count")
            && one.labels["messaging_destination_template"] == "chat.send.{room}"
    };
    assert_eq!(process.iter().find(is_send).map(|one| one.value), Some(1.0));
    assert_eq!(dev.interrupt().await, Some(0));
}

#[tokio::test]
async fn every_metric_is_sent_and_tells_of_no_room_and_no_person() {
    let collector = Collector::start().await;
    let place = Place::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .variable("OTEL_TRACES_EXPORTER", "none")
        .variable("OTEL_METRIC_EXPORT_INTERVAL", "100");
    let dev = place.dev(&[]).await;
    let draft = json!({ "id": "m1", "text": "hello" }).to_string();
    let sent = ["invoke", "--user", "alice", "chat.send.lounge", &draft];
    place.run(&sent).await.json();
    place.run(&["invoke", "chat.history.lounge"]).await.json();
    // Nobody can read this one.
    place.run(&["invoke", "chat.lounge", "no JSON"]).await;
    let value = |name: &str, function: &str| {
        let ours = |one: &&Measured| {
            one.name == name && one.labels.get("natsfn.function") == Some(&function.into())
        };
        collector
            .measured()
            .iter()
            .rev()
            .find(ours)
            .map(|one| one.value)
    };
    until(
        "the dead letter is counted, and the size of the log",
        async || {
            let letters = value("natsfn.dead_letters", "persist")?;
            let bytes = value("natsfn.stream.bytes", "persist")?;
            (letters >= 1.0 && bytes > 0.0).then_some(())
        },
    )
    .await;
    assert_eq!(value("natsfn.healthy", "persist"), Some(1.0));
    assert!(value("natsfn.stream.limit", "persist").unwrap() > 0.0);
    assert_eq!(value("natsfn.in_flight", "send"), Some(0.0));
    // A lag of 0 of a function that reads no stream would hide that nobody consumes.
    assert_eq!(value("natsfn.consumer.pending", "send"), None);
    assert_eq!(value("natsfn.shed", "persist"), None);
    assert_eq!(dev.interrupt().await, Some(0));

    let measured = collector.measured();
    let names: BTreeSet<&str> = measured.iter().map(|one| one.name.as_str()).collect();
    let expected: Vec<&str> = METRICS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    for one in &measured {
        for (label, value) in &one.labels {
            let text = value.to_string();
            let personal = ["lounge", "alice", "m1"]
                .iter()
                .any(|word| text.contains(word));
            assert!(!personal, "{label} of {one:?}");
        }
    }
    let has = |name: &str, labels: serde_json::Value| {
        let labels = labels.as_object().unwrap().clone();
        let found = measured.iter().any(|one| {
            one.name == name
                && labels
                    .iter()
                    .all(|(label, value)| one.labels.get(label) == Some(value))
        });
        assert!(found, "{name} {labels:?}");
    };
    has(
        "messaging.process.duration",
        json!({ "messaging.destination.template": "chat.send.{room}" }),
    );
    has(
        "messaging.client.operation.duration",
        json!({
            "messaging.operation.name": "publish",
            "messaging.destination.template": "chat.{room}",
        }),
    );
    has(
        "messaging.client.operation.duration",
        json!({ "messaging.operation.name": "ack" }),
    );
    has(
        "db.client.operation.duration",
        json!({
            "db.system.name": "sqlite",
            "db.operation.name": "INSERT",
            "db.collection.name": "messages",
        }),
    );
    has(
        "natsfn.outcomes",
        json!({ "natsfn.function": "persist", "outcome": "stored" }),
    );
    has(
        "natsfn.outcomes",
        json!({ "natsfn.function": "persist", "outcome": "dead_letter" }),
    );
}

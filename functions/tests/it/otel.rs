//! The files in `otel/` as those read them that they are for: the collector, and Prometheus's promtool. The suite
//! `cargo xtask test otel` brings both.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::json;
use tokio::process::{Child, Command};

use crate::collector::Collector;
use crate::http::ask;
use crate::jaeger::free;
use crate::metric::asked_for;
use crate::program::Place;
use crate::wait::{until, within};

/// A file of that folder.
macro_rules! otel {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../otel/", $name)
    };
}

/// The real collector, with what it keeps of traces sent to a `jaeger`.
struct Real {
    _process: Child,
    grpc: SocketAddr,
    http: SocketAddr,
    scrape: SocketAddr,
}

impl Real {
    async fn start(jaeger: &Collector) -> Self {
        let program = std::env::var_os("OTELCOL").expect("run `cargo xtask test otel`");
        let [grpc, http, scrape, health, own] = free(5)[..] else {
            unreachable!("there are five")
        };
        let process = Command::new(program)
            .args(["--config", otel!("collector.yaml")])
            .env("JAEGER", jaeger.address.to_string())
            .env("COMPRESSION", "none")
            .env("OTLP_GRPC", grpc.to_string())
            .env("OTLP_HTTP", http.to_string())
            .env("SCRAPE", scrape.to_string())
            .env("HEALTH", health.to_string())
            .env("SELF_PORT", own.port().to_string())
            .env("DECISION_WAIT", "1s")
            .env("PAGE_ORIGIN", "https://chat.example")
            .env("ENVIRONMENT", "a test")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until("the collector is well", async || {
            let answer = ask(health, "GET", "/", &[]).await.ok()?;
            answer.status.is_success().then_some(())
        })
        .await;
        Self {
            _process: process,
            grpc,
            http,
            scrape,
        }
    }

    /// What Prometheus reads.
    async fn metrics(&self) -> String {
        let answer = ask(self.scrape, "GET", "/metrics", &[]).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// The origin that a page from there is allowed to send from.
    async fn allows(&self, origin: &str) -> Option<String> {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let answer = ask(self.http, "OPTIONS", "/v1/traces", &asked).await;
        let headers = answer.unwrap().headers;
        let allowed = headers.get("access-control-allow-origin")?;
        Some(allowed.to_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn prometheus_finds_every_metric_of_dashboard_and_alerts_and_jaeger_the_dead_letter() {
    let jaeger = Collector::start().await;
    let real = Real::start(&jaeger).await;
    let place = Place::new()
        .variable(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{}", real.grpc),
        )
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .variable("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .variable("OTEL_BSP_SCHEDULE_DELAY", "100");
    let dev = place.dev(&[]).await;
    let draft = json!({ "id": "m1", "text": "hello" }).to_string();
    let sent = ["invoke", "--user", "alice", "chat.send.lounge", &draft];
    place.run(&sent).await.json();
    place.run(&["invoke", "chat.history.lounge"]).await.json();
    // Nobody can read this one.
    place.run(&["invoke", "chat.lounge", "no JSON"]).await;

    until("the dead letter is counted", async || {
        let metrics = real.metrics().await;
        let mut lines = metrics.lines();
        lines
            .any(|line| line.starts_with("natsfn_dead_letters_total{") && line.ends_with(" 1"))
            .then_some(())
    })
    .await;
    let metrics = real.metrics().await;
    let missing: Vec<&str> = asked_for(include_str!("../../../otel/dashboard.json"))
        .chain(asked_for(include_str!("../../../otel/alerts.yaml")))
        .chain(["otel_sdk_processor_span_processed_total"])
        .filter(|name| !metrics.contains(&format!("\n{name}{{")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "{metrics}");
    // A function of requests that tells a lag of its own would hide that nobody consumes.
    let told = |text: &str| metrics.lines().filter(|line| line.contains(text)).count();
    assert_eq!(told("natsfn_consumer_pending{"), 1, "{metrics}");
    let letter = until("the dead letter's trace is kept", async || {
        let mut spans = jaeger.spans().into_iter();
        spans.find(|span| span.get("outcome") == "dead_letter")
    })
    .await;
    assert_eq!(dev.interrupt().await, Some(0));

    assert_eq!(letter.resource["deployment.environment.name"], "a test");
    assert_eq!(letter.resource["service.name"], "chat");
}

#[tokio::test]
async fn a_page_may_send_its_spans_and_no_other_may() {
    let jaeger = Collector::start().await;
    let real = Real::start(&jaeger).await;
    let page = "https://chat.example";
    assert_eq!(real.allows(page).await.as_deref(), Some(page));
    assert_eq!(real.allows("https://evil.example").await, None);
}

#[tokio::test]
async fn every_alert_fires_where_it_should_and_not_below() {
    let program = std::env::var_os("PROMTOOL").expect("run `cargo xtask test otel`");
    for arguments in [
        ["check", "config", otel!("prometheus.yaml")],
        ["test", "rules", otel!("alerts.test.yaml")],
    ] {
        let mut promtool = Command::new(&program);
        let output = within(promtool.args(arguments).output()).await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let (alerts, tests) = (
        include_str!("../../../otel/alerts.yaml"),
        include_str!("../../../otel/alerts.test.yaml"),
    );
    let alerts = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        let fires = format!("      - alertname: {alert}\n");
        let times = tests.matches(&fires).count();
        assert!(times >= 2, "{alert} is not tested on both sides");
    }
}

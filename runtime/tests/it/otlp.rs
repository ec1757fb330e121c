//! A program and its collector: what is sent, what is configured, and a collector that is no good.

use std::fs::File;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::HeaderMap;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::Instant;

use crate::collector::{Attributes, Collector};
use crate::process::{Lasting, hello};
use crate::world::{World, within};

/// What this build speaks.
pub(crate) const PROTOCOLS: &[&str] = if cfg!(feature = "otel-grpc") {
    &["http/protobuf", "grpc"]
} else {
    &["http/protobuf"]
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The README's hello as a process, on a server of the test's.
struct Hello {
    world: World,
    process: Lasting,
    _directory: TempDir,
}

impl Hello {
    async fn serve(variables: &[(&str, &str)]) -> Self {
        let world = World::new().await;
        let (directory, mut command) = command(&["serve"], variables);
        command.env("NATS_URL", world.server.url());
        let mut process = Lasting::spawn(command);
        process.says("serves hello").await;
        Self {
            world,
            process,
            _directory: directory,
        }
    }

    async fn ask(&self) {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
        let answer = self.world.ask_with("hello", headers, "\"World\"").await;
        assert_eq!(answer.payload, "\"Hello, World!\"");
    }

    async fn stop(mut self) {
        self.process.signal("-TERM").await;
        assert_eq!(self.process.exit_code().await, Some(0));
    }
}

fn command(arguments: &[&str], variables: &[(&str, &str)]) -> (TempDir, Command) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = hello(directory.path(), arguments);
    command.envs(variables.iter().copied());
    (directory, command)
}

async fn output(variables: &[(&str, &str)]) -> Output {
    let (_directory, mut command) = command(&["serve"], variables);
    within(command.output()).await.unwrap()
}

#[tokio::test]
async fn spans_are_sent_by_either_protocol_and_the_last_at_the_end() {
    for protocol in PROTOCOLS {
        let collector = Collector::start().await;
        let hello = Hello::serve(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=a%20test",
            ),
        ])
        .await;
        hello.ask().await;
        // Nothing is sent by itself for 5 s.
        hello.stop().await;

        let spans = collector.spans();
        assert_eq!(spans.len(), 1, "{protocol}: {spans:#?}");
        assert_eq!(spans[0].name, "process hello");
        assert_eq!(spans[0].trace, TRACE);
        assert_eq!(spans[0].resource["service.name"], "hello");
        assert_eq!(spans[0].resource["service.version"], "0.1.0");
        assert_eq!(spans[0].resource["deployment.environment.name"], "a test");
    }
}

#[tokio::test]
async fn sampling_ratio_of_zero_is_not_overridden_by_the_flag_of_a_caller() {
    let collector = Collector::start().await;
    let hello = Hello::serve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
    ])
    .await;
    hello.ask().await;
    hello.stop().await;
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn collector_that_accepts_nothing_delays_neither_requests_nor_the_stop() {
    // One accepts and is silent, the other is gone.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = [&silent, &gone].map(|at| format!("http://{}", at.local_addr().unwrap()));
    drop(gone);
    for url in urls {
        let hello = Hello::serve(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ])
        .await;
        // Far more than the queue takes.
        for _ in 0..200 {
            hello.ask().await;
        }
        let start = Instant::now();
        hello.stop().await;
        // The drain, and 2 s for the collector.
        assert!(start.elapsed().as_secs() < 6, "{:?}", start.elapsed());
    }
    drop(silent);
}

#[tokio::test]
async fn spans_go_out_once_where_the_answer_to_them_is_too_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let counter = counter.clone();
                async move {
                    request.into_body().collect().await?;
                    counter.fetch_add(1, Ordering::Relaxed);
                    let long = Bytes::from(vec![b' '; 5 << 20]);
                    Ok::<_, hyper::Error>(Response::new(Full::new(long)))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    let hello = Hello::serve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_METRICS_EXPORTER", "none"),
    ])
    .await;
    hello.ask().await;
    hello.stop().await;
    assert_eq!(taken.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn collector_that_is_down_is_logged_once_and_so_is_its_return() {
    let world = World::new().await;
    // It hangs up on everybody: as good as away, and nobody else gets its port meanwhile.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (directory, mut command) = command(
        &["serve"],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ],
    );
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    command
        .env("NATS_URL", world.server.url())
        .stderr(File::create(&log).unwrap());
    let mut process = Lasting::spawn(command);
    process.says("serves hello").await;
    let hello = Hello {
        world,
        process,
        _directory: directory,
    };
    let read = || std::fs::read_to_string(&log).unwrap();

    let failure = format!("the collector at {url}/v1/traces does not take traces");
    let asking = async {
        while !read().contains(&failure) {
            hello.ask().await;
        }
        for _ in 0..100 {
            hello.ask().await;
        }
    };
    let hanging_up = async {
        loop {
            drop(listener.accept().await.unwrap());
        }
    };
    within(async {
        tokio::select! {
            () = asking => {}
            () = hanging_up => {}
        }
    })
    .await;
    let _collector = Collector::on(listener);
    within(async {
        while !read().contains("takes traces again") {
            hello.ask().await;
        }
    })
    .await;
    hello.stop().await;
    let log = read();
    assert_eq!(log.matches("does not take traces").count(), 1, "{log}");
    assert!(!log.contains("ExportError"), "{log}");
}

#[tokio::test]
async fn a_collector_that_speaks_no_otlp_is_nobodys_error() {
    let nonsense = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nonsense.local_addr().unwrap());
    let talking = tokio::spawn(async move {
        loop {
            let (mut stream, _) = nonsense.accept().await.unwrap();
            let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n").await;
        }
    });
    let hello = Hello::serve(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    hello.ask().await;
    hello.stop().await;
    talking.abort();
}

#[tokio::test]
async fn every_wrong_variable_is_named_and_the_exit_code_is_2() {
    let output = output(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost"),
        ("OTEL_TRACES_SAMPLER_ARG", "all"),
        ("HELLO_FOO", "1"),
    ])
    .await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    for name in [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_TRACES_SAMPLER_ARG",
        "HELLO_FOO",
    ] {
        assert!(stderr.contains(name), "{stderr}");
    }
}

#[tokio::test]
async fn what_is_measured_is_sent_with_few_labels() {
    let collector = Collector::start().await;
    let hello = Hello::serve(&[(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        &format!("{}/v1/metrics", collector.url()),
    )])
    .await;
    for _ in 0..3 {
        hello.ask().await;
    }
    hello.world.ask("hello", "no JSON").await;
    hello.stop().await;

    let measured = collector.measured();
    let durations: Vec<_> = measured
        .iter()
        .filter(|one| one.name == "messaging.process.duration")
        .collect();
    let good = json!({
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.destination.template": "hello",
        "natsfn.service": "hello",
        "natsfn.function": "hello",
    });
    let mut bad = good.clone();
    bad["error.type"] = "bad_request".into();
    for (labels, count) in [(good, 3.0), (bad, 1.0)] {
        let labels: Attributes = serde_json::from_value(labels).unwrap();
        let found: Vec<f64> = durations
            .iter()
            .filter(|one| one.labels == labels)
            .map(|one| one.value)
            .collect();
        assert_eq!(found, [count], "{labels:?} among {durations:#?}");
    }
    // Traces were not asked for.
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn spans_dropped_for_lack_of_room_are_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = Collector::start().await;
    let traces = format!("http://{}", silent.local_addr().unwrap());
    let metrics = format!("{}/v1/metrics", collector.url());
    let hello = Hello::serve(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &metrics),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"),
    ])
    .await;
    for _ in 0..100 {
        hello.ask().await;
    }
    hello.stop().await;
    let dropped: f64 = collector
        .measured()
        .iter()
        .filter(|one| one.name == "otel.sdk.processor.span.processed")
        .filter(|one| one.labels.get("error.type") == Some(&"queue_full".into()))
        .map(|one| one.value)
        .sum();
    // One batch is on its way to where it is never taken, and as many wait.
    assert!((68.0..=84.0).contains(&dropped), "{dropped}");
}

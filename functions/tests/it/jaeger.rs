//! A message as the real Jaeger shows it. The suite `cargo xtask test jaeger` brings it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;

use async_nats::{ConnectOptions, HeaderMap, Request};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::http::ask;
use crate::person::read;
use crate::program::Place;
use crate::trace_tree::Tree;
use crate::wait::until;

const SENT: &str = "0af7651916cd43dd8448eb211c80319c";
const READ: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Jaeger {
    _process: Child,
    query: SocketAddr,
    otlp: SocketAddr,
}

impl Jaeger {
    async fn start() -> Self {
        let program = std::env::var_os("JAEGER").expect("run `cargo xtask test jaeger`");
        let ports = [
            "query.http-server",
            "collector.otlp.grpc",
            "query.grpc-server",
            "collector.otlp.http",
            "collector.grpc-server",
            "collector.http-server",
            "admin.http",
        ];
        let free = free(ports.len());
        let arguments = ports
            .iter()
            .zip(&free)
            .map(|(port, at)| format!("--{port}.host-port={at}"));
        let file = format!("{}/../otel/jaeger.yaml", env!("CARGO_MANIFEST_DIR"));
        let process = Command::new(program)
            .args(["--config-file", &file])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let [query, _, _, otlp, ..] = free[..] else {
            unreachable!("there are seven")
        };
        until("Jaeger answers", async || {
            let answer = ask(query, "GET", "/api/services", &[]).await.ok()?;
            answer.status.is_success().then_some(())
        })
        .await;
        Self {
            _process: process,
            query,
            otlp,
        }
    }

    /// A trace, once it has a span with this name.
    async fn trace(&self, id: &str, name: &str) -> Value {
        let path = format!("/api/traces/{id}");
        until("the trace is there", async || {
            let answer = ask(self.query, "GET", &path, &[]).await.ok()?;
            let answer: Value = serde_json::from_slice(&answer.body).ok()?;
            let spans = answer["data"][0]["spans"].as_array()?;
            let found = spans.iter().any(|span| span["operationName"] == name);
            found.then_some(answer)
        })
        .await
    }
}

/// Addresses that are free at the same moment.
pub(crate) fn free(n: usize) -> Vec<SocketAddr> {
    let listeners: Vec<TcpListener> = (0..n)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    let addresses = listeners.iter().map(|one| one.local_addr().unwrap());
    addresses.collect()
}

/// A request of alice's with a trace that her page began.
async fn request(place: &Place, subject: &str, trace: &str, payload: String) {
    let dev = place.addresses();
    let alice = &dev["users"]["alice"];
    let text = |key: &str| alice[key].as_str().unwrap().to_owned();
    let nats = ConnectOptions::with_user_and_password("alice".into(), text("password"))
        .custom_inbox_prefix(text("inbox_prefix"))
        .connect(dev["nats"].as_str().unwrap())
        .await
        .unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    let request = Request::new().headers(headers).payload(payload.into());
    let answer = nats.send_request(subject.to_owned(), request).await;
    read::<Value>(&answer.unwrap()).unwrap();
}

#[tokio::test]
async fn a_message_and_a_page_of_history_are_one_tree_each() {
    let jaeger = Jaeger::start().await;
    let place = Place::new()
        .variable(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{}", jaeger.otlp),
        )
        .variable("OTEL_METRICS_EXPORTER", "none")
        .variable("OTEL_BSP_SCHEDULE_DELAY", "100");
    let dev = place.dev(&[]).await;
    let draft = json!({ "id": "m1", "text": "hello" }).to_string();
    request(&place, "chat.send.general", SENT, draft).await;
    request(&place, "chat.history.general", READ, String::new()).await;
    // The last of what is sent are its ack and the batch around it.
    let sent = jaeger.trace(SENT, "process_batch chat.{room}").await;
    let page = jaeger.trace(READ, "process chat.history.{room}").await;
    assert_eq!(dev.interrupt().await, Some(0));

    let trees = Tree::of(&sent);
    assert_eq!(trees.len(), 1, "{trees:#?}");
    println!("{}", trees[0].lines());
    assert_eq!(
        trees[0].way_to("INSERT messages").unwrap(),
        [
            "process chat.send.{room}",
            "publish chat.{room}",
            "process_batch chat.{room}",
            "INSERT messages",
        ]
    );
    assert!(trees[0].way_to("ack chat.{room}").is_some());
    let pages = Tree::of(&page);
    assert_eq!(pages.len(), 1, "{pages:#?}");
    println!("{}", pages[0].lines());
    assert_eq!(pages[0].name, "process chat.history.{room}");
    assert!(pages[0].way_to("SELECT messages").is_some());
    // What `fixtures/trace.json` was made of.
    let kept = format!("{}/trace.json", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(kept, serde_json::to_vec_pretty(&sent).unwrap()).unwrap();
}

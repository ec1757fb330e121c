//! What tracing costs: hello at 128 in flight, and `persist`'s drain, with tracing off, with one
//! trace in a hundred, and with every trace. All in one run, in turns, each in a process of its own
//! that sends to a collector here; the ratios are what counts.
//!
//! `cargo xtask bench trace`; `TRACE_REQUESTS`, `TRACE_MESSAGES` and `TRACE_ROUNDS` set how many.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::convert::Infallible;
use std::process::Stdio;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use chat::subjects::{CONSUMER, LOG};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use natsfn::server::{Server, ServerConfig};
use natsfn::{Exit, Json, Service};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Names the part of a child.
const PART: &str = "TRACE_PART";

const IN_FLIGHT: usize = 128;

/// Off first: the others are told as a share of it.
const MODES: [(&str, Option<&str>); 3] =
    [("off", None), ("1 %", Some("0.01")), ("100 %", Some("1"))];

fn main() -> Exit {
    match std::env::var(PART).as_deref() {
        Ok("hello") => natsfn::main(|| Service::new("hello", "0.1.0").endpoint("hello", hello)),
        Ok(_) => natsfn::cli::App::new(chat::chat)
            .name("chat", env!("CARGO_PKG_VERSION"))
            .run(),
        Err(_) => measure(),
    }
}

async fn hello(Json(name): Json<String>) -> Json<String> {
    Json(format!("Hello, {name}!"))
}

fn measure() -> Exit {
    // `cargo test --benches` only asks whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return Exit::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = runtime
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(all()));
    match done {
        Ok(()) => Exit::SUCCESS,
        Err(error) => {
            println!("{error}");
            Exit::FAILURE
        }
    }
}

async fn all() -> Result<(), Failure> {
    let rounds = number("TRACE_ROUNDS", 5);
    let database = std::env::var("BENCH_DATABASE_URL")
        .map_err(|_| "BENCH_DATABASE_URL must name an empty database of a PostgreSQL")?;
    let data = tempfile::tempdir()?;
    let server = Server::start(ServerConfig::new(data.path())).await?;
    let collector = collector().await?;
    let nats = async_nats::connect(server.url()).await?;
    let definition = chat_service(App::new(Config::default())).build()?;
    natsfn::setup::setup(&definition, &nats, Some(&database)).await?;
    let world = World {
        nats,
        url: server.url().to_owned(),
        database,
        collector,
    };
    let (mut asked, mut drained) = (Rates::default(), Rates::default());
    for _ in 0..rounds {
        for (at, (_, ratio)) in MODES.iter().enumerate() {
            asked.0[at].push(world.ask(*ratio).await?);
            drained.0[at].push(world.drain(*ratio).await?);
        }
    }
    println!(
        "{:<24} {:>10} {:>10} {:>10}",
        "median /s", "off", "1 %", "100 %"
    );
    asked.print("hello, 128 in flight");
    drained.print("persist, drain");
    Ok(())
}

/// What was measured a second, for each mode.
#[derive(Default)]
struct Rates([Vec<f64>; 3]);

impl Rates {
    fn print(mut self, name: &str) {
        let medians = self.0.each_mut().map(|rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        let [off, some, all] = medians;
        println!("{name:<24} {off:>10.0} {some:>10.0} {all:>10.0}");
        println!(
            "{:<24} {:>10.2} {:>10.2} {:>10.2}",
            "  of off",
            1.0,
            some / off,
            all / off
        );
    }
}

struct World {
    nats: async_nats::Client,
    url: String,
    database: String,
    collector: String,
}

impl World {
    /// Requests a second.
    async fn ask(&self, ratio: Option<&str>) -> Result<f64, Failure> {
        let requests = number("TRACE_REQUESTS", 50_000);
        let mut child = self.child("hello", &["serve"], ratio).await?;
        self.requests(requests / 10).await?;
        let started = Instant::now();
        self.requests(requests).await?;
        let rate = requests as f64 / started.elapsed().as_secs_f64();
        child.kill().await?;
        Ok(rate)
    }

    async fn requests(&self, n: usize) -> Result<(), Failure> {
        futures_util::stream::iter(0..n)
            .map(|_| async {
                let payload = Bytes::from_static(b"\"World\"");
                let asked = self
                    .nats
                    .request_with_headers("hello", traced(), payload)
                    .await;
                asked.map(drop).map_err(Failure::from)
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await
    }

    /// Messages a second, from when the process starts.
    async fn drain(&self, ratio: Option<&str>) -> Result<f64, Failure> {
        let messages = number("TRACE_MESSAGES", 50_000);
        self.fill(messages).await?;
        let started = Instant::now();
        let mut child = self.child("persist", &["serve", "persist"], ratio).await?;
        let client = natsfn::Client::new(self.nats.clone());
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            let info = client.consumer_info(LOG, CONSUMER).await;
            let info = info.map_err(|error| Failure::from(error.to_string()))?;
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                break;
            }
        }
        let rate = messages as f64 / started.elapsed().as_secs_f64();
        child.kill().await?;
        Ok(rate)
    }

    async fn fill(&self, n: usize) -> Result<(), Failure> {
        let context = jetstream::new(self.nats.clone());
        futures_util::stream::iter(0..n)
            .map(|_| {
                let context = context.clone();
                async move {
                    let payload = serde_json::json!({
                        "id": uuid(), "user": "Bench", "uid": "bench", "room": "general",
                        "text": "what somebody says in a room, about so long", "timestamp": 1,
                    });
                    let ack = context
                        .publish_with_headers("chat.general", traced(), payload.to_string().into())
                        .await?;
                    ack.await.map(drop).map_err(Failure::from)
                }
            })
            .buffer_unordered(256)
            .try_collect()
            .await
    }

    /// A process that serves.
    async fn child(
        &self,
        part: &str,
        arguments: &[&str],
        ratio: Option<&str>,
    ) -> Result<Child, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .env(PART, part)
            .env("NATS_URL", &self.url)
            .env("CHAT_DATABASE__URL", &self.database)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if let Some(ratio) = ratio {
            command
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", &self.collector)
                .env("OTEL_METRICS_EXPORTER", "none")
                .env("OTEL_TRACES_SAMPLER", "traceidratio")
                .env("OTEL_TRACES_SAMPLER_ARG", ratio);
        }
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            if line.contains(" serves ") {
                return Ok(child);
            }
        }
        Err(format!("{part} does not serve").into())
    }
}

/// Headers of a trace of its own, as a page sends them.
fn traced() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{}-b7ad6b7169203331-00", uuid()));
    headers
}

/// 32 random hexadecimal digits.
fn uuid() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = || RandomState::new().build_hasher().finish() | 1;
    format!("{:016x}{:016x}", random(), random())
}

/// A collector that takes everything and keeps nothing; its address.
async fn collector() -> Result<String, Failure> {
    async fn take(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
        let _ = request.into_body().collect().await;
        Ok(Response::new(Empty::new()))
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(take)),
            );
        }
    });
    Ok(address)
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

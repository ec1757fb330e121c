//! From the start of a process to its first answer, and its memory while it waits: `hello`, and chat, beside a bare loop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_nats::{Client, Message, Request};
use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use futures_util::StreamExt;
use natsfn::server::{Server, ServerConfig};
use natsfn::{Exit, Json, Service};
use serde_json::Value;
use tokio::process::Command;

use crate::process::{self, Process};
use crate::rounds::{Contestant, Figures, Rounds};
use crate::{Failure, Outcome};

const NAME: &str = "start";

/// How long a process has been idle when its memory is read.
const IDLE: Duration = Duration::from_secs(1);

/// How long an answer may take, of a process that is there.
const ANSWER: Duration = Duration::from_millis(50);

/// What `hello` answers, or who chat says it is, and not an error.
fn is_good(answer: &Message) -> bool {
    let answer = serde_json::from_slice::<Value>(&answer.payload);
    answer.is_ok_and(|it| it == "Hello, World!" || it["name"] == "chat")
}

pub(crate) async fn measure() -> Outcome {
    let data = tempfile::tempdir()?;
    let server = Server::start(ServerConfig::new(data.path().join("nats"))).await?;
    let nats = &async_nats::connect(server.url()).await?;
    let url = server.url();
    let database = format!("sqlite://{}/chat.db?mode=rwc", data.path().display());
    let service = chat_service(App::new(Config::default())).build()?;
    natsfn::setup::setup(&service, &nats.clone().into(), Some(&database)).await?;

    let (chat, database) = (std::env::var_os("CHAT_BIN").map(PathBuf::from), &database);
    let mut contestants = vec![
        Contestant::new("bare async-nats hello", || async move {
            let mut command = process::command(NAME, "bare")?;
            command.env("NATS_URL", url);
            round(nats, command, "hello").await
        }),
        Contestant::new("natsfn hello", || async move {
            let mut command = process::command(NAME, "hello")?;
            command.env("HELLO_NATS__URL", url);
            round(nats, command, "hello").await
        }),
    ];
    match &chat {
        Some(chat) => contestants.push(Contestant::new("chat", move || async move {
            let mut command = Command::new(chat);
            command
                .args(["serve", "send", "persist", "history"])
                // chat would take it for a key of its configuration.
                .env_remove("CHAT_BIN")
                .env("CHAT_NATS__URL", url)
                .env("CHAT_DATABASE__URL", database);
            round(nats, command, "$SRV.PING.chat").await
        })),
        None => eprintln!("chat does not take part: CHAT_BIN names no program"),
    }
    Rounds::new(NAME).scene("start", contestants).await
}

/// Starts a process, waits for its first answer, and ends it.
async fn round(nats: &Client, command: Command, subject: &'static str) -> Outcome<Figures> {
    let program = PathBuf::from(command.as_std().get_program());
    let started = Instant::now();
    let process = Process::spawn(command)?;
    let ask = || {
        // The server may still believe in the process of the round before.
        let request = Request::new().payload("\"World\"".into());
        nats.send_request(subject, request.timeout(Some(ANSWER)))
    };
    while !ask().await.is_ok_and(|answer| is_good(&answer)) {
        if started.elapsed() > Duration::from_secs(20) {
            return Err("no answer within 20 s".into());
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let ready = started.elapsed();
    tokio::time::sleep(IDLE).await;
    let mut figures = vec![
        ("ready ms", ready.as_secs_f64() * 1e3),
        ("idle MiB", process.memory()? as f64 / f64::from(1 << 20)),
    ];
    process.end().await?;
    let size = std::fs::metadata(program)?.len();
    figures.push(("program MiB", size as f64 / f64::from(1 << 20)));
    Ok(figures)
}

/// Runs a contestant.
pub(crate) fn part(part: &str) -> Exit {
    if part == "hello" {
        return natsfn::main(|| Service::new("hello", "0.1.0").endpoint("hello", hello));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = runtime
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(bare()));
    match ended {
        Ok(()) => Exit::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            Exit::FAILURE
        }
    }
}

async fn hello(Json(name): Json<String>) -> Json<String> {
    Json(format!("Hello, {name}!"))
}

async fn bare() -> Outcome {
    let nats = async_nats::connect(std::env::var("NATS_URL")?).await?;
    let mut messages = nats.queue_subscribe("hello", "q".to_owned()).await?;
    while let Some(message) = messages.next().await {
        let name: String = serde_json::from_slice(&message.payload)?;
        let answer = serde_json::to_vec(&hello(Json(name)).await.0)?;
        let reply = message.reply.ok_or("no reply subject")?;
        nats.publish(reply, answer.into()).await?;
    }
    Ok(())
}

//! A request of `hello`, JSON in and out: natsfn beside nats.go micro, `async_nats::service` and two bare loops.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use async_nats::service::ServiceExt;
use async_nats::{Client, Message};
use futures_util::StreamExt;
use natsfn::server::{Server, ServerConfig};
use natsfn::{Exit, Json, Service};

use crate::load::Load;
use crate::process::{self, Process};
use crate::rounds::{Contestant, Rounds, number};
use crate::runner::Runner;
use crate::{Failure, Outcome, summary};

const NAME: &str = "endpoint";

const IN_FLIGHT: [usize; 3] = [1, 16, 128];

/// Which subject a contestant listens on.
const SUBJECT: &str = "BENCH_SUBJECT";

/// The contestants that are not written in Go.
const PARTS: [&str; 4] = [
    "natsfn",
    "async_nats::service",
    "bare loop that spawns",
    "bare loop in place",
];

pub(crate) async fn measure() -> Outcome {
    let data = tempfile::tempdir()?;
    // With the server's own ping interval: the loads are deaf until it is their turn.
    let config =
        ServerConfig::new(data.path()).text("host: $NATS_CONF_HOST\nport: $NATS_CONF_PORT");
    let server = Server::start(config).await?;
    let mut commands = Vec::new();
    // The baseline is first.
    if let Some(program) = go_program()? {
        commands.push(("nats.go micro", tokio::process::Command::new(program)));
    }
    for part in PARTS {
        commands.push((part, process::command(NAME, part)?));
    }
    // They run side by side, and wait unless it is their turn.
    let mut runners = Vec::new();
    for (at, (name, mut command)) in commands.into_iter().enumerate() {
        let subject = format!("hello{at}");
        command.env("NATS_URL", server.url()).env(SUBJECT, &subject);
        let process = Process::spawn(command)?;
        let mut load = Load::connect(server.url(), &subject, "\"World\"", "\"Hello, World!\"")?;
        load.ready().map_err(|error| format!("{name}: {error}"))?;
        runners.push(RefCell::new(Runner {
            name,
            process,
            load,
        }));
    }
    let time = Duration::from_millis(number("BENCH_MILLIS", 1000) as u64);
    let mut rounds = Rounds::new(NAME);
    for in_flight in IN_FLIGHT {
        let contestants = runners.iter().map(|runner| {
            let name = runner.borrow().name;
            Contestant::new(name, move || async move {
                runner.borrow_mut().round(in_flight, time)
            })
        });
        let title = format!("hello, {in_flight} in flight");
        rounds.scene(&title, contestants.collect()).await?;
    }
    Ok(())
}

/// Builds the program in Go; none where there is no Go.
fn go_program() -> Outcome<Option<PathBuf>> {
    let program = summary::directory()?.join("micro");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/micro");
    let built = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .status();
    match built {
        Ok(status) if status.success() => Ok(Some(program)),
        Ok(status) => Err(format!("go build in {source}: {status}").into()),
        Err(error) => {
            eprintln!("nats.go micro does not take part: no go ({error})");
            Ok(None)
        }
    }
}

/// Runs a contestant that is not written in Go.
pub(crate) fn part(part: &str) -> Exit {
    let subject = std::env::var(SUBJECT).unwrap_or_default();
    if part == PARTS[0] {
        return natsfn::main(move || Service::new("hello", "0.1.0").endpoint(&*subject, hello));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            let nats = async_nats::connect(std::env::var("NATS_URL")?).await?;
            match part {
                _ if part == PARTS[1] => service(&nats, subject).await,
                _ if part == PARTS[2] => bare(&nats, subject, true).await,
                _ => bare(&nats, subject, false).await,
            }
        })
    });
    if let Err(error) = ended {
        eprintln!("{part}: {error}");
    }
    Exit::FAILURE
}

async fn hello(Json(name): Json<String>) -> Json<String> {
    Json(format!("Hello, {name}!"))
}

/// What `hello` does, without natsfn.
fn greet(payload: &[u8]) -> Outcome<Vec<u8>> {
    let name: String = serde_json::from_slice(payload)?;
    Ok(serde_json::to_vec(&format!("Hello, {name}!"))?)
}

async fn service(nats: &Client, subject: String) -> Outcome {
    let service = nats.service_builder().start("hello", "0.1.0").await?;
    let mut requests = service.endpoint(subject).await?;
    while let Some(request) = requests.next().await {
        let answer = greet(&request.message.payload)?;
        request.respond(Ok(answer.into())).await?;
    }
    Ok(())
}

async fn bare(nats: &Client, subject: String, spawns: bool) -> Outcome {
    let mut messages = nats.queue_subscribe(subject, "q".to_owned()).await?;
    while let Some(message) = messages.next().await {
        let answer = answer(nats.clone(), message);
        if spawns {
            tokio::spawn(answer);
        } else {
            answer.await?;
        }
    }
    Ok(())
}

async fn answer(nats: Client, message: Message) -> Outcome {
    let answer = greet(&message.payload)?;
    let reply = message.reply.ok_or("no reply subject")?;
    Ok(nats.publish(reply, answer.into()).await?)
}

//! What tracing costs `hello` (128 requests at a time, and one at a time) and `persist` (draining a
//! backlog): with tracing off, with 1 % and 100 % of the traces, and with a collector that is away
//! or never reads. Only the ratios matter.
//!
//! `cargo xtask bench trace`; `TRACE_ROUNDS` sets how many rounds (20; a fifth of them for the
//! drain), `TRACE_MESSAGES` how many messages a drain has (50,000).

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured, and how far it is"
)]

mod asked;
mod child;
mod collector;
mod drained;
mod rates;

use natsfn::server::{Server, ServerConfig};
use natsfn::{Exit, Json, Service};

use crate::collector::{Collector, Mode};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Exit {
    match std::env::var(child::PART).as_deref() {
        Ok(subject) if subject.starts_with(asked::HELLO) => {
            let subject = subject.to_owned();
            natsfn::main(move || Service::new("hello", "0.1.0").endpoint(&*subject, hello))
        }
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
    let rounds = number("TRACE_ROUNDS", 20);
    let data = tempfile::tempdir()?;
    let server = Server::start(ServerConfig::new(data.path())).await?;
    let nats = async_nats::connect(server.url()).await?;
    let collector = Collector::start().await?;
    let modes = Mode::all(&collector);
    asked::measure(&nats, server.url(), &modes, rounds).await?;
    drained::measure(&nats, server.url(), &modes, rounds.div_ceil(5)).await
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

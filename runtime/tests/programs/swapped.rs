//! The service of the tests of `dev --watch`: its configuration makes one program of it or another.

use std::io;
use std::time::Duration;

use natsfn::cli::{App, Plan};
use natsfn::{Background, Consumer, Error, Json, Result, RunError, Service, State, Stream};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// What it answers.
    answer: String,
    /// Why it does not start.
    mistake: Option<String>,
    /// A stream that it makes.
    stream: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            answer: "first".to_owned(),
            mistake: None,
            stream: None,
        }
    }
}

/// Takes a moment, so that an instance that is told to stop has requests in hand.
async fn ask(State(config): State<Config>) -> Json<(String, u32)> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Json((config.answer, std::process::id()))
}

async fn take(_: Json<String>) -> Result<()> {
    Ok(())
}

/// Answers who connects.
async fn door(mut background: Background, config: Config) -> Result<()> {
    let failed = |error: io::Error| Error::unavailable(error.to_string());
    let Some(open) = background.dev_listener() else {
        return Err(Error::internal("it is for dev"));
    };
    let listener = open.listener().map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    loop {
        tokio::select! {
            () = background.stopped() => return Ok(()),
            accepted = listener.accept() => {
                let (mut stream, _) = accepted.map_err(failed)?;
                stream.write_all(config.answer.as_bytes()).await.map_err(failed)?;
            }
        }
    }
}

async fn swapped(config: Config) -> Result<Service<Config>, RunError> {
    if let Some(mistake) = config.mistake {
        return Err(RunError::misuse([mistake]));
    }
    let stream = config.stream.clone();
    let service = Service::new("swapped", "1.0.0")
        .state(config)
        .endpoint("ask", ask)
        .task("door", door);
    Ok(match stream {
        Some(name) => {
            let subject = name.to_lowercase();
            service.consumer(Consumer::new("take", Stream::new(name, [subject])), take)
        }
        None => service,
    })
}

fn main() -> natsfn::Exit {
    App::new(swapped)
        .name("swapped", "1.0.0")
        .dev(|dev| Ok(Plan::new(dev.server()).listener(dev.listener("door")?)))
        .run()
}

//! `persist` in each tracing mode, from the start of its process until the whole log is stored.

use std::time::{Duration, Instant};

use async_nats::{Client, jetstream};
use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use chat::subjects::{CONSUMER, LOG};
use futures_util::{StreamExt, TryStreamExt};

use crate::asked::{hexadecimal, traced};
use crate::collector::Mode;
use crate::rates::Rates;
use crate::{Failure, child, number};

pub(crate) async fn measure(
    nats: &Client,
    url: &str,
    modes: &[Mode],
    rounds: usize,
) -> Result<(), Failure> {
    let messages = number("TRACE_MESSAGES", 50_000);
    let database = std::env::var("BENCH_DATABASE_URL")
        .map_err(|_| "BENCH_DATABASE_URL must name an empty PostgreSQL database")?;
    let definition = chat_service(App::new(Config::default())).build()?;
    natsfn::setup::setup(&definition, &nats.clone().into(), Some(&database)).await?;
    let mut rates = Rates::new("persist, drain, messages/s");
    for round in 1..=rounds {
        eprintln!("persist: round {round} of {rounds}");
        let mut figures = Vec::new();
        for mode in modes {
            fill(nats, messages).await?;
            figures.push(drain(nats, url, mode, messages).await?);
        }
        rates.push(figures);
    }
    rates.print(modes);
    Ok(())
}

/// Messages a second.
async fn drain(nats: &Client, url: &str, mode: &Mode, messages: usize) -> Result<f64, Failure> {
    let started = Instant::now();
    let mut child = child::start("persist", &["serve", "persist"], url, mode).await?;
    let client = natsfn::Client::new(nats.clone());
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

async fn fill(nats: &Client, messages: usize) -> Result<(), Failure> {
    let context = jetstream::new(nats.clone());
    futures_util::stream::iter(0..messages)
        .map(|_| {
            let context = context.clone();
            async move {
                let payload = serde_json::json!({
                    "id": hexadecimal(), "user": "Bench", "uid": "bench", "room": "general",
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

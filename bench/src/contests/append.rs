//! Appends to a stream from many callers at once: natsfn beside plain publishes and atomic batches by hand.

use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, jetstream};
use natsfn::Exit;
use natsfn::server::{Server, ServerConfig};
use tempfile::TempDir;

use crate::Outcome;
use crate::rounds::{Contestant, Figures, Rounds, number};

const NAME: &str = "append";

/// When the server syncs what it has written: before it acknowledges, as chat's does, and as it does by itself.
const SYNC: [&str; 2] = ["always", "2m"];
const IN_FLIGHT: [usize; 5] = [1, 16, 64, 256, 1000];

const SUBJECT: &str = "log.a";
const PAYLOAD: [u8; 200] = [b'x'; 200];

pub(crate) async fn measure() -> Outcome {
    let time = Duration::from_millis(number("BENCH_MILLIS", 1000) as u64);
    let mut rounds = Rounds::new(NAME);
    for sync in SYNC {
        let (server, _data) = server(sync).await?;
        let nats = async_nats::connect(server.url()).await?;
        let natsfn = natsfn::Client::new(nats.clone());
        for in_flight in IN_FLIGHT {
            let plain = || callers(&nats, in_flight, time, publish);
            let gathered = || {
                let natsfn = natsfn.clone();
                callers(&nats, in_flight, time, move |_, id| {
                    append(natsfn.clone(), id)
                })
            };
            let contestants = vec![
                Contestant::new("async_nats publish", plain),
                Contestant::new("natsfn append", gathered),
                Contestant::new("atomic batches by hand", || by_hand(&nats, in_flight, time)),
            ];
            let title = format!("sync_interval {sync}, {in_flight} in flight");
            rounds.scene(&title, contestants).await?;
        }
    }
    Ok(())
}

/// It has no other processes.
pub(crate) fn part(_: &str) -> Exit {
    Exit::FAILURE
}

async fn server(sync: &str) -> Outcome<(Server, TempDir)> {
    let data = tempfile::tempdir()?;
    let text = format!(
        "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
         jetstream {{ store_dir: $NATS_CONF_STORE_DIR, sync_interval: {sync} }}"
    );
    let server = Server::start(ServerConfig::new(data.path()).text(text)).await?;
    let nats = async_nats::connect(server.url()).await?;
    let log = jetstream::stream::Config {
        name: "LOG".to_owned(),
        subjects: vec!["log.>".to_owned()],
        allow_atomic_publish: true,
        ..jetstream::stream::Config::default()
    };
    jetstream::new(nats).create_stream(log).await?;
    Ok((server, data))
}

/// So many callers, each of which appends one message after the other.
async fn callers<F: Future<Output = Outcome> + Send + 'static>(
    nats: &Client,
    in_flight: usize,
    time: Duration,
    append: impl Fn(jetstream::Context, String) -> F + Clone + Send + 'static,
) -> Outcome<Figures> {
    let start = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (jetstream, append) = (jetstream::new(nats.clone()), append.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < time {
                    let sent = Instant::now();
                    append(jetstream.clone(), id()).await?;
                    latencies.push(sent.elapsed());
                }
                Outcome::Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await??);
    }
    let took = start.elapsed();
    purge(nats).await?;
    Ok(figures(latencies.len(), took, latencies))
}

async fn publish(jetstream: jetstream::Context, id: String) -> Outcome {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let payload = PAYLOAD.to_vec().into();
    let ack = jetstream.publish_with_headers(SUBJECT, headers, payload);
    ack.await?.await?;
    Ok(())
}

async fn append(natsfn: natsfn::Client, id: String) -> Outcome {
    let payload = PAYLOAD.to_vec().into();
    let appended = natsfn.append(SUBJECT, Some(&id), HeaderMap::new(), payload);
    appended.await.map_err(|error| error.to_string())?;
    Ok(())
}

/// One batch after the other, each of so many messages: what gathering could reach.
async fn by_hand(nats: &Client, size: usize, time: Duration) -> Outcome<Figures> {
    let start = Instant::now();
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        let (sent, batch) = (Instant::now(), id());
        for n in 1..=size {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", id());
            headers.insert("Nats-Batch-Id", &*batch);
            headers.insert("Nats-Batch-Sequence", n.to_string());
            let payload = PAYLOAD.to_vec().into();
            if n < size {
                nats.publish_with_headers(SUBJECT, headers, payload).await?;
                continue;
            }
            headers.insert("Nats-Batch-Commit", "1");
            let answer = nats.request_with_headers(SUBJECT, headers, payload).await?;
            let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
            if answer["count"] != size {
                return Err(answer.to_string().into());
            }
        }
        latencies.push(sent.elapsed());
    }
    let took = start.elapsed();
    purge(nats).await?;
    Ok(figures(latencies.len() * size, took, latencies))
}

fn id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

async fn purge(nats: &Client) -> Outcome {
    let log = jetstream::new(nats.clone()).get_stream("LOG").await?;
    log.purge().await?;
    Ok(())
}

fn figures(count: usize, took: Duration, mut latencies: Vec<Duration>) -> Figures {
    latencies.sort();
    let latency = |share: f64| {
        let at = (latencies.len() as f64 * share) as usize;
        let latency = latencies.get(at.min(latencies.len().saturating_sub(1)));
        latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    };
    vec![
        ("messages/s", count as f64 / took.as_secs_f64()),
        ("p50 us", latency(0.5)),
        ("p99 us", latency(0.99)),
    ]
}

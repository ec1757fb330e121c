//! Appends to a stream from many callers at once: natsfn beside plain publishes and atomic batches by hand.

use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, jetstream};
use natsfn::server::{Server, ServerConfig};
use natsfn::{Service, Stream};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::Outcome;
use crate::callers::{callers, emptied, figures, id, publish};
use crate::rounds::{Contestant, Figures, Rounds, number};

/// When the server syncs what it has written: before it acknowledges, as chat's does, and as it does by itself.
const SYNC: [&str; 2] = ["always", "2m"];
const IN_FLIGHT: [usize; 5] = [1, 16, 64, 256, 1000];

const SUBJECT: &str = "log.a";
const PAYLOAD: [u8; 200] = [b'x'; 200];

pub(crate) async fn measure() -> Outcome {
    let time = Duration::from_millis(number("BENCH_MILLIS", 1000) as u64);
    let mut rounds = Rounds::new("append");
    for sync in SYNC {
        let (server, _data) = server(sync).await?;
        let nats = async_nats::connect(server.url()).await?;
        let natsfn = client(&nats).await?;
        let jetstream = &jetstream::new(nats.clone());
        for in_flight in IN_FLIGHT {
            let plain = || {
                let own = jetstream.clone();
                let publish = move |id| publish(own.clone(), SUBJECT, id, PAYLOAD.to_vec().into());
                emptied(jetstream, "LOG", callers(in_flight, time, publish))
            };
            let appends = |has_id: bool| {
                let natsfn = natsfn.clone();
                let append = move |id| append(natsfn.clone(), has_id.then_some(id));
                emptied(jetstream, "LOG", callers(in_flight, time, append))
            };
            let contestants = vec![
                Contestant::new("async_nats publish", plain),
                Contestant::new("natsfn append without ids", || appends(false)),
                Contestant::new("natsfn append", || appends(true)),
                Contestant::new("atomic batches by hand", || {
                    emptied(jetstream, "LOG", by_hand(&nats, in_flight, time))
                }),
            ];
            let title = format!("sync_interval {sync}, {in_flight} in flight");
            rounds.scene(&title, contestants).await?;
        }
    }
    Ok(())
}

async fn server(sync: &str) -> Outcome<(Server, TempDir)> {
    let data = tempfile::tempdir()?;
    let text = format!(
        "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
         jetstream {{ store_dir: $NATS_CONF_STORE_DIR, sync_interval: {sync} }}"
    );
    let server = Server::start(ServerConfig::new(data.path()).text(text)).await?;
    Ok((server, data))
}

/// What a function has of a service that declares the stream.
async fn client(nats: &Client) -> Outcome<natsfn::Client> {
    let (told, mut clients) = mpsc::unbounded_channel();
    let log = Stream::new("LOG", ["log.>"]).atomic_appends();
    let service = Service::new("append", "1.0.0").stream(log);
    let service = service.task("append", move |background, ()| {
        let _ = told.send(background.client().clone());
        async { Ok(()) }
    });
    let service = service.build()?;
    natsfn::setup::setup(&service, &nats.clone().into(), None).await?;
    let _running = natsfn::start(service, nats.clone(), None).await?;
    clients.recv().await.ok_or("the service has ended".into())
}

async fn append(natsfn: natsfn::Client, id: Option<String>) -> Outcome {
    let payload = PAYLOAD.to_vec().into();
    let appended = natsfn.append(SUBJECT, id.as_deref(), HeaderMap::new(), payload);
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
    Ok(figures(latencies.len() * size, took, latencies))
}

//! How fast `persist` drains a backlog, compared with the plain loop: one message, one INSERT, one
//! ack. Both run on the same server and databases.
//!
//! `cargo xtask bench drain`; `DRAIN_MESSAGES` and `DRAIN_PLAIN` set the numbers of messages.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::{Duration, Instant};

use async_nats::jetstream;
use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use chat::message::logged::Logged;
use chat::store::entity::messages;
use chat::store::epoch::life_of;
use chat::subjects::{CONSUMER, LOG};
use futures_util::{StreamExt, TryStreamExt};
use natsfn::server::{Server, ServerConfig};
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, EntityTrait, Statement,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // `cargo test --benches` only checks that it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let messages = number("DRAIN_MESSAGES", 100_000);
    let plain = number("DRAIN_PLAIN", 5_000);
    println!(
        "{:<12} {:>14} {:>14} {:>8}",
        "database", "persist /s", "one by one /s", "ratio"
    );
    let directory = tempfile::tempdir()?;
    let sqlite = format!("sqlite://{}/chat.db?mode=rwc", directory.path().display());
    run("SQLite", &sqlite, messages, plain).await?;
    let server = std::env::var("BENCH_DATABASE_URL")
        .map_err(|_| "BENCH_DATABASE_URL must name an empty PostgreSQL database")?;
    run("PostgreSQL", &server, messages, plain).await
}

async fn run(name: &str, url: &str, messages: usize, plain: usize) -> Result<(), Failure> {
    let data = tempfile::tempdir()?;
    let server = Server::start(ServerConfig::new(data.path())).await?;
    let nats = async_nats::connect(server.url()).await?;
    let service = || chat_service(App::new(Config::default())).build();
    natsfn::setup::setup(&service()?, &nats, Some(url)).await?;

    fill(&nats, plain).await?;
    let db = Database::connect(ConnectOptions::new(url)).await?;
    let started = Instant::now();
    one_by_one(&nats, &db, plain).await?;
    let slow = plain as f64 / started.elapsed().as_secs_f64();

    fill(&nats, messages).await?;
    let started = Instant::now();
    let running = natsfn::start(
        service()?.only(&["persist".into()])?,
        nats.clone(),
        Some(url),
    )
    .await?;
    drained(&nats).await?;
    let fast = messages as f64 / started.elapsed().as_secs_f64();
    running.stop(Duration::from_secs(10)).await;
    let backend = db.get_database_backend();
    let count = Statement::from_string(backend, "SELECT count(*) AS n FROM messages");
    let row = db.query_one_raw(count).await?.ok_or("no count")?;
    let stored: i64 = row.try_get("", "n")?;
    if stored != i64::try_from(messages + plain)? {
        return Err(format!("{stored} rows of {}", messages + plain).into());
    }
    println!("{name:<12} {fast:>14.0} {slow:>14.0} {:>8.1}", fast / slow);
    Ok(())
}

/// Publishes messages in the form that `send` writes, many at once.
async fn fill(nats: &async_nats::Client, n: usize) -> Result<(), Failure> {
    let context = jetstream::new(nats.clone());
    let run = nuid();
    futures_util::stream::iter(0..n)
        .map(|i| {
            let (context, run) = (context.clone(), run.clone());
            async move {
                let room = ["general", "random", "help"][i % 3];
                let payload = serde_json::json!({
                    "id": format!("{run}-{i}"), "user": "Bench", "uid": "bench", "room": room,
                    "text": format!("message {i}: what somebody says in a room, about so long"),
                    "timestamp": 1_700_000_000_000_i64 + i as i64,
                });
                let ack = context
                    .publish(format!("chat.{room}"), payload.to_string().into())
                    .await?;
                ack.await.map(drop).map_err(Failure::from)
            }
        })
        .buffer_unordered(256)
        .try_collect::<()>()
        .await
}

fn nuid() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_nanos().to_string()
}

/// The plain loop, on the same consumer as `persist`.
async fn one_by_one(
    nats: &async_nats::Client,
    db: &DatabaseConnection,
    n: usize,
) -> Result<(), Failure> {
    let context = jetstream::new(nats.clone());
    let created = natsfn::Client::new(nats.clone())
        .stream_info(LOG)
        .await
        .map_err(plain)?
        .created_ns();
    let life = life_of(db, LOG, created).await?;
    let consumer: jetstream::consumer::PullConsumer =
        context.get_consumer_from_stream(CONSUMER, LOG).await?;
    let mut deliveries = consumer
        .stream()
        .max_messages_per_batch(500)
        .messages()
        .await?
        .take(n);
    while let Some(message) = deliveries.next().await {
        let message = message?;
        let info = message.info()?;
        let seq = info.stream_sequence;
        let logged = Logged {
            unreadable: None,
            subject: &message.subject,
            message_id: None,
            origin: (seq, 0),
            time_ns: i64::MAX / 2,
            payload: &message.payload,
        };
        let said = logged.message()?;
        messages::Entity::insert(messages::ActiveModel {
            epoch: Set(life.newest().id),
            seq: Set(seq.cast_signed()),
            realm: Set(said.realm),
            room: Set(said.room),
            uid: Set(said.uid),
            username: Set(said.user),
            msg_id: Set(said.id),
            text: Set(said.text),
            timestamp: Set(said.timestamp),
            created_at: Set(said.timestamp),
        })
        .exec_without_returning(db)
        .await?;
        message.ack().await?;
    }
    Ok(())
}

/// Returns when nothing is left to deliver or to acknowledge.
async fn drained(nats: &async_nats::Client) -> Result<(), Failure> {
    let client = natsfn::Client::new(nats.clone());
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        tick.tick().await;
        let info = client.consumer_info(LOG, CONSUMER).await.map_err(plain)?;
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(());
        }
    }
}

fn plain(error: natsfn::Error) -> Failure {
    error.to_string().into()
}

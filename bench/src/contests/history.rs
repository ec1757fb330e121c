//! The 50 newest messages of one of 50 rooms, as a person asks for them: chat's `history` beside a service that
//! does one SELECT, with more and more rows, and while messages arrive.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use chat::app::App;
use chat::config::Config;
use chat::history::question::Question;
use chat::store::epoch::life_of;
use chat::store::rows::{self, Cursor, Position};
use chat::subjects::LOG;
use migrations::Migrator;
use natsfn::server::{Server, ServerConfig};
use natsfn::{Db, Endpoint, Exit, HeaderMap, Response, Result, Service};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::Outcome;
use crate::contests::send::send;
use crate::load::Load;
use crate::process::{self, Process};
use crate::rounds::{Contestant, Rounds, number};
use crate::runner::Runner;

const NAME: &str = "history";

const ROOMS: usize = 50;

/// Where much is written.
const BUSY: &str = "room0";

const IN_FLIGHT: [usize; 3] = [1, 16, 128];

/// Messages a second that arrive in one room.
const ARRIVING: [u64; 2] = [1_000, 3_000];

/// chat's accounts: people reach its services by import alone. Everybody's password is the name.
const SERVER: &str = r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
http_port: $NATS_CONF_MONITOR_PORT
jetstream { store_dir: $NATS_CONF_STORE_DIR, sync_interval: always }
accounts {
  CHAT {
    jetstream: enabled
    users: [{ user: chat, password: chat }]
    exports: [
      { service: "chat.history.*", accounts: [PEOPLE] }
      { service: "chat.plain.*", accounts: [PEOPLE] }
    ]
  }
  PEOPLE {
    users: [{ user: alice, password: alice }]
    imports: [
      { service: { account: CHAT, subject: "chat.history.*" }, share: true }
      { service: { account: CHAT, subject: "chat.plain.*" }, share: true }
    ]
  }
}
"#;

pub(crate) async fn measure() -> Outcome {
    let data = tempfile::tempdir()?;
    let server = Server::start(ServerConfig::new(data.path()).text(SERVER)).await?;
    let url = std::env::var("BENCH_DATABASE_URL")?;
    let database = Database::connect(&url).await?;
    database
        .execute_unprepared("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await?;
    let chat = ConnectOptions::with_user_and_password("chat".into(), "chat".into());
    let chat = chat.connect(server.url()).await?;
    let definition = service().build()?;
    natsfn::setup::setup(&definition, &chat.clone().into(), Some(&url)).await?;
    let most = number("BENCH_ROWS", 1_000_000) as u64;
    let created = log(&chat, most + 1)
        .await
        .map_err(|error| error.to_string())?;
    let epoch = life_of(&database, LOG, created).await?.newest().id;

    let mut filled = 0;
    let mut rounds = Rounds::new(NAME);
    let start = |part: &str| -> Outcome<Process> {
        let mut command = process::command(NAME, part)?;
        if part != "plain" {
            command.arg(part);
        }
        for service in ["CHAT", "PLAIN"] {
            command
                .env(format!("{service}_NATS__URL"), server.url())
                .env(format!("{service}_NATS__USER"), "chat")
                .env(format!("{service}_NATS__PASSWORD"), "chat")
                .env(format!("{service}_DATABASE__URL"), &url);
        }
        Process::spawn(command)
    };
    let runner = |name: &'static str, subject: &str| -> Outcome<RefCell<Runner>> {
        let process = start(name)?;
        let subjects = (0..ROOMS).map(|room| format!("{subject}.room{room}"));
        let mut load = Load::connect_as("alice", server.url(), subjects.collect())?;
        load.ready().map_err(|error| format!("{name}: {error}"))?;
        Ok(RefCell::new(Runner {
            name,
            process,
            load,
        }))
    };
    let mut rows = 10_000;
    let mut runners = Vec::new();
    loop {
        fill(&database, epoch, most, filled, rows.min(most)).await?;
        filled = rows.min(most);
        if runners.is_empty() {
            runners = vec![
                runner("plain", "chat.plain")?,
                runner("history", "chat.history")?,
            ];
        }
        for in_flight in IN_FLIGHT {
            let title = format!("history, {filled} rows, {in_flight} in flight");
            rounds
                .scene(&title, contestants(&runners, in_flight))
                .await?;
        }
        if filled == most {
            break;
        }
        rows *= 10;
    }
    let _persist = start("persist")?;
    let send = service().build()?.only(&["send".into()])?;
    let _send = natsfn::start(send, chat.clone(), None).await?;
    for a_second in ARRIVING {
        let arriving = arrive(&chat, a_second);
        for in_flight in [16, 128] {
            let title =
                format!("history, {a_second} messages/s in one room, {in_flight} in flight");
            rounds
                .scene(&title, contestants(&runners, in_flight))
                .await?;
        }
        arriving.abort();
    }
    Ok(())
}

fn contestants(runners: &[RefCell<Runner>], in_flight: usize) -> Vec<Contestant<'_>> {
    let time = Duration::from_millis(number("BENCH_MILLIS", 1000) as u64);
    let contestants = runners.iter().map(|runner| {
        let name = runner.borrow().name;
        Contestant::new(name, move || async move {
            tokio::task::block_in_place(|| runner.borrow_mut().round(in_flight, time))
        })
    });
    contestants.collect()
}

/// Lets the log begin at a sequence, as after its trimming, with one message. Returns when it was created.
async fn log(chat: &Client, first: u64) -> Result<i64> {
    let client = natsfn::Client::new(chat.clone());
    client.purge_below(LOG, first).await?;
    client
        .append("chat.other", None, HeaderMap::new(), message())
        .await?;
    Ok(client.stream_info(LOG).await?.created_ns())
}

/// Inserts rows so that there are `upto`, the newest at the end of the log.
async fn fill(
    database: &DatabaseConnection,
    epoch: i64,
    end: u64,
    from: u64,
    upto: u64,
) -> Outcome {
    let insert = format!(
        "INSERT INTO messages (epoch, seq, realm, room, uid, username, msg_id, text, timestamp, created_at)
         SELECT {epoch}, {end} - n, 'chat', 'room' || n % {ROOMS}, 'alice', 'Alice', n::text,
                repeat('hello ', 8) || n, 1700000000000, 1700000000000
         FROM generate_series({from}, {upto} - 1) AS n"
    );
    database.execute_unprepared(&insert).await?;
    database
        .execute_unprepared("VACUUM ANALYZE messages")
        .await?;
    Ok(())
}

/// Sends messages to one room, so many a second, until it is aborted.
fn arrive(chat: &Client, a_second: u64) -> AbortHandle {
    let chat = chat.clone();
    let task = tokio::spawn(async move {
        let in_flight = Arc::new(Semaphore::new(1_000));
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let mut n = 0_u64;
        loop {
            tick.tick().await;
            for _ in 0..a_second / 100 {
                let Ok(turn) = in_flight.clone().try_acquire_owned() else {
                    continue;
                };
                let chat = chat.clone();
                n += 1;
                tokio::spawn(async move {
                    let _turn = turn;
                    let _ = send(chat, BUSY, format!("{a_second}-{n}")).await;
                });
            }
        }
    });
    task.abort_handle()
}

fn message() -> Bytes {
    json!({ "user": "Alice", "text": "hello ".repeat(8), "timestamp": 1 })
        .to_string()
        .into()
}

/// chat without limits on what one person may ask.
fn service() -> Service<App> {
    let mut config = Config::default();
    (config.send.rate, config.send.burst) = (1e6, 1_000_000);
    (config.history.rate, config.history.burst) = (1e6, 1_000_000);
    config.history.in_flight = 1_000_000;
    chat::chat_service(App::new(config))
}

/// One SELECT.
async fn plain(db: Db, Question { place, limit, .. }: Question) -> Result<Response> {
    let newest = Position {
        epoch: i64::MAX,
        seq: 0,
    };
    let rows = rows::page(&db, place.realm, &place.room, Cursor::Last, newest, limit).await?;
    Response::json(&rows)
}

pub(crate) fn part(part: &str) -> Exit {
    match part {
        "plain" => natsfn::main(|| {
            Service::new("plain", "0.1.0")
                .database::<Migrator>()
                .endpoint(Endpoint::new("history", "chat.plain.{room}"), plain)
        }),
        _ => natsfn::main(service),
    }
}

//! What is left of 20,000 messages when `persist` is killed 20 times and nats-server twice while
//! they are sent: the ledger of the senders against the table, on SQLite and on PostgreSQL.
//!
//! `cargo xtask bench ledger`; `LEDGER_MESSAGES` sets how many.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Request};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const WRITERS: usize = 8;
const PERSIST_KILLS: usize = 20;
const SERVER_KILLS: usize = 2;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // `cargo test --benches` only asks whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let messages = std::env::var("LEDGER_MESSAGES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20_000);
    let postgres = std::env::var("BENCH_DATABASE_URL")
        .map_err(|_| "BENCH_DATABASE_URL must name an empty database of a PostgreSQL")?;
    println!(
        "{:<11} {:>6} {:>6} {:>8} {:>8} {:>10} {:>5} {:>8} {:>8} {:>7}",
        "database",
        "sent",
        "acked",
        "retries",
        "stored",
        "duplicates",
        "lost",
        "phantoms",
        "kills",
        "seconds"
    );
    run("SQLite", None, messages).await?;
    run("PostgreSQL", Some(&postgres), messages).await
}

/// What the senders know.
#[derive(Default)]
struct Ledger {
    acked: Mutex<BTreeSet<String>>,
    sent: Mutex<BTreeSet<String>>,
    retries: AtomicUsize,
    file: Mutex<Option<File>>,
}

impl Ledger {
    fn note(&self, line: &Value) -> Result<(), Failure> {
        let mut file = self.file.lock().map_err(|_| "a writer panicked")?;
        writeln!(file.as_mut().ok_or("no ledger file")?, "{line}").map_err(Into::into)
    }
}

async fn run(name: &str, database: Option<&str>, messages: usize) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let mut dev = Process::start(
        Command::new(env!("CARGO_BIN_EXE_chat"))
            .args(["dev", "--port", "0", "--without", "persist", "--data"])
            .arg(&data)
            .envs(database.map(|url| ("DATABASE_URL", url))),
        &directory.path().join("dev.log"),
    )?;
    let addresses = addresses(&data, &mut dev).await?;
    let mut persist = serve_persist(&data, directory.path())?;

    let ledger = Arc::new(Ledger::default());
    *ledger.file.lock().map_err(|_| "poisoned")? =
        Some(File::create(directory.path().join("ledger"))?);
    let nats = connect(&addresses).await?;
    let started = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            tokio::spawn(write(
                writer,
                messages / WRITERS,
                nats.clone(),
                ledger.clone(),
            ))
        })
        .collect();

    let total = messages / WRITERS * WRITERS;
    let mut killed = (0, 0);
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        tick.tick().await;
        let acked = ledger.acked.lock().map_err(|_| "a writer panicked")?.len();
        if killed.0 < PERSIST_KILLS && acked > total * (killed.0 + 1) / (PERSIST_KILLS + 2) {
            drop(persist);
            persist = serve_persist(&data, directory.path())?;
            killed.0 += 1;
        }
        if killed.1 < SERVER_KILLS && acked > total * (killed.1 + 1) / (SERVER_KILLS + 1) {
            kill_server(&data)?;
            killed.1 += 1;
        }
    }
    for writer in writers {
        writer.await??;
    }

    let url = addresses["database"]
        .as_str()
        .ok_or("dev.json names no database")?;
    let db = Database::connect(url).await?;
    let acked = ledger.acked.lock().map_err(|_| "poisoned")?.clone();
    let sent = ledger.sent.lock().map_err(|_| "poisoned")?.clone();
    let (rows, ids) = settled(&db, acked.len()).await?;
    let lost = acked.difference(&ids).count();
    let phantoms = ids.difference(&sent).count();
    println!(
        "{name:<11} {:>6} {:>6} {:>8} {:>8} {:>10} {lost:>5} {phantoms:>8} {:>8} {:>7.1}",
        sent.len(),
        acked.len(),
        ledger.retries.load(Relaxed),
        rows,
        rows - ids.len(),
        format!("{}+{}", killed.0, killed.1),
        started.elapsed().as_secs_f64()
    );
    if lost + phantoms + rows - ids.len() > 0 {
        return Err(format!(
            "the promise is broken; the ledger is {}",
            directory.keep().display()
        )
        .into());
    }
    Ok(())
}

/// One writer: the next message only when the last is acknowledged, a repeat under the same id.
async fn write(writer: usize, n: usize, nats: Client, ledger: Arc<Ledger>) -> Result<(), Failure> {
    for i in 0..n {
        let id = format!("w{writer}-{i}");
        let room = ["general", "random", "help"][i % 3];
        let draft =
            json!({ "id": id, "text": format!("message {i} of writer {writer}") }).to_string();
        ledger.note(&json!({ "sent": id, "room": room }))?;
        ledger
            .sent
            .lock()
            .map_err(|_| "poisoned")?
            .insert(id.clone());
        loop {
            let request = Request::new()
                .payload(draft.clone().into())
                .timeout(Some(Duration::from_secs(2)));
            let answer = nats
                .send_request(format!("chat.send.{room}"), request)
                .await;
            let body: Option<Value> = answer
                .ok()
                .and_then(|answer| serde_json::from_slice(&answer.payload).ok());
            if let Some(seq) = body
                .as_ref()
                .and_then(|body| body["seq"].as_u64().filter(|_| body["code"].is_null()))
            {
                ledger.note(&json!({ "acked": id, "seq": seq }))?;
                ledger.acked.lock().map_err(|_| "poisoned")?.insert(id);
                break;
            }
            ledger.note(&json!({ "unknown": id, "answer": body }))?;
            ledger.retries.fetch_add(1, Relaxed);
            // Nobody answers at once while a server is away; a person would not hammer either.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

async fn connect(addresses: &Value) -> Result<Client, Failure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alice = &addresses["users"]["alice"];
    let options = ConnectOptions::with_user_and_password("alice".into(), text(&alice["password"]))
        .custom_inbox_prefix(text(&alice["inbox_prefix"]))
        .reconnect_delay_callback(|_| Duration::from_millis(50));
    Ok(options.connect(text(&addresses["nats"])).await?)
}

/// The rows and their ids, once there are as many as were acknowledged, or after 30 s.
async fn settled(
    db: &DatabaseConnection,
    acked: usize,
) -> Result<(usize, BTreeSet<String>), Failure> {
    let until = Instant::now() + Duration::from_secs(30);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        let all = Statement::from_string(db.get_database_backend(), "SELECT msg_id FROM messages");
        let rows = db.query_all_raw(all).await?;
        if rows.len() >= acked || Instant::now() > until {
            let ids = rows
                .iter()
                .map(|row| row.try_get("", "msg_id"))
                .collect::<Result<_, _>>()?;
            return Ok((rows.len(), ids));
        }
    }
}

fn serve_persist(data: &Path, logs: &Path) -> Result<Process, Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command
        .arg("--config")
        .arg(data.join("chat.toml"))
        .args(["serve", "persist"]);
    Process::start(&mut command, &logs.join("persist.log"))
}

fn kill_server(data: &Path) -> Result<(), Failure> {
    let pid = std::fs::read_to_string(data.join("nats-server.pid"))?;
    Command::new("kill").args(["-9", pid.trim()]).status()?;
    Ok(())
}

async fn addresses(data: &Path, dev: &mut Process) -> Result<Value, Failure> {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        if let Ok(text) = std::fs::read_to_string(data.join("dev.json")) {
            return Ok(serde_json::from_str(&text)?);
        }
        if dev.child.try_wait()?.is_some() {
            return Err(std::fs::read_to_string(&dev.log)?.into());
        }
    }
}

/// A process that is killed, as with `kill -9`, when this is dropped.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .env("CHAT_SEND__RATE", "1000000")
            .env("CHAT_SEND__BURST", "1000000")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

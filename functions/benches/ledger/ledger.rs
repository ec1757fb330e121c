//! What the senders sent and what was acknowledged, kept outside chat and compared with the table.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, Request};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Failure;

/// Senders that write at the same time.
pub(crate) const WRITERS: usize = 8;

/// Time limit, after the last fault, for all acknowledged messages to be in the table.
const SETTLES: Duration = Duration::from_secs(30);

/// What was sent, acknowledged, and answered otherwise.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Books>);

struct Books {
    acked: Mutex<HashSet<String>>,
    sent: Mutex<HashSet<String>>,
    /// How long each acknowledged send took, its retries included.
    took: Mutex<Vec<Duration>>,
    retries: AtomicUsize,
    enough: AtomicBool,
    file: Mutex<File>,
}

impl Ledger {
    pub(crate) fn open(file: &Path) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Books {
            acked: Mutex::default(),
            sent: Mutex::default(),
            took: Mutex::default(),
            retries: AtomicUsize::new(0),
            enough: AtomicBool::new(false),
            file: Mutex::new(File::create(file)?),
        })))
    }

    /// Starts the senders. Each sends `each` messages, or until [`Writers::stop`].
    pub(crate) fn write(&self, nats: &Client, each: usize) -> Writers {
        self.write_slowly(nats, each, Duration::ZERO)
    }

    /// As [`Self::write`], with a pause after every message.
    pub(crate) fn write_slowly(&self, nats: &Client, each: usize, pause: Duration) -> Writers {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(writer, each, pause, nats.clone(), self.clone()));
        }
        Writers(writers)
    }

    pub(crate) fn acked(&self) -> usize {
        lock(&self.0.acked).len()
    }

    pub(crate) fn retries(&self) -> usize {
        self.0.retries.load(Relaxed)
    }

    /// Notes a message that the log has acknowledged to another sender.
    pub(crate) fn note_acked(&self, id: String) {
        lock(&self.0.sent).insert(id.clone());
        lock(&self.0.acked).insert(id);
    }

    /// The 99th percentile of the sends that were acknowledged since the last call.
    pub(crate) fn p99_since_last(&self) -> Duration {
        let mut took = std::mem::take(&mut *lock(&self.0.took));
        took.sort_unstable();
        let at = (took.len() * 99 / 100).min(took.len().saturating_sub(1));
        took.get(at).copied().unwrap_or_default()
    }

    /// Sends a message, again under the same id until it is acknowledged.
    pub(crate) async fn send(&self, nats: &Client, id: String, room: &str) -> Result<(), Failure> {
        let draft = json!({ "id": id, "text": format!("message {id}") }).to_string();
        self.note(&json!({ "sent": id, "room": room }))?;
        lock(&self.0.sent).insert(id.clone());
        let started = Instant::now();
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
                self.note(&json!({ "acked": id, "seq": seq }))?;
                lock(&self.0.acked).insert(id);
                lock(&self.0.took).push(started.elapsed());
                return Ok(());
            }
            self.note(&json!({ "unknown": id, "answer": body }))?;
            self.0.retries.fetch_add(1, Relaxed);
            // While a server is away a request fails at once; the pause avoids a busy loop.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn note(&self, line: &Value) -> Result<(), Failure> {
        Ok(writeln!(lock(&self.0.file), "{line}")?)
    }

    /// Compares the ledger with the table.
    pub(crate) async fn balance(&self, database: &str) -> Result<Balance, Failure> {
        let db = Database::connect(database).await?;
        let acked = lock(&self.0.acked).clone();
        let sent = lock(&self.0.sent).clone();
        let (stored, ids) = settled(&db, acked.len()).await?;
        Ok(Balance {
            sent: sent.len(),
            acked: acked.len(),
            retries: self.retries(),
            stored,
            duplicates: stored - ids.len(),
            lost: acked.iter().filter(|id| !ids.contains(*id)).count(),
            phantoms: ids.iter().filter(|id| !sent.contains(*id)).count(),
        })
    }
}

/// The running senders.
pub(crate) struct Writers(JoinSet<Result<(), Failure>>);

impl Writers {
    pub(crate) fn are_done(&mut self) -> Result<bool, Failure> {
        while let Some(ended) = self.0.try_join_next() {
            ended??;
        }
        Ok(self.0.is_empty())
    }

    /// Stops each sender after its current message.
    pub(crate) async fn stop(mut self, ledger: &Ledger) -> Result<(), Failure> {
        ledger.0.enough.store(true, Relaxed);
        while let Some(ended) = self.0.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// One sender: sends a message after the other.
async fn write(
    writer: usize,
    n: usize,
    pause: Duration,
    nats: Client,
    ledger: Ledger,
) -> Result<(), Failure> {
    for i in 0..n {
        if ledger.0.enough.load(Relaxed) {
            break;
        }
        let room = ["general", "random", "help"][i % 3];
        ledger.send(&nats, format!("w{writer}-{i}"), room).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// The ledger compared with the table.
pub(crate) struct Balance {
    sent: usize,
    acked: usize,
    retries: usize,
    stored: usize,
    duplicates: usize,
    lost: usize,
    phantoms: usize,
}

impl Balance {
    pub(crate) fn is_broken(&self) -> bool {
        self.lost + self.phantoms + self.duplicates > 0
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8} {:>8} {:>8} {:>8} {:>10} {:>5} {:>8}",
            self.sent,
            self.acked,
            self.retries,
            self.stored,
            self.duplicates,
            self.lost,
            self.phantoms
        )
    }
}

/// The number of rows and their ids, once as many as were acknowledged, or after [`SETTLES`].
async fn settled(
    db: &DatabaseConnection,
    acked: usize,
) -> Result<(usize, BTreeSet<String>), Failure> {
    let until = Instant::now() + SETTLES;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while rows(db).await? < acked && Instant::now() < until {
        tick.tick().await;
    }
    let all = Statement::from_string(db.get_database_backend(), "SELECT msg_id FROM messages");
    let rows = db.query_all_raw(all).await?;
    let ids = rows
        .iter()
        .map(|row| row.try_get("", "msg_id"))
        .collect::<Result<_, _>>()?;
    Ok((rows.len(), ids))
}

/// The number of rows.
pub(crate) async fn rows(db: &DatabaseConnection) -> Result<usize, Failure> {
    let count = Statement::from_string(db.get_database_backend(), "SELECT count(*) FROM messages");
    let count = db.query_one_raw(count).await?.ok_or("no count")?;
    Ok(usize::try_from(count.try_get_by_index::<i64>(0)?)?)
}

fn lock<T>(books: &Mutex<T>) -> MutexGuard<'_, T> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

//! PostgreSQL is away for five minutes, first stopped and then suspended, while people send and
//! read (FAULTS 32). `LEDGER_SECONDS` sets the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::{Client, Request};
use serde_json::Value;
use tokio::time::sleep;

use crate::ledger::{Ledger, rows};
use crate::postgres::Postgres;
use crate::world::World;
use crate::{Failure, number};

/// Longer than the deadline of `history`: after this it will not answer.
const UNANSWERED: Duration = Duration::from_secs(8);

/// The pause of a sender after each message: 8 senders send about 40 a second.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) async fn run(
    world: &mut World,
    ledger: &Ledger,
    postgres: &mut Postgres,
) -> Result<String, Failure> {
    let gone = Duration::from_secs(number("LEDGER_SECONDS", 300));
    let pause = Duration::from_secs(5);
    world.serve_persist()?;
    let nats = world.connect("alice").await?;
    let writers = ledger.write_slowly(&nats, usize::MAX, PAUSE);

    sleep(pause).await;
    postgres.crash();
    let meanwhile = outage(&nats, ledger, gone).await?;
    postgres.up().await;
    println!(
        "  stopped: {meanwhile}; {}",
        drained(postgres, ledger).await?
    );

    sleep(pause).await;
    postgres.pause();
    let meanwhile = outage(&nats, ledger, gone).await?;
    postgres.resume();
    println!(
        "  suspended: {meanwhile}; {}",
        drained(postgres, ledger).await?
    );
    writers.stop(ledger).await?;
    Ok("2".to_owned())
}

/// What senders and a reader get while the database is away.
async fn outage(nats: &Client, ledger: &Ledger, lasts: Duration) -> Result<String, Failure> {
    let (acked, retries) = (ledger.acked(), ledger.retries());
    let started = Instant::now();
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    while started.elapsed() < lasts {
        let asked = Instant::now();
        let request = Request::new().timeout(Some(UNANSWERED));
        let answer = nats.send_request("chat.history.general", request).await;
        longest = longest.max(asked.elapsed());
        let code = match answer {
            Ok(answer) => serde_json::from_slice::<Value>(&answer.payload)?
                .get("code")
                .map_or("200".to_owned(), Value::to_string),
            Err(_) => "none".to_owned(),
        };
        *answers.entry(code).or_default() += 1;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(format!(
        "{} sends acknowledged, {} tried again; history answered {answers:?}, in {longest:.1?} at most",
        ledger.acked() - acked,
        ledger.retries() - retries,
    ))
}

/// How long it takes until all that was acknowledged by now is in the table.
async fn drained(postgres: &Postgres, ledger: &Ledger) -> Result<String, Failure> {
    let acked = ledger.acked();
    let started = Instant::now();
    let db = sea_orm::Database::connect(&postgres.url).await?;
    while rows(&db).await? < acked {
        sleep(Duration::from_millis(100)).await;
    }
    Ok(format!(
        "all stored {:.1?} after it was back",
        started.elapsed()
    ))
}

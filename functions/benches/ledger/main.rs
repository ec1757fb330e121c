//! Which acknowledged messages survive faults: the senders' ledger compared with the table, on
//! SQLite and PostgreSQL.
//!
//! `cargo xtask bench ledger|stalls|backlog|storm|disk|outage|load|instances`. `LEDGER_MESSAGES` sets how many
//! are sent or wait, `LEDGER_SECONDS` how long the storm, an outage or the load lasts, `LEDGER_SEED` the storm's
//! faults and when instances come and go.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Instant;

use sea_orm::{ConnectionTrait, Database};

mod backlog;
mod disk;
mod instances;
mod kills;
mod ledger;
mod load;
mod outage;
#[allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it is of the tests, which do more with it"
)]
#[path = "../../tests/it/postgres.rs"]
mod postgres;
mod stalls;
mod storm;
#[allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it is of the tests, which do more with it"
)]
#[path = "../../tests/it/wait.rs"]
mod wait;
mod world;

use ledger::Ledger;
use postgres::Postgres;
use world::World;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SCENARIOS: [&str; 8] = [
    "ledger",
    "stalls",
    "backlog",
    "storm",
    "disk",
    "outage",
    "load",
    "instances",
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only checks that it compiles.
    if arguments.iter().any(|argument| argument == "--test") {
        return Ok(());
    }
    let named: Vec<&str> = SCENARIOS
        .into_iter()
        .filter(|name| arguments.iter().any(|argument| argument == name))
        .collect();
    let scenarios = if named.is_empty() {
        vec!["ledger"]
    } else {
        named
    };
    let postgres = std::env::var("BENCH_DATABASE_URL")
        .map_err(|_| "BENCH_DATABASE_URL must name a PostgreSQL database")?;
    for scenario in scenarios {
        println!(
            "{scenario:<11} {:>8} {:>8} {:>8} {:>8} {:>10} {:>5} {:>8} {:>8} {:>8}",
            "sent",
            "acked",
            "retries",
            "stored",
            "duplicates",
            "lost",
            "phantoms",
            "faults",
            "seconds"
        );
        if scenario == "disk" {
            let file = disk::directory()?.join("chat.db");
            let url = format!("sqlite://{}?mode=rwc", file.display());
            run(scenario, "SQLite", Some(&url), None).await?;
            continue;
        }
        if scenario == "outage" {
            let mut postgres = Postgres::start().await;
            let url = postgres.url.clone();
            run(scenario, "PostgreSQL", Some(&url), Some(&mut postgres)).await?;
            continue;
        }
        if scenario == "load" {
            let postgres = Postgres::with(&["max_connections=20"]).await;
            run(scenario, "PostgreSQL", Some(&postgres.url), None).await?;
            continue;
        }
        // Instances on several machines share a PostgreSQL.
        if scenario != "instances" {
            run(scenario, "SQLite", None, None).await?;
        }
        let url = fresh(&postgres, scenario).await?;
        run(scenario, "PostgreSQL", Some(&url), None).await?;
    }
    Ok(())
}

/// Runs a scenario on a database; `postgres` is its server, for a scenario that stops it.
async fn run(
    scenario: &str,
    name: &str,
    database: Option<&str>,
    postgres: Option<&mut Postgres>,
) -> Result<(), Failure> {
    let mut world = World::start(database).await?;
    let ledger = Ledger::open(&world.path().join("ledger"))?;
    let started = Instant::now();
    let faults = match scenario {
        "outage" => {
            let postgres = postgres.ok_or("the scenario `outage` needs a PostgreSQL")?;
            outage::run(&mut world, &ledger, postgres).await?
        }
        "stalls" => stalls::run(&mut world, &ledger).await?,
        "load" => load::run(&mut world, &ledger).await?,
        "instances" => instances::run(&mut world, &ledger).await?,
        "backlog" => backlog::run(&mut world, &ledger).await?,
        "disk" => disk::run(&mut world, &ledger).await?,
        "storm" => storm::run(&mut world, &ledger).await?,
        _ => kills::run(&mut world, &ledger).await?,
    };
    let balance = ledger.balance(world.database()?).await?;
    println!(
        "{name:<11} {balance} {faults:>8} {:>8.1}",
        started.elapsed().as_secs_f64()
    );
    if balance.is_broken() {
        return Err(format!(
            "messages were lost, duplicated or invented; the ledger and the logs are in {}",
            world.keep().display()
        )
        .into());
    }
    Ok(())
}

/// Creates an empty database on the PostgreSQL server of `url`.
async fn fresh(url: &str, scenario: &str) -> Result<String, Failure> {
    let name = format!("ledger_{scenario}_{}", std::process::id());
    let server = Database::connect(url).await?;
    server
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await?;
    let (server, _) = url
        .rsplit_once('/')
        .ok_or("BENCH_DATABASE_URL names no database")?;
    Ok(format!("{server}/{name}"))
}

/// A number from the environment, or the default.
fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

//! What moving a backlog takes: a server, the databases, and the word that a consumer is done.

use std::path::Path;
use std::time::Duration;

use async_nats::Client;
use natsfn::server::{Server, ServerConfig};
use sea_orm::{ConnectionTrait, Database};

use crate::Outcome;

/// A server that keeps its messages in a directory, and syncs each before it acknowledges.
pub(crate) async fn durable(directory: &Path) -> Outcome<Server> {
    let config = ServerConfig::new(directory.join("nats")).text(
        "host: $NATS_CONF_HOST\nport: $NATS_CONF_PORT\n\
         jetstream { store_dir: $NATS_CONF_STORE_DIR, sync_interval: always }",
    );
    Ok(Server::start(config).await?)
}

/// Both databases: a name, and the URL. SQLite's file is in a directory.
pub(crate) fn both(directory: &Path) -> Outcome<[(&'static str, String); 2]> {
    let sqlite = format!("sqlite://{}/bench.db?mode=rwc", directory.display());
    let postgres = std::env::var("BENCH_DATABASE_URL")
        .map_err(|_| "BENCH_DATABASE_URL must name a PostgreSQL database that may be emptied")?;
    Ok([("PostgreSQL", postgres), ("SQLite", sqlite)])
}

/// Leaves nothing in it.
pub(crate) async fn empty(url: &str) -> Outcome {
    if let Some(path) = url.strip_prefix("sqlite://") {
        let path = path.trim_end_matches("?mode=rwc");
        for end in ["", "-wal", "-shm"] {
            let removed = std::fs::remove_file(format!("{path}{end}"));
            removed.or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        return Ok(());
    }
    let database = Database::connect(url).await?;
    let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    database.execute_unprepared(empty).await?;
    Ok(database.close().await?)
}

/// Returns when a consumer has nothing left to deliver or to acknowledge.
pub(crate) async fn drained(nats: &Client, stream: &str, consumer: &str) -> Outcome {
    let client = natsfn::Client::new(nats.clone());
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        tick.tick().await;
        let info = client.consumer_info(stream, consumer).await;
        let info = info.map_err(|error| error.to_string())?;
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(());
        }
    }
}

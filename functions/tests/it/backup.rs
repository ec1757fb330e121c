//! Backup and restore by the commands that docs/operations.md tells.

use std::path::Path;

use tokio::process::Command;

use crate::database::Database;
use crate::postgres::programs;
use crate::restore::{is_stored, log, texts};
use crate::wait::{GUARD, within};
use crate::world::{World, unlimited};

const DOCUMENT: &str = include_str!("../../../docs/operations.md");

/// Runs a command of the document, which must be there word for word: `$URL` is the database's address. Its files lie
/// in the directory.
async fn run(line: &str, url: &str, directory: &Path) {
    is_told(line);
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", line])
        .current_dir(directory)
        .env("PATH", format!("{}:{path}", programs().display()))
        .env("URL", url);
    let output = within(shell.output()).await.unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

fn is_told(line: &str) {
    let is_told = DOCUMENT.lines().any(|told| told.trim() == line);
    assert!(is_told, "docs/operations.md does not tell `{line}`");
}

const DUMP: &str = r#"pg_dump --format=custom --file=chat.dump "$URL""#;
const RESTORE: &str =
    r#"pg_restore --clean --if-exists --no-owner --single-transaction --dbname="$URL" chat.dump"#;

/// What is in the log is in the database, and a person finds it there.
async fn is_whole(world: &World, count: usize) {
    is_stored(world, count).await;
    let alice = world.person("alice").await;
    let newest = texts(count - 50..count);
    assert_eq!(alice.texts("chat.history.general").await, newest);
    assert_eq!(world.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn dump_of_postgres_is_restored_while_messages_are_accepted_and_the_log_fills_it() {
    let world = World::of(Database::empty_postgres().await, unlimited()).await;
    let (url, files) = (&world.database.url, tempfile::tempdir().unwrap());
    let running = world.serve_only(&["persist", "history"]).await;
    log(&world, 0..200).await;
    world.settled().await;
    run(DUMP, url, files.path()).await;
    log(&world, 200..1_000).await;
    world.settled().await;
    running.stop(GUARD).await;

    let restore = run(RESTORE, url, files.path());
    futures_util::join!(restore, log(&world, 1_000..1_200));
    assert_eq!(world.rows().await.len(), 200);
    world.set_up().await.unwrap();
    let _running = world.serve_only(&["persist", "history"]).await;
    log(&world, 1_200..1_210).await;

    is_whole(&world, 1_210).await;
}

/// A database of another name, as a managed PostgreSQL restores into: a copy has the original's id, so it is the same
/// database to chat.
#[tokio::test]
async fn dump_of_postgres_is_restored_into_another_database_and_the_log_fills_it() {
    let mut world = World::of(Database::empty_postgres().await, unlimited()).await;
    let files = tempfile::tempdir().unwrap();
    let running = world.serve().await;
    log(&world, 0..200).await;
    world.settled().await;
    run(DUMP, &world.database.url, files.path()).await;
    log(&world, 200..400).await;
    world.settled().await;
    running.stop(GUARD).await;

    world.database = Database::empty_postgres().await;
    run(RESTORE, &world.database.url, files.path()).await;
    world.set_up().await.unwrap();
    let _running = world.serve().await;

    is_whole(&world, 400).await;
}

#[tokio::test]
async fn copy_of_a_sqlite_file_is_put_back_and_the_log_fills_it() {
    let mut world = World::new().await;
    let url = world.database.url.clone();
    let file = url.trim_start_matches("sqlite://").split('?').next();
    let directory = Path::new(file.unwrap()).parent().unwrap();
    let _running = world.serve().await;
    log(&world, 0..200).await;
    world.settled().await;
    // Its shell is not everywhere.
    is_told(r#"sqlite3 chat.db "VACUUM INTO 'copy.db'""#);
    let copy = format!("VACUUM INTO '{}'", directory.join("copy.db").display());
    world.database.execute(&copy).await;
    log(&world, 200..600).await;
    world.settled().await;

    run("rm -f chat.db-wal chat.db-shm", &url, directory).await;
    run("mv copy.db chat.db", &url, directory).await;
    let restored = Database::of_url(&url).await;
    let _former = std::mem::replace(&mut world.database, restored);
    log(&world, 600..610).await;

    is_whole(&world, 610).await;
}

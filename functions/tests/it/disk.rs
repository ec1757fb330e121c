//! A database whose disk is full, fails or cannot be written for a while: what is acknowledged is what
//! others can read.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat::message::Message;
use chat::persist::persist;
use chat::subjects;
use natsfn::{Batch, Consumer, Service, Tx};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::child;
use crate::wait::until;
use crate::world::{World, append};

#[tokio::test]
async fn messages_acknowledged_around_a_full_disk_are_rows_that_others_read() {
    let world = World::new().await;
    let full = Arc::new(AtomicBool::new(false));
    let disk = full.clone();
    let store = move |tx: Tx, messages: Batch<Message>| {
        // SQLite's own limit makes the same error as a file system without space.
        let pages = if disk.load(Ordering::Relaxed) {
            1
        } else {
            u32::MAX - 1
        };
        async move {
            let limit = format!("PRAGMA max_page_count = {pages}");
            tx.execute_unprepared(&limit).await?;
            persist(tx, messages).await
        }
    };
    let log = subjects::log(&world.config.stream);
    let service = Service::new("chat", "0.1.0")
        .state(chat::app::App::new(world.config.clone()))
        .database::<migrations::Migrator>()
        .consumer(Consumer::new("persist", log).natural_key(), store);
    let _running = world.start("chat", service, &[]).await.unwrap();
    let backend = world.backend().await;
    let mut acknowledged = BTreeSet::new();
    // One row alone makes SQLite roll back by itself, many rows only their statement.
    for (round, messages) in [30, 1, 60, 1, 60, 20].into_iter().enumerate() {
        let is_full = (1..5).contains(&round);
        full.store(is_full, Ordering::Relaxed);
        for n in 0..messages {
            let id = format!("{round}-{n}");
            let text = "ж".repeat(3_500);
            let message = json!({ "user": "b", "text": text, "timestamp": 1 });
            append(&backend, "chat.a", Some(&id), message.to_string()).await;
            acknowledged.insert(id);
        }
        if is_full {
            until("persist holds", async || {
                (world.state_of_persist().await["state"] == "holding").then_some(())
            })
            .await;
            full.store(false, Ordering::Relaxed);
        }
        world.settled().await;
    }

    let rows = world.rows().await;

    let stored: BTreeSet<String> = rows.iter().map(|row| row.msg_id.clone()).collect();
    let lost = acknowledged.difference(&stored).count();
    assert_eq!(lost, 0, "of {} acknowledged", acknowledged.len());
    assert_eq!(stored.len(), rows.len());
}

/// Stores some messages of a back end in the log; their ids begin with `round`.
async fn send(world: &World, round: usize) {
    let backend = world.backend().await;
    for n in 0..10 {
        let message = json!({ "user": "b", "text": "ж".repeat(500), "timestamp": 1 });
        let id = format!("{round}-{n}");
        append(&backend, "chat.a", Some(&id), message.to_string()).await;
    }
}

async fn holds(world: &World, why: &str) {
    until("persist holds", async || {
        let state = world.state_of_persist().await;
        let reason = state["reason"].as_str()?;
        (state["state"] == "holding" && reason.contains(why)).then_some(())
    })
    .await;
}

/// Everything that was sent is in the table once, and nothing is a dead letter.
async fn all_are_rows(world: &World, sent: usize) {
    world.settled().await;
    let rows = world.rows().await;
    let ids: BTreeSet<_> = rows.iter().map(|row| &row.msg_id).collect();
    assert_eq!((rows.len(), ids.len()), (sent, sent));
    assert_eq!(world.dead_letters().await.len(), 0);
}

async fn run(program: &str, arguments: &[&str]) {
    let mut command = tokio::process::Command::new(program);
    let status = command.args(arguments).status().await.unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn messages_acknowledged_around_failing_writes_are_rows_that_others_read() {
    let world = World::new().await;
    let mut command = child::persist_that_sizes_do_not_end(&world);
    let persist = command.stderr(Stdio::null()).spawn().unwrap();
    let pid = persist.id().unwrap().to_string();
    // A file that may not grow is a failure of input and output to SQLite, as a broken disk is.
    let limit = async |size: &str| {
        run(
            "prlimit",
            &["--pid", &pid, &format!("--fsize={size}:unlimited")],
        )
        .await;
    };
    for round in 0..3 {
        send(&world, 2 * round).await;
        world.settled().await;
        limit("1").await;
        send(&world, 2 * round + 1).await;
        holds(&world, "disk I/O error").await;
        limit("unlimited").await;
        all_are_rows(&world, 20 * (round + 1)).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn database_that_could_not_be_written_is_written_again_without_a_restart() {
    const NOBODY: u32 = 65_534;
    let world = World::new().await;
    let path = world.database.url.strip_prefix("sqlite://").unwrap();
    let path = path.strip_suffix("?mode=rwc").unwrap();
    let mut command = child::command(&world, &["serve", "persist"]);
    let user = tokio::process::Command::new("id").arg("-u").output().await;
    if user.unwrap().stdout.trim_ascii() == b"0" {
        // To root every file can be written.
        let directory = Path::new(path).parent().unwrap().to_str().unwrap();
        run("chown", &["-R", &NOBODY.to_string(), directory]).await;
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    run("chmod", &["0444", path]).await;
    let _persist = command.stderr(Stdio::null()).spawn().unwrap();
    send(&world, 0).await;
    holds(&world, "readonly").await;

    run("chmod", &["0644", path]).await;

    all_are_rows(&world, 10).await;
}

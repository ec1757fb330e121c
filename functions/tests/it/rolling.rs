//! An upgrade: each function's process is replaced in turn under load, as Kubernetes and compose do it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::process::Stdio;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::child;
use crate::database::Database;
use crate::door::KEYS;
use crate::server::connect;
use crate::wait::{until, within};
use crate::world::{World, unlimited};

/// The functions of each process.
const PROCESSES: [&[&str]; 5] = [
    &["send", "admin-send"],
    &["history", "admin-history"],
    &["persist"],
    &["page"],
    &["auth", "session"],
];

/// A process that serves, and its output: it must be read to the end.
struct Serving {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Serving {
    /// Starts one and waits until it is ready.
    async fn start(world: &World, functions: &[&str]) -> Self {
        let mut command = child::command(world, &[&["serve"], functions].concat());
        command.stdout(Stdio::piped()).env("RUST_LOG", "error");
        // A writer here is faster than a person may be.
        for key in ["SEND", "HISTORY"] {
            command.env(format!("CHAT_{key}__RATE"), "1000000");
            command.env(format!("CHAT_{key}__BURST"), "1000000");
        }
        command
            .env("CHAT_AUTH__ISSUER", KEYS.issuer_seed.expose())
            .env("CHAT_AUTH__XKEY", KEYS.xkey_seed.expose())
            .env("CHAT_AUTH__USERS", world.doorman.users())
            .env("CHAT_CREDENTIALS__AUTH__USER", "auth")
            .env("CHAT_CREDENTIALS__AUTH__PASSWORD", "auth")
            .env("CHAT_CREDENTIALS__AUTH__INBOX_PREFIX", "_INBOX.s.auth");
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = within(lines.next_line()).await.unwrap();
        assert!(
            line.is_some_and(|line| line.contains("serves")),
            "{functions:?}"
        );
        Self { process, lines }
    }

    /// SIGTERM, and the drain to its end.
    async fn stop(mut self) {
        let pid = self.process.id().unwrap().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.await.unwrap().success());
        while within(self.lines.next_line()).await.unwrap().is_some() {}
        let ended = within(self.process.wait()).await.unwrap();
        assert!(ended.success(), "{ended}");
    }
}

#[tokio::test]
async fn each_process_is_replaced_in_turn_and_no_request_login_or_message_is_lost() {
    let world = World::of(Database::empty_postgres().await, unlimited()).await;
    let mut serving = Vec::new();
    for functions in PROCESSES {
        serving.push((functions, Serving::start(&world, functions).await));
    }
    let is_over = Cell::new(false);
    let acknowledged = Cell::new(0);
    let write = async |writer: usize| {
        let person = world.person(["alice", "bob"][writer % 2]).await;
        let mut sent = BTreeSet::new();
        while !is_over.get() {
            let id = format!("{writer}-{}", sent.len());
            let answer = person.send("chat.send.general", &id, &id).await;
            answer.unwrap_or_else(|error| panic!("{id}: {error:?}"));
            sent.insert(id);
            acknowledged.set(acknowledged.get() + 1);
        }
        sent
    };
    let read = async |_| {
        let person = world.person("charlie").await;
        while !is_over.get() {
            let page = person
                .page("chat.history.general", json!({ "limit": 10 }))
                .await;
            page.unwrap_or_else(|error| panic!("history: {error:?}"));
        }
    };
    // `auth` decides half of these; the world's own the others.
    let log_in = async {
        while !is_over.get() {
            connect(&world.server, "bob", "_INBOX.u.bob").await;
        }
    };
    let progress = async || {
        let before = acknowledged.get();
        until("writers make progress", async || {
            (acknowledged.get() > before + 20).then_some(())
        })
        .await;
    };
    let roll = async {
        for _ in 0..2 {
            for (functions, old) in &mut serving {
                progress().await;
                let new = Serving::start(&world, functions).await;
                std::mem::replace(old, new).stop().await;
            }
        }
        progress().await;
        is_over.set(true);
    };

    let (writers, readers) = (join_all((0..4).map(write)), join_all((0..2).map(read)));
    let (sent, _, (), ()) = futures_util::join!(writers, readers, log_in, roll);

    world.settled().await;
    let stored = world.texts().await;
    let sent: BTreeSet<String> = sent.into_iter().flatten().collect();
    assert_eq!(stored.len(), sent.len(), "nothing twice");
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), sent);
    assert_eq!(world.dead_letters().await.len(), 0);
    let repeated = world.consumer().await["num_redelivered"].as_u64();
    assert_eq!(
        repeated,
        Some(0),
        "a drain gives nothing back that it has begun"
    );
}

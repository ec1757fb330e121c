//! Crashes of persist: what was stored without an ack, and what was killed at any moment.

use futures_util::{StreamExt, stream};
use natsfn::failpoint::{Failpoints, Fault};
use serde_json::{Value, json};

use crate::child;
use crate::wait::{until, within};
use crate::world::{World, append, on_each};

/// Logs messages and returns their ids.
async fn log(world: &World, count: usize) -> Vec<String> {
    let backend = world.backend().await;
    stream::iter(0..count)
        .map(|id| {
            let backend = &backend;
            async move {
                let id = id.to_string();
                let message = json!({ "user": "b", "text": id, "timestamp": 1 }).to_string();
                append(backend, "chat.general", Some(&id), message).await;
                id
            }
        })
        .buffer_unordered(100)
        .collect()
        .await
}

#[tokio::test]
async fn persist_that_dies_between_commit_and_ack_adds_no_row_when_it_is_back() {
    on_each(async |world: World| {
        world.notice_crashes_soon().await;
        log(&world, 50).await;

        let mut doomed = child_with_failpoint(&world, "ack=crash");
        let end = within(doomed.wait()).await.unwrap();

        assert!(!end.success(), "it crashes");
        let stored = world.rows().await;
        assert!(!stored.is_empty(), "it has committed");
        assert_eq!(
            world.consumer().await["ack_floor"]["stream_seq"],
            0,
            "and acknowledged nothing"
        );
        let _persist = world.serve_only(&["persist"]).await;
        world.settled().await;
        let rows = world.rows().await;
        assert_eq!(rows.len(), 50);
        assert_eq!(rows[..stored.len()], stored, "untouched");
        assert_eq!(world.dead_letters().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn fault_at_any_step_loses_nothing_and_stores_nothing_twice() {
    on_each(async |world: World| {
        let failpoints = Failpoints::new();
        for step in natsfn::failpoint::STEPS {
            failpoints.at(step, [Fault::Fail(natsfn::Kind::Unavailable)]);
        }
        log(&world, 200).await;

        let service = world.service().failpoints(failpoints);
        let _persist = world.start("chat", service, &["persist"]).await.unwrap();
        world.settled().await;

        assert_eq!(world.rows().await.len(), 200);
        assert_eq!(world.dead_letters().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn persist_that_is_killed_again_and_again_stores_everything_once() {
    on_each(async |world: World| {
        world.notice_crashes_soon().await;
        let writing = log(&world, 5_000);
        let killing = async {
            for kill in 0..25 {
                let before = world.rows().await.len();
                let mut persist = child::serve(&world, &["persist"]);
                // In turn: as soon as it has taken something, and once it has stored something. On a
                // slow machine nothing may be left for the last ones.
                until("persist is at work", async || {
                    let rows = world.rows().await.len();
                    let busy = if kill % 2 == 0 {
                        world.consumer().await["num_ack_pending"].as_u64().unwrap() > 0
                    } else {
                        rows > before
                    };
                    (busy || rows >= 4_000).then_some(())
                })
                .await;
                persist.kill().await.unwrap();
            }
        };
        let (ids, ()) = futures_util::join!(writing, killing);

        let _persist = world.serve_only(&["persist"]).await;
        world.settled().await;

        let (mut ids, mut stored) = (ids, world.texts().await);
        ids.sort_unstable();
        stored.sort_unstable();
        assert_eq!(stored, ids);
        assert_eq!(world.dead_letters().await.len(), 0, "a crash is no attempt");
        let floor: Value = world.consumer().await["ack_floor"]["stream_seq"].clone();
        assert_eq!(floor, 5_000);
    })
    .await;
}

#[tokio::test]
async fn persist_that_stands_still_inside_a_transaction_and_wakes_stores_nothing_twice() {
    on_each(async |world: World| {
        world.notice_crashes_soon().await;
        log(&world, 200).await;
        // It takes long to commit, so there is time to stop it before it does.
        let mut sleeper = child_with_failpoint(&world, "commit=6000");
        until("it has taken messages", async || {
            (world.consumer().await["num_ack_pending"].as_u64()? > 0).then_some(())
        })
        .await;
        until("they are inside a transaction", async || {
            let state = world.state_of_persist().await;
            (state["in_flight"].as_u64()? > 0).then_some(())
        })
        .await;
        signal(&sleeper, "STOP").await;

        let second = world.serve_only(&["persist"]).await;
        until("its messages are given to the second", async || {
            (world.consumer().await["num_redelivered"].as_u64()? > 0).then_some(())
        })
        .await;
        // Several times the ack wait, so that what the second may do without the first is done.
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        signal(&sleeper, "CONT").await;
        world.settled().await;

        let mut stored = world.texts().await;
        stored.sort_by_key(|text| text.parse::<u64>().unwrap());
        let expected: Vec<String> = (0..200).map(|id| id.to_string()).collect();
        assert_eq!(stored, expected);
        assert_eq!(world.dead_letters().await.len(), 0);
        assert!(sleeper.try_wait().unwrap().is_none(), "it lives");
        log_one(&world, 200).await;
        world.settled().await;
        assert_eq!(world.rows().await.len(), 201, "both go on");
        within(second.stop(crate::wait::GUARD)).await;
        sleeper.kill().await.unwrap();
    })
    .await;
}

async fn log_one(world: &World, id: usize) {
    let message = json!({ "user": "b", "text": id.to_string(), "timestamp": 1 }).to_string();
    let backend = world.backend().await;
    append(&backend, "chat.general", Some(&id.to_string()), message).await;
}

async fn signal(child: &tokio::process::Child, signal: &str) {
    let sent = tokio::process::Command::new("kill")
        .args([&format!("-{signal}"), &child.id().unwrap().to_string()])
        .status();
    assert!(sent.await.unwrap().success());
}

/// persist in a process of its own, which is this very program: only tests have failpoints.
fn child_with_failpoint(world: &World, failpoint: &str) -> tokio::process::Child {
    tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::process_with_a_failpoint"])
        .env("CRASH_NATS", world.server.url())
        .env("CRASH_DATABASE", &world.database.url)
        .env("CRASH_AT", failpoint)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "the process that another test lets crash"]
async fn process_with_a_failpoint() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let failpoints = Failpoints::parse(&variable("CRASH_AT")).unwrap();
    let service = chat::chat_service(chat::app::App::new(crate::world::unlimited()));
    let definition = service.failpoints(failpoints).build().unwrap();
    let definition = definition.only(&["persist".to_owned()]).unwrap();
    let nats = crate::server::login(&variable("CRASH_NATS"), "chat", "_INBOX.s.chat").await;
    let running = natsfn::start(definition, nats, Some(&variable("CRASH_DATABASE")))
        .await
        .unwrap();
    within(running.lost()).await;
}

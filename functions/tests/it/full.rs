//! A log that is full, and one that would lose what nobody has stored.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Instant;

use chat::app::PAGE_AGE;
use futures_util::{StreamExt, stream};
use natsfn::Kind;
use natsfn::failpoint::{Failpoints, Fault};
use serde_json::{Value, json};

use crate::wait::{GUARD, until};
use crate::world::{World, on_each_with, unlimited};

#[tokio::test]
async fn full_log_refuses_at_once_and_takes_messages_again_once_persist_runs() {
    let mut config = unlimited();
    config.stream.max_bytes = 1 << 20;
    on_each_with(config, async |world: World| {
        let _serving = world.serve_only(&["send", "history"]).await;
        let alice = world.person("alice").await;
        let long = "x".repeat(4_000);
        let send = async |id: usize| {
            let (subject, name) = ("chat.send.general", id.to_string());
            (id, alice.send(subject, &name, &long).await)
        };

        let answers: Vec<_> = stream::iter(0..400).map(&send).buffered(20).collect().await;

        let mut acknowledged = BTreeSet::new();
        for (id, answer) in answers {
            match answer {
                Ok(_) => _ = acknowledged.insert(id.to_string()),
                Err(error) => {
                    // Not 504: nobody waits for the deadline.
                    assert_eq!(error.code, 503, "{}", error.message);
                }
            }
        }
        assert!(
            (200..300).contains(&acknowledged.len()),
            "{}",
            acknowledged.len()
        );
        let texts = alice.texts("chat.history.general").await;
        assert_eq!(texts.len(), 50, "reading goes on");

        let _persist = world.serve_only(&["persist"]).await;
        let mut next = 400;
        until("the log takes messages again", async || {
            next += 1;
            let (id, answer) = send(next).await;
            answer.ok().map(|_| acknowledged.insert(id.to_string()))
        })
        .await;
        world.settled().await;
        let stored = world
            .rows()
            .await
            .into_iter()
            .map(|row| row.msg_id)
            .collect();
        assert_eq!(acknowledged, stored);
        assert!(
            world.log().await["first_seq"].as_u64().unwrap() > 1,
            "it was trimmed"
        );
        let all = alice
            .page("chat.history.general", json!({ "limit": 1 }))
            .await
            .unwrap();
        assert_eq!(all.messages[0]["id"], next.to_string());
    })
    .await;
}

#[tokio::test]
async fn full_log_is_not_trimmed_before_the_database_has_it() {
    let mut config = unlimited();
    config.stream.max_bytes = 1 << 20;
    on_each_with(config, async |world: World| {
        let serving = world.serve_only(&["send", "history"]).await;
        let alice = world.person("alice").await;
        let long = "x".repeat(4_000);
        let mut acknowledged = 0;
        while alice
            .send("chat.send.general", &acknowledged.to_string(), &long)
            .await
            .is_ok()
        {
            acknowledged += 1;
        }
        // Begins the epoch.
        alice.texts("chat.history.general").await;
        serving.stop(GUARD).await;

        let failpoints = Failpoints::new();
        failpoints.at("commit", vec![Fault::Fail(Kind::Unavailable); 100]);
        let service = world.service().failpoints(failpoints);
        let persist = world.start("chat", service, &["persist"]).await.unwrap();
        until("persist holds", async || {
            (world.state_of_persist().await["state"] == "holding").then_some(())
        })
        .await;
        // It looks a last time at the log as it stops.
        persist.stop(GUARD).await;

        let log = world.log().await;
        assert_eq!(
            (&log["first_seq"], &log["messages"]),
            (&json!(1), &json!(acknowledged))
        );
        let _persist = world.serve_only(&["persist"]).await;
        world.settled().await;
        assert_eq!(world.rows().await.len(), acknowledged);
    })
    .await;
}

#[tokio::test]
async fn what_is_stored_and_old_leaves_the_log_and_stays_in_history() {
    let mut config = unlimited();
    config.stream.keep_days = 0;
    on_each_with(config, async |world: World| {
        let _serving = world.serve_only(&["send", "history"]).await;
        let alice = world.person("alice").await;
        for id in 0..5 {
            let persist = world.serve_only(&["persist"]).await;
            let send = async |id: String| alice.send("chat.send.general", &id, "x").await.unwrap();
            let first = send(format!("{id}-first")).await;
            world.settled().await;
            // What history knows of the database from now on is old in a moment.
            alice.texts("chat.history.quiet").await;
            let next = send(format!("{id}-next")).await;
            let gone = Cell::new(false);
            let trimming = async {
                world.settled().await;
                // Each instance looks at the log as it starts.
                let another = world.serve_only(&["persist"]).await;
                until("the log is empty", async || {
                    (world.log().await["messages"] == 0).then_some(())
                })
                .await;
                gone.set(true);
                another
            };
            let reading = async {
                while !gone.get() {
                    let page = alice
                        .page("chat.history.general", json!({ "limit": 2 }))
                        .await
                        .unwrap();
                    let seqs: Vec<_> = page
                        .messages
                        .iter()
                        .map(|message| &message["seq"])
                        .collect();
                    assert_eq!(seqs, [first.seq, next.seq]);
                }
            };
            let (another, ()) = futures_util::join!(trimming, reading);
            another.stop(GUARD).await;
            persist.stop(GUARD).await;
        }
        assert_eq!(world.rows().await.len(), 10);
    })
    .await;
}

#[tokio::test]
async fn what_came_to_the_log_a_moment_ago_stays_in_it() {
    let mut config = unlimited();
    config.stream.keep_days = 0;
    on_each_with(config, async |world: World| {
        let _serving = world.serve_only(&["send", "persist"]).await;
        let alice = world.person("alice").await;
        let mut sent = Vec::new();
        let trimmed = until("some of it is trimmed", async || {
            let (id, now) = (sent.len().to_string(), Instant::now());
            alice.send("chat.send.general", &id, "x").await.unwrap();
            sent.push(now);
            let first = world.log().await["first_seq"].as_u64().unwrap();
            (first > 1).then(|| usize::try_from(first - 1).unwrap())
        })
        .await;
        // A page of a room without messages in the log may be kept for so long.
        let age = sent[trimmed - 1].elapsed();
        assert!(age >= PAGE_AGE, "the newest that is gone is {age:?} old");
    })
    .await;
}

#[tokio::test]
async fn log_whose_limits_discard_what_is_unread_is_refused_until_setup_mends_it() {
    let world = World::new().await;
    let info = world.api("STREAM.INFO.CHAT_MESSAGES", &Value::Null).await;
    let mut config = info["config"].clone();
    config["discard"] = "old".into();
    config["max_msgs"] = 10.into();
    let updated = world.api("STREAM.UPDATE.CHAT_MESSAGES", &config).await;
    assert_eq!(updated["config"]["discard"], "old", "{updated}");

    let refused = world.start("chat", world.service(), &["persist"]).await;

    let why = refused.err().unwrap().to_string();
    assert!(
        why.contains("drops acknowledged messages that nobody has consumed"),
        "{why}"
    );
    world.set_up().await.unwrap();
    world.serve_only(&["persist"]).await.stop(GUARD).await;
}

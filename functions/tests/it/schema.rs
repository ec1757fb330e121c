//! A schema that this program does not know, and set-ups at the same moment.

use migrations::{Migrator, MigratorTrait};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::child;
use crate::ledger::Ledger;
use crate::wait::{GUARD, until};
use crate::world::{World, append, on_each};

/// Why chat does not start.
async fn refusal(world: &World) -> String {
    let started = world.start("chat", world.service(), &[]).await;
    started.err().expect("it must not start").to_string()
}

#[tokio::test]
async fn schema_that_is_older_is_refused_until_setup() {
    on_each(async |world: World| {
        Migrator::down(&world.database.pool, Some(1)).await.unwrap();

        let why = refusal(&world).await;

        assert!(why.contains("older") && why.contains("setup"), "{why}");
        assert!(why.contains("m0003_rollbacks"), "{why}");
        world.set_up().await.unwrap();
        world.serve().await.stop(GUARD).await;
    })
    .await;
}

#[tokio::test]
async fn schema_that_is_newer_is_refused_and_setup_leaves_it_alone() {
    on_each(async |world: World| {
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 1)";
        world.database.pool.execute_unprepared(newer).await.unwrap();

        let why = refusal(&world).await;

        assert!(
            why.contains("newer") && why.contains("m9999_future"),
            "{why}"
        );
        let setup = world.set_up().await.unwrap_err().to_string();
        assert!(setup.contains("newer"), "{setup}");
    })
    .await;
}

/// What `setup` of the next version does: a migration that adds to the tables and takes nothing away.
const NEXT_VERSION: [&str; 3] = [
    "ALTER TABLE messages ADD COLUMN edited_at bigint",
    "CREATE TABLE reactions (id bigint)",
    "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 1)",
];

#[tokio::test]
async fn schema_one_version_ahead_leaves_running_functions_at_work_and_no_former_program_starts() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        let (alice, ledger) = (world.person("alice").await, Ledger::default());
        let upgrade = async {
            until("writers make progress", async || {
                (ledger.len() >= 50).then_some(())
            })
            .await;
            for statement in NEXT_VERSION {
                world.database.execute(statement).await;
            }
            let page = alice.page("chat.history.general", json!({ "limit": 10 }));
            assert_eq!(page.await.unwrap().messages.len(), 10);
        };

        futures_util::join!(ledger.write(&world, 4, 50), upgrade);

        world.settled().await;
        ledger.check(&world).await;
        assert_eq!(world.state_of_persist().await["state"], "running");
        let former = child::run(child::command(&world, &["serve", "persist"])).await;
        let stderr = String::from_utf8(former.stderr).unwrap();
        assert_eq!(former.status.code(), Some(1), "{stderr}");
        let why = "the database's schema is newer than this program: it has m9999_future which this program does \
                   not know; start the newer program";
        assert!(stderr.contains(why), "{stderr}");
    })
    .await;
}

#[tokio::test]
async fn setups_at_the_same_moment_are_safe() {
    on_each(async |world: World| {
        Migrator::down(&world.database.pool, None).await.unwrap();
        world
            .operator
            .request("$JS.API.STREAM.DELETE.CHAT_MESSAGES", "".into())
            .await
            .unwrap();

        let (a, b, c) = futures_util::join!(world.set_up(), world.set_up(), world.set_up());

        for result in [a, b, c] {
            result.unwrap();
        }
        let _running = world.serve().await;
        let alice = world.person("alice").await;
        alice.send("chat.send.general", "1", "hello").await.unwrap();
        world.settled().await;
        assert_eq!(world.texts().await, ["hello"]);
    })
    .await;
}

/// What is done to the tables by hand, its cure, and what is said meanwhile.
const CHANGES: [[&str; 3]; 4] = [
    ["DROP INDEX messages_uid_msg_id", MESSAGES_KEY, MESSAGES_KEY],
    [
        "DROP INDEX epochs_stream_stream_created_follows",
        EPOCHS_KEY,
        EPOCHS_KEY,
    ],
    [
        "ALTER TABLE messages RENAME COLUMN text TO body",
        "ALTER TABLE messages RENAME COLUMN body TO text",
        "the table messages has no column text",
    ],
    [
        "ALTER TABLE epochs RENAME COLUMN floor TO level",
        "ALTER TABLE epochs RENAME COLUMN level TO floor",
        "the table epochs has no column floor",
    ],
];

const MESSAGES_KEY: &str = "CREATE UNIQUE INDEX messages_uid_msg_id ON messages (uid, msg_id)";
const EPOCHS_KEY: &str = "CREATE UNIQUE INDEX epochs_stream_stream_created_follows ON epochs (stream, stream_created, follows)";

#[tokio::test]
async fn schema_that_lacks_a_column_or_a_key_is_refused_by_setup_and_start() {
    on_each(async |world: World| {
        for [change, cure, said] in CHANGES {
            world.database.execute(change).await;

            let start = refusal(&world).await;
            let setup = world.set_up().await.unwrap_err().to_string();

            for why in [start, setup] {
                assert!(why.contains(said), "{why}");
            }
            world.database.execute(cure).await;
        }
        world.set_up().await.unwrap();
        world.serve().await.stop(GUARD).await;
    })
    .await;
}

#[tokio::test]
async fn schema_that_is_changed_under_persist_holds_everything_until_it_is_mended() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        let backend = world.backend().await;
        let [by_key, _, by_column, _] = CHANGES;
        let mut sent = 0;
        for [change, cure, said] in [by_key, by_column] {
            world.database.execute(change).await;
            for _ in 0..20 {
                let message = json!({ "user": "b", "text": "x", "timestamp": 1 });
                let id = sent.to_string();
                append(&backend, "chat.a", Some(&id), message.to_string()).await;
                sent += 1;
            }
            until("persist holds and says why", async || {
                let state = world.state_of_persist().await;
                let reason = state["reason"].as_str()?;
                (state["state"] == "holding" && reason.contains(said)).then_some(())
            })
            .await;
            world.database.execute(cure).await;
            world.settled().await;
            assert_eq!(world.rows().await.len(), sent);
        }
        assert_eq!(world.dead_letters().await.len(), 0);
    })
    .await;
}

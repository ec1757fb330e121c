//! A schema that this program does not know, and set-ups at the same moment.

use migrations::{Migrator, MigratorTrait};
use sea_orm::ConnectionTrait;

use crate::wait::GUARD;
use crate::world::{World, on_each};

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
        assert!(why.contains("m0002_epochs"), "{why}");
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

#[tokio::test]
async fn setups_at_the_same_moment_are_safe() {
    on_each(async |world: World| {
        Migrator::down(&world.database.pool, None).await.unwrap();
        world
            .setup
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

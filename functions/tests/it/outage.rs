//! Servers that crash under load: what was acknowledged is stored once, and all of it heals by
//! itself.

use serde_json::json;

use crate::ledger::Ledger;
use crate::postgres::Postgres;
use crate::wait::until;
use crate::world::{World, on_each};

#[tokio::test]
async fn nats_server_killed_under_eight_writers_loses_nothing_that_was_acknowledged() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        let ledger = Ledger::default();
        let killing = async {
            for kill in 1..=4 {
                until("writers make progress", async || {
                    (ledger.len() >= kill * 150).then_some(())
                })
                .await;
                world.server.kill();
                world.server.ready().await;
            }
        };

        futures_util::join!(ledger.write(&world, 8, 100), killing);

        assert_eq!(ledger.len(), 800);
        // The acks that went down with the server are made up for after the ack wait.
        until("everything is stored", async || {
            (world.rows().await.len() >= ledger.len()).then_some(())
        })
        .await;
        ledger.check(&world).await;
    })
    .await;
}

const ROOM: &str = "chat.history.general";

#[tokio::test]
async fn postgres_restarted_under_load_stores_everything_once_and_history_says_503_meanwhile() {
    let mut postgres = Postgres::start().await;
    let mut world = World::new().await;
    world.database = crate::database::Database::of_url(&postgres.url).await;
    world.set_up().await.unwrap();
    let running = world.serve().await;
    let charlie = world.person("charlie").await;
    let ledger = Ledger::default();
    let restarting = async {
        for restart in 1..=5 {
            until("writers make progress", async || {
                (ledger.len() >= restart * 100).then_some(())
            })
            .await;
            postgres.crash();
            if restart == 3 {
                let before = ledger.len();
                let error = charlie.page(ROOM, json!({ "limit": 1 })).await.unwrap_err();
                assert_eq!(error.code, 503, "never an empty page: {}", error.message);
                until("sending goes on", async || {
                    (ledger.len() > before).then_some(())
                })
                .await;
            }
            postgres.up().await;
            until("history answers again", async || {
                match charlie.page(ROOM, json!({ "limit": 1 })).await {
                    Ok(page) => {
                        assert_eq!(page.messages.len(), 1, "never an empty page");
                        Some(())
                    }
                    Err(error) => {
                        assert!(matches!(error.code, 503 | 504), "{error:?}");
                        None
                    }
                }
            })
            .await;
        }
    };

    futures_util::join!(ledger.write(&world, 8, 100), restarting);

    world.settled().await;
    ledger.check(&world).await;
    let stats = running.stats();
    let persist = &stats["endpoints"].as_array().unwrap()[4];
    assert_eq!(
        (&persist["name"], &persist["data"]["state"]),
        (&json!("persist"), &json!("running"))
    );
}

#[tokio::test]
async fn postgres_that_stands_still_holds_persist_and_history_fails_at_its_deadline() {
    let postgres = Postgres::start().await;
    let mut world = World::new().await;
    world.database = crate::database::Database::of_url(&postgres.url).await;
    world.set_up().await.unwrap();
    let _running = world.serve().await;
    let charlie = world.person("charlie").await;
    let ledger = Ledger::default();
    let standing_still = async {
        until("writers make progress", async || {
            (ledger.len() >= 200).then_some(())
        })
        .await;
        postgres.pause();
        let error = charlie.page(ROOM, json!({ "limit": 1 })).await.unwrap_err();
        assert!(matches!(error.code, 503 | 504), "{error:?}");
        until("sending goes on to the end", async || {
            (ledger.len() == 800).then_some(())
        })
        .await;
        postgres.resume();
    };

    futures_util::join!(ledger.write(&world, 8, 100), standing_still);

    world.settled().await;
    ledger.check(&world).await;
}

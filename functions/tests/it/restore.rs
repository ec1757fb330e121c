//! Another database behind the same log, or an older one: everything still in the log is stored
//! again, once.

use chat::entity::{epochs, messages};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::json;

use crate::database::Database;
use crate::wait::GUARD;
use crate::world::{World, append, on_each};

async fn log(world: &World, ids: std::ops::Range<usize>) {
    let backend = world.backend().await;
    for id in ids {
        let id = id.to_string();
        let message = json!({ "user": "b", "text": id, "timestamp": 1 }).to_string();
        append(&backend, "chat.general", Some(&id), message).await;
    }
}

fn texts(ids: std::ops::Range<usize>) -> Vec<String> {
    ids.map(|id| id.to_string()).collect()
}

#[tokio::test]
async fn empty_database_behind_a_full_log_is_filled_again_by_setup() {
    on_each(async |mut world: World| {
        let running = world.serve().await;
        log(&world, 0..50).await;
        world.settled().await;
        running.stop(GUARD).await;
        let postgres = world.database.url.starts_with("postgres");
        world.database = if postgres {
            Database::empty_postgres().await
        } else {
            Database::empty_sqlite().await
        };

        world.set_up().await.unwrap();
        let _running = world.serve().await;
        log(&world, 50..60).await;
        world.settled().await;

        assert_eq!(world.texts().await, texts(0..60));
        let alice = world.person("alice").await;
        assert_eq!(alice.texts("chat.history.general").await, texts(10..60));
        assert_eq!(world.dead_letters().await.len(), 0);
    })
    .await;
}

/// Leaves in the database what a backup after the first 20 messages would hold.
async fn put_back(world: &World) {
    let db = &world.database.pool;
    let later = messages::Column::Seq.gt(20);
    let delete = messages::Entity::delete_many().filter(later);
    delete.exec(db).await.unwrap();
    let floor = epochs::Entity::update_many().col_expr(epochs::Column::Floor, Expr::val(20_i64));
    floor.exec(db).await.unwrap();
    assert_eq!(world.texts().await, texts(0..20));
}

#[tokio::test]
async fn backup_put_back_catches_up_also_when_nobody_runs_setup() {
    on_each(async |world: World| {
        let running = world.serve().await;
        log(&world, 0..50).await;
        world.settled().await;
        running.stop(GUARD).await;
        put_back(&world).await;

        let _running = world.serve().await;
        log(&world, 50..60).await;
        world.settled().await;

        assert_eq!(world.texts().await, texts(0..60));
    })
    .await;
}

#[tokio::test]
async fn backup_put_back_catches_up_from_its_own_floor() {
    on_each(async |world: World| {
        let running = world.serve().await;
        log(&world, 0..50).await;
        world.settled().await;
        running.stop(GUARD).await;
        put_back(&world).await;

        world.set_up().await.unwrap();
        let consumer = world.consumer().await;
        assert_eq!(
            consumer["config"]["opt_start_seq"], 21,
            "it reads no more than it must"
        );
        let _running = world.serve().await;
        world.settled().await;

        assert_eq!(world.texts().await, texts(0..50));
    })
    .await;
}

#[tokio::test]
async fn setup_on_a_complete_database_starts_nothing_over() {
    on_each(async |world: World| {
        let running = world.serve().await;
        log(&world, 0..20).await;
        world.settled().await;
        running.stop(GUARD).await;
        let before = world.consumer().await["created"].clone();

        world.set_up().await.unwrap();

        let after = world.consumer().await["created"].clone();
        let _running = world.serve().await;
        log(&world, 20..25).await;
        world.settled().await;
        assert_eq!(world.texts().await, texts(0..25));
        assert_eq!(
            after, before,
            "the database has everything that is acknowledged"
        );
    })
    .await;
}

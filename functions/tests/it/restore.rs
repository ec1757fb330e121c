//! Another database behind the same log, or an older one: everything still in the log is stored
//! again, once.

use chat::store::entity::{epochs, messages};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde_json::json;

use crate::database::Database;
use crate::postgres::Postgres;
use crate::server::{NATS_CONF, connect};
use crate::wait::{GUARD, until};
use crate::world::{World, append, on_each, unlimited};

pub(crate) async fn log(world: &World, ids: std::ops::Range<usize>) {
    let backend = world.backend().await;
    for id in ids {
        let id = id.to_string();
        let message = json!({ "user": "b", "text": id, "timestamp": 1 }).to_string();
        append(&backend, "chat.general", Some(&id), message).await;
    }
}

pub(crate) fn texts(ids: std::ops::Range<usize>) -> Vec<String> {
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

/// Sets the floor that is noted in the database.
async fn note(world: &World, floor: i64) {
    let update = epochs::Entity::update_many();
    let update = update.col_expr(epochs::Column::Floor, Expr::val(floor));
    update.exec(&world.database.pool).await.unwrap();
}

async fn noted(world: &World) -> i64 {
    let epoch = epochs::Entity::find().one(&world.database.pool).await;
    epoch.unwrap().unwrap().floor
}

/// Leaves in the database what a backup after the first 20 messages would hold.
async fn put_back(world: &World) {
    let db = &world.database.pool;
    let later = messages::Column::Seq.gt(20);
    let delete = messages::Entity::delete_many().filter(later);
    delete.exec(db).await.unwrap();
    note(world, 20).await;
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

/// Waits until everything is stored, and sees that no floor is noted above a gap meanwhile.
pub(crate) async fn is_stored(world: &World, count: usize) {
    until("everything is stored", async || {
        let noted = usize::try_from(noted(world).await).unwrap();
        let rows = world.rows().await;
        let seqs = (1..).zip(&rows);
        let whole = seqs.take_while(|(seq, row)| row.seq == *seq).count();
        assert!(noted <= whole, "{noted} is noted, {whole} are there");
        (rows.len() == count).then_some(())
    })
    .await;
    assert_eq!(world.texts().await, texts(0..count));
}

#[tokio::test]
async fn database_that_goes_back_under_a_running_persist_catches_up() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        log(&world, 0..50).await;
        world.settled().await;
        // A standby takes over that did not have the last commits.
        put_back(&world).await;

        log(&world, 50..60).await;

        is_stored(&world, 60).await;
    })
    .await;
}

#[tokio::test]
async fn database_that_goes_back_under_two_instances_catches_up_without_a_new_message() {
    on_each(async |world: World| {
        let _one = world.serve().await;
        let _other = world.serve_only(&["persist"]).await;
        log(&world, 0..50).await;
        world.settled().await;
        put_back(&world).await;

        is_stored(&world, 50).await;
    })
    .await;
}

#[tokio::test]
async fn sqlite_file_that_is_replaced_under_a_running_persist_catches_up() {
    let mut world = World::new().await;
    let _running = world.serve().await;
    log(&world, 0..20).await;
    world.settled().await;
    let url = world.database.url.clone();
    let file = url.trim_start_matches("sqlite://").split('?').next();
    let file = file.unwrap();
    let backup = format!("{file}.backup");
    let into = format!("VACUUM INTO '{backup}'");
    world.database.pool.execute_unprepared(&into).await.unwrap();
    log(&world, 20..50).await;
    world.settled().await;

    for beside in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{file}{beside}")).unwrap();
    }
    std::fs::rename(backup, file).unwrap();
    let restored = Database::of_url(&url).await;
    let _former = std::mem::replace(&mut world.database, restored);
    log(&world, 50..60).await;

    is_stored(&world, 60).await;
}

#[tokio::test]
async fn cluster_that_is_put_back_under_a_running_persist_catches_up() {
    let mut postgres = Postgres::start().await;
    let database = Database::of_url(&postgres.url).await;
    let world = World::of(database, unlimited()).await;
    let _running = world.serve().await;
    log(&world, 0..20).await;
    world.settled().await;
    postgres.crash();
    let backup = postgres.copy();
    postgres.up().await;
    log(&world, 20..50).await;
    world.settled().await;

    postgres.crash();
    postgres.put_back(&backup);
    postgres.up().await;
    log(&world, 50..60).await;

    is_stored(&world, 60).await;
}

#[tokio::test]
async fn dead_letter_does_not_come_back_where_persist_is_killed_right_after_it() {
    on_each(async |world: World| {
        let mut persist = crate::child::serve(&world, &["persist"]);
        log(&world, 0..5).await;
        let backend = world.backend().await;
        for poison in ["kept", "dropped"] {
            append(&backend, "chat.general", Some(poison), poison).await;
        }
        world.settled().await;
        persist.kill().await.unwrap();
        let letters = world.dead_letters().await;
        assert_eq!(letters.len(), 2);
        let dead = world.dead().await;
        natsfn::dead_letter::drop(&dead, "chat", letters[1].id)
            .await
            .unwrap();
        let before = world.consumer().await["created"].clone();

        let _running = world.serve().await;
        log(&world, 5..10).await;
        world.settled().await;

        let letters = world.dead_letters().await;
        let kept: Vec<&[u8]> = letters.iter().map(|it| &it.payload[..]).collect();
        assert_eq!(kept, [b"kept"]);
        let after = world.consumer().await["created"].clone();
        assert_eq!(after, before, "nothing is handled again");
        assert_eq!(world.texts().await, texts(0..10));
    })
    .await;
}

/// What docs/operations.md says of a dropped letter.
#[tokio::test]
async fn dropped_letter_of_a_message_that_can_be_stored_is_tried_again_at_the_next_start() {
    let world = World::new().await;
    let db = &world.database.pool;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.text = '1' \
        BEGIN SELECT RAISE(ABORT, 'refused by hand'); END";
    db.execute_unprepared(refuse).await.unwrap();
    let running = world.serve().await;
    log(&world, 0..3).await;
    world.settled().await;
    let is_noted = async |floor| {
        let look = async || (noted(&world).await == floor).then_some(());
        until("it is noted", look).await;
    };
    is_noted(3).await;
    let letters = world.dead_letters().await;
    let dead = world.dead().await;
    let dropped = natsfn::dead_letter::drop(&dead, "chat", letters[0].id).await;
    dropped.unwrap();
    db.execute_unprepared("DROP TRIGGER refuse").await.unwrap();

    log(&world, 3..4).await;
    is_noted(4).await;
    let stored = ["0", "2", "3"];
    assert_eq!(world.texts().await, stored, "a running persist remembers");

    running.stop(GUARD).await;
    let _running = world.serve().await;
    is_refilled(&world, 4).await;
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
async fn hole_below_the_newest_row_is_filled_again() {
    on_each(async |world: World| {
        let running = world.serve().await;
        log(&world, 0..22).await;
        world.settled().await;
        running.stop(GUARD).await;
        // A dump of the moment when, of two batches at once, only the later one was committed. It
        // stood at the floor that was noted before both.
        let db = &world.database.pool;
        let hole = messages::Entity::delete_many().filter(messages::Column::Seq.eq(11));
        hole.exec(db).await.unwrap();
        note(&world, 10).await;

        let _running = world.serve().await;

        until("the hole is filled", async || {
            (world.rows().await.len() == 22).then_some(())
        })
        .await;
        assert_eq!(world.texts().await, texts(0..22));
    })
    .await;
}

/// Starts the server again with chat's configuration, changed.
async fn configure(world: &World, change: impl Fn(&str) -> String) {
    world.server.down().await;
    let conf = world.server.data().join("nats.conf");
    std::fs::write(conf, change(NATS_CONF)).unwrap();
    world.server.up().await;
}

#[tokio::test]
async fn nothing_is_noted_or_purged_while_the_consumer_cannot_be_made_again() {
    on_each(async |mut world: World| {
        let running = world.serve().await;
        log(&world, 0..50).await;
        world.settled().await;
        running.stop(GUARD).await;
        put_back(&world).await;
        // From now on all that is stored leaves the log at the next look.
        world.config.stream.keep_days = 0;
        let right = "\"$JS.API.CONSUMER.DELETE.CHAT_MESSAGES.chat-persist\"";
        configure(&world, |conf| conf.replace(right, "")).await;

        let persist = world.serve_only(&["persist"]).await;
        until("persist has tried to delete its consumer", async || {
            let log = std::fs::read_to_string(world.server.log()).unwrap();
            log.contains("CONSUMER.DELETE.CHAT_MESSAGES").then_some(())
        })
        .await;
        // The deletion is under way for 5 s; persist is stopped meanwhile, and looks a last time.
        persist.stop(GUARD).await;

        assert_eq!(world.log().await["first_seq"], 1, "nothing is purged");
        assert_eq!(noted(&world).await, 20, "nothing is noted");
        configure(&world, str::to_owned).await;
        let _persist = world.serve_only(&["persist"]).await;
        log(&world, 50..60).await;
        until("everything is refilled", async || {
            (world.rows().await.len() == 60).then_some(())
        })
        .await;
        assert_eq!(world.texts().await, texts(0..60));
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

#[tokio::test]
async fn persist_with_another_database_gets_nothing_of_the_log() {
    on_each(async |world: World| {
        let other = Database::empty_sqlite().await;
        let elsewhere = World::of(other, world.config.clone()).await;
        let _right = world.serve_only(&["persist"]).await;
        let definition = world.service().build().unwrap();
        let definition = definition.only(&["persist".into()]).unwrap();
        let nats = connect(&world.server, "chat", "_INBOX.s.chat").await;
        let url = &elsewhere.database.url;
        let stray = natsfn::start(definition, nats, Some(url)).await.unwrap();

        until("the stray one holds", async || {
            let data = stray.stats()["endpoints"][0]["data"].clone();
            let reason = data["reason"].as_str()?;
            (data["state"] == "holding" && reason.contains("another database")).then_some(())
        })
        .await;
        log(&world, 0..85).await;
        world.settled().await;

        assert_eq!(world.texts().await, texts(0..85));
        assert_eq!(elsewhere.texts().await, texts(0..0));
        stray.stop(GUARD).await;
    })
    .await;
}

#[tokio::test]
async fn history_with_another_database_says_so_and_shows_no_gap() {
    let world = World::new().await;
    let elsewhere = World::new().await;
    let _persist = world.serve_only(&["persist"]).await;
    log(&world, 0..20).await;
    world.settled().await;
    let definition = world.service().build().unwrap();
    let definition = definition.only(&["history".into()]).unwrap();
    let nats = connect(&world.server, "chat", "_INBOX.s.chat").await;
    let url = &elsewhere.database.url;
    let _stray = natsfn::start(definition, nats, Some(url)).await.unwrap();

    let alice = world.person("alice").await;
    let refused = alice.page("chat.history.general", json!(null)).await;

    assert_eq!(refused.unwrap_err().code, 503);
}

#[tokio::test]
async fn consumer_that_setup_makes_again_begins_behind_what_the_database_has() {
    on_each(async |world: World| {
        let running = world.serve().await;
        log(&world, 0..20).await;
        world.settled().await;
        running.stop(GUARD).await;
        world
            .api("CONSUMER.DELETE.CHAT_MESSAGES.chat-persist", &json!(null))
            .await;

        world.set_up().await.unwrap();

        let consumer = world.consumer().await;
        assert_eq!(consumer["config"]["opt_start_seq"], 21);
        let _running = world.serve().await;
        log(&world, 20..25).await;
        world.settled().await;
        assert_eq!(world.texts().await, texts(0..25));
    })
    .await;
}

/// Deletes rows, and nothing else: the noted floor stays above them.
async fn delete_rows(world: &World, seqs: std::ops::RangeInclusive<i64>) {
    let among = messages::Column::Seq.between(*seqs.start(), *seqs.end());
    let delete = messages::Entity::delete_many().filter(among);
    delete.exec(&world.database.pool).await.unwrap();
}

/// Waits until the rows are there again, of a log that was not trimmed.
async fn is_refilled(world: &World, count: usize) {
    until("the rows are there again", async || {
        (world.rows().await.len() == count).then_some(())
    })
    .await;
    assert_eq!(world.texts().await, texts(0..count));
    assert_eq!(world.log().await["first_seq"], 1, "nothing is purged");
}

#[tokio::test]
async fn rows_that_are_deleted_under_a_running_persist_are_stored_again() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        for (deleted, logged, count) in [(1..=8, 0, 8), (11..=12, 8, 20)] {
            log(&world, logged..count).await;
            until("all is noted", async || {
                (noted(&world).await == count as i64).then_some(())
            })
            .await;

            delete_rows(&world, deleted).await;

            is_refilled(&world, count).await;
        }
    })
    .await;
}

#[tokio::test]
async fn rows_that_were_deleted_below_the_noted_floor_are_stored_again_after_a_start() {
    on_each(async |world: World| {
        for deleted in [11..=12, 1..=22] {
            let running = world.serve().await;
            if world.rows().await.is_empty() {
                log(&world, 0..22).await;
            }
            world.settled().await;
            running.stop(GUARD).await;
            assert_eq!(noted(&world).await, 22);
            delete_rows(&world, deleted).await;

            let _running = world.serve().await;

            is_refilled(&world, 22).await;
        }
    })
    .await;
}

#[tokio::test]
async fn setup_begins_the_consumer_again_where_rows_were_deleted() {
    on_each(async |world: World| {
        let running = world.serve().await;
        log(&world, 0..22).await;
        world.settled().await;
        running.stop(GUARD).await;
        delete_rows(&world, 11..=12).await;

        world.set_up().await.unwrap();

        let consumer = world.consumer().await;
        assert_eq!(consumer["config"]["opt_start_seq"], 11);
        let _running = world.serve().await;
        is_refilled(&world, 22).await;
    })
    .await;
}

#[tokio::test]
async fn messages_that_vanished_from_the_middle_of_the_log_are_told_once() {
    on_each(async |world: World| {
        let backend = world.backend().await;
        let message = json!({ "user": "b", "text": "x", "timestamp": 1 }).to_string();
        for room in ["a", "b", "a", "b", "b", "a"] {
            append(&backend, &format!("chat.{room}"), None, message.clone()).await;
        }
        let filter = json!({ "filter": "chat.b" });
        world.api("STREAM.PURGE.CHAT_MESSAGES", &filter).await;

        let path = world.server.data().join("told");
        let told = std::fs::File::create(&path).unwrap();
        let mut persist = crate::child::command(&world, &["serve", "persist"]);
        let _persist = persist.stderr(told).spawn().unwrap();

        for upto in [6, 7] {
            until("everything is noted", async || {
                (noted(&world).await == upto).then_some(())
            })
            .await;
            append(&backend, "chat.a", None, message.clone()).await;
        }
        let told = std::fs::read_to_string(&path).unwrap();
        let lost = told.split("lost=").skip(1).map(|rest| &rest[..1]);
        let lost: usize = lost.map(|count| count.parse::<usize>().unwrap()).sum();
        assert_eq!(lost, 3, "{told}");
        assert!(told.contains("from=2") && told.contains("to=5"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn message_that_says_it_is_a_replay_for_another_is_not_asked_for_again_and_again() {
    on_each(async |world: World| {
        let running = world.serve().await;
        log(&world, 0..2).await;
        let backend = world.backend().await;
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Dead-Letter-Replay-For", "shop.store");
        headers.insert("Dead-Letter-Replay-Of", "CHAT_MESSAGES.1-1");
        let message = json!({ "user": "robot", "text": "2", "timestamp": 1 }).to_string();
        let id = Some("forged");
        let forged = backend.append("chat.general", id, headers, message.into());
        forged.await.unwrap();
        log(&world, 3..5).await;
        world.settled().await;
        let before = world.consumer().await["created"].clone();

        running.stop(GUARD).await;
        assert_eq!(noted(&world).await, 5, "it has its row, or needs none");
        let _running = world.serve().await;
        log(&world, 5..6).await;
        world.settled().await;

        assert_eq!(world.consumer().await["created"], before);
        assert_eq!(world.texts().await, texts(0..6), "and it is there");
    })
    .await;
}

#[tokio::test]
async fn log_that_is_purged_behind_a_dead_letter_goes_on_being_noted() {
    on_each(async |world: World| {
        let _running = world.serve().await;
        log(&world, 0..3).await;
        let backend = world.backend().await;
        append(&backend, "chat.general", None, "no JSON".to_owned()).await;
        until("the dead letter is noted", async || {
            (noted(&world).await == 4).then_some(())
        })
        .await;

        let purged = world.api("STREAM.PURGE.CHAT_MESSAGES", &json!({})).await;
        assert_eq!(purged["purged"], 4, "{purged}");
        until("it is compared once more", async || {
            let info = world.api("STREAM.INFO.CHAT_MESSAGES", &json!({})).await;
            (info["state"]["first_seq"] == 5).then_some(())
        })
        .await;
        log(&world, 3..6).await;

        until("the floor goes on", async || {
            (noted(&world).await == 7).then_some(())
        })
        .await;
        assert_eq!(world.texts().await, texts(0..6));
    })
    .await;
}

//! The log rolled back: an older copy of JetStream's store is put back, and sequences are used again.

use std::path::{Path, PathBuf};

use chat::store::entity::epochs;
use natsfn::Running;
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wait::{GUARD, until};
use crate::world::{World, append, on_each};

/// A copy of JetStream's store, as a backup or a disk without `sync_interval: always` would hold it.
struct Copy {
    directory: TempDir,
}

impl Copy {
    /// Stops the server, copies its store, starts it again.
    async fn of(world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // A clean end writes down how far the consumer is.
        world.server.restart().await;
        world.server.down().await;
        copy(&store(world), directory.path());
        world.server.up().await;
        Self { directory }
    }

    /// What lies on the disk at this moment, as a power cut would leave it with `sync_interval: always`.
    fn of_this_moment(world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        world.server.pause();
        copy(&store(world), directory.path());
        world.server.resume();
        Self { directory }
    }

    /// Stops the server, puts the copy in place of its store, starts it again. Of `kept`, which is a
    /// path below the log's directory, the newer state stays.
    async fn put_back(&self, world: &World, kept: Option<&str>) {
        if kept.is_some() {
            world.server.restart().await;
        }
        world.server.down().await;
        let (store, log) = (store(world), Path::new("CHAT/streams/CHAT_MESSAGES"));
        let newer = tempfile::tempdir().unwrap();
        if let Some(kept) = kept {
            copy(&store.join(log).join(kept), newer.path());
        }
        std::fs::remove_dir_all(&store).unwrap();
        copy(self.directory.path(), &store);
        if let Some(kept) = kept {
            let kept = store.join(log).join(kept);
            std::fs::remove_dir_all(&kept).unwrap();
            copy(newer.path(), &kept);
        }
        world.server.up().await;
    }
}

fn store(world: &World) -> PathBuf {
    world.server.data().join("jetstream")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Appends `name-1` to `name-<count>`, and returns them.
async fn log(world: &World, name: &str, count: usize) -> Vec<String> {
    let backend = world.backend().await;
    let texts: Vec<String> = (1..=count).map(|n| format!("{name}-{n}")).collect();
    for text in &texts {
        let message = json!({ "user": "b", "text": text, "timestamp": 1 }).to_string();
        append(&backend, "chat.general", Some(text), message).await;
    }
    texts
}

/// The last page of the room, as large as a page may be.
async fn texts_of_history(world: &World) -> Vec<String> {
    let alice = world.person("alice").await;
    let page = alice.page("chat.history.general", json!({ "limit": 200 }));
    page.await.unwrap().texts()
}

async fn epochs(world: &World) -> Vec<epochs::Model> {
    let find = epochs::Entity::find();
    find.all(&world.database.pool).await.unwrap()
}

/// A log of ten stored messages of which a copy was taken, and forty more, stored as well.
async fn stored_and_copied(world: &World) -> (Running, Copy, Vec<String>) {
    let running = world.serve().await;
    let mut texts = log(world, "kept", 10).await;
    world.settled().await;
    let copy = Copy::of(world).await;
    texts.extend(log(world, "lost", 40).await);
    world.settled().await;
    (running, copy, texts)
}

/// Everything that was acknowledged is stored and shown once, in its order, in two epochs.
async fn all_is_there(world: &World, old: &[String], new: &[String]) {
    world.settled().await;
    let expected = [old, new].concat();
    assert_eq!(world.texts().await, expected);
    assert_eq!(texts_of_history(world).await, expected);
    let rows = world.rows().await;
    let epochs = epochs(world).await;
    assert_eq!(epochs.len(), 2, "{epochs:?}");
    assert!(
        rows[..old.len()]
            .iter()
            .all(|row| row.epoch == epochs[0].id)
    );
    assert!(
        rows[old.len()..]
            .iter()
            .all(|row| row.epoch == epochs[1].id)
    );
    assert_eq!(epochs[1].first_seq, 11);
    assert_eq!(world.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn store_as_it_lies_on_the_disk_has_everything_that_was_acknowledged() {
    on_each(async |world: World| {
        let mut texts = log(&world, "first", 100).await;
        let copy = Copy::of_this_moment(&world);
        log(&world, "later", 10).await;
        copy.put_back(&world, None).await;
        texts.extend(log(&world, "new", 10).await);

        let _running = world.serve().await;
        world.settled().await;

        assert_eq!(world.texts().await, texts);
        assert_eq!(texts_of_history(&world).await, texts);
        assert_eq!(epochs(&world).await.len(), 1, "nothing was rolled back");
    })
    .await;
}

#[tokio::test]
async fn sequences_used_again_before_persist_looks_begin_a_new_epoch() {
    on_each(async |world: World| {
        let (running, copy, old) = stored_and_copied(&world).await;
        running.stop(GUARD).await;
        copy.put_back(&world, None).await;
        let new = log(&world, "new", 60).await;

        // Not one of the new ones may be hidden behind an old one that has its sequence.
        let _history = world.serve_only(&["send", "history"]).await;
        let alice = world.person("alice").await;
        let refused = alice.page("chat.history.general", Value::Null).await;
        let refused = refused.expect_err("history must not answer yet");
        assert_eq!(refused.code, 503, "{}", refused.message);

        let _persist = world.serve_only(&["persist"]).await;
        all_is_there(&world, &old, &new).await;
    })
    .await;
}

#[tokio::test]
async fn log_rolled_back_under_a_running_persist_begins_a_new_epoch() {
    on_each(async |world: World| {
        let (running, copy, old) = stored_and_copied(&world).await;
        let shown = || {
            let stats = running.stats();
            let mut functions = stats["endpoints"].as_array().unwrap().iter();
            let persist = functions.find(|function| function["name"] == "persist");
            persist.unwrap()["data"]["epoch"].clone()
        };

        copy.put_back(&world, None).await;

        // Also while nothing new comes: history may not stay unavailable.
        until("a new epoch begins", async || {
            (epochs(&world).await.len() == 2).then_some(())
        })
        .await;
        assert_eq!(texts_of_history(&world).await, old);
        let epoch = epochs(&world).await[1].id;
        let expected = json!({ "id": epoch, "first_seq": 11, "rolled_back": true });
        until("an operator sees it", async || {
            (shown() == expected).then_some(())
        })
        .await;
        let new = log(&world, "new", 60).await;
        all_is_there(&world, &old, &new).await;
    })
    .await;
}

#[tokio::test]
async fn consumer_that_is_ahead_of_an_older_stream_is_made_again() {
    on_each(async |world: World| {
        let (running, copy, old) = stored_and_copied(&world).await;
        running.stop(GUARD).await;
        // The older messages are put back; the consumer's own state stays.
        copy.put_back(&world, Some("obs")).await;
        let warnings = std::fs::read_to_string(world.server.log()).unwrap();
        let warning = "delivered sequence 50 past last stream sequence of 10";
        assert!(warnings.contains(warning), "{warnings}");
        let new = log(&world, "new", 60).await;

        let _running = world.serve().await;

        all_is_there(&world, &old, &new).await;
    })
    .await;
}

#[tokio::test]
async fn consumer_that_acknowledged_other_messages_of_the_same_sequences_is_made_again() {
    on_each(async |world: World| {
        let (running, copy, old) = stored_and_copied(&world).await;
        running.stop(GUARD).await;
        let newer = Copy::of(&world).await;
        copy.put_back(&world, None).await;
        let new = log(&world, "new", 60).await;
        // The server sees nothing wrong: the consumer's floor, 50, lies within the stream.
        newer.put_back(&world, Some("msgs")).await;
        let floor = world.consumer().await["ack_floor"]["stream_seq"].clone();
        assert_eq!(floor, 50);

        let _running = world.serve().await;

        all_is_there(&world, &old, &new).await;
    })
    .await;
}

#[tokio::test]
async fn log_rolled_back_to_the_same_place_again_loses_nothing_either() {
    on_each(async |world: World| {
        let (_running, copy, mut all) = stored_and_copied(&world).await;
        for name in ["second", "third"] {
            copy.put_back(&world, None).await;
            all.extend(log(&world, name, 20).await);
            world.settled().await;
        }
        assert_eq!(world.texts().await, all);
        assert_eq!(texts_of_history(&world).await, all);
        assert_eq!(epochs(&world).await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn older_life_of_the_log_that_is_put_back_goes_on_in_a_new_epoch() {
    on_each(async |world: World| {
        let (running, copy, mut all) = stored_and_copied(&world).await;
        world.api("STREAM.DELETE.CHAT_MESSAGES", &Value::Null).await;
        world.set_up().await.unwrap();
        all.extend(log(&world, "remade", 5).await);
        until("the new life is stored", async || {
            (world.rows().await.len() == all.len()).then_some(())
        })
        .await;
        running.stop(GUARD).await;
        copy.put_back(&world, None).await;
        all.extend(log(&world, "new", 10).await);

        let _running = world.serve().await;
        world.settled().await;

        assert_eq!(world.texts().await, all);
        assert_eq!(texts_of_history(&world).await, all);
    })
    .await;
}

#[tokio::test]
async fn whole_older_life_that_is_put_back_is_no_page_without_the_newer_one() {
    on_each(async |world: World| {
        let running = world.serve().await;
        let mut all = log(&world, "kept", 10).await;
        world.settled().await;
        let copy = Copy::of(&world).await;
        world.api("STREAM.DELETE.CHAT_MESSAGES", &Value::Null).await;
        world.set_up().await.unwrap();
        all.extend(log(&world, "remade", 5).await);
        until("the new life is stored", async || {
            (world.rows().await.len() == all.len()).then_some(())
        })
        .await;
        running.stop(GUARD).await;
        copy.put_back(&world, None).await;

        // Its last row is the log's last message: nothing else tells that there was a newer life.
        let history = world.serve_only(&["history"]).await;
        let alice = world.person("alice").await;
        let page = alice.page("chat.history.general", Value::Null).await;
        assert_eq!(page.unwrap_err().code, 503);
        history.stop(GUARD).await;

        let _running = world.serve().await;
        all.extend(log(&world, "new", 3).await);
        world.settled().await;
        assert_eq!(texts_of_history(&world).await, all);
    })
    .await;
}

#[tokio::test]
async fn rows_of_a_log_that_is_only_shorter_stay_and_page_through() {
    on_each(async |world: World| {
        let (running, copy, old) = stored_and_copied(&world).await;
        let alice = world.person("alice").await;
        let before = alice.page("chat.history.general", json!({ "limit": 5 }));
        let before = before.await.unwrap();
        running.stop(GUARD).await;
        copy.put_back(&world, None).await;
        let _running = world.serve().await;
        let new = log(&world, "new", 3).await;
        world.settled().await;

        // Who was away goes on from where it was, forwards and backwards.
        let after = json!({ "after": before.messages.last().unwrap() });
        let rest = alice.page("chat.history.general", after).await.unwrap();
        assert_eq!(rest.texts(), new);
        assert!(rest.head.0 > before.head.0, "the page reloads the room");
        let first = json!({ "before": rest.messages[0], "limit": 200 });
        let rest = alice.page("chat.history.general", first).await.unwrap();
        assert_eq!(rest.texts(), old);
    })
    .await;
}

//! Answers that are kept: what was acknowledged before the question is in them, whatever happens to the
//! stream and the connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::future::join_all;
use natsfn::{Client, Error, HeaderMap, Message, Response, Result, Service, Stream, StreamCache};
use serde_json::{Value, json};

use crate::captured::Captured;
use crate::world::{World, conf, until, within};

/// Somebody who asks which messages a subject has.
struct Reader {
    client: Client,
    cache: StreamCache<u64>,
    readings: AtomicUsize,
}

impl Reader {
    fn new(nats: async_nats::Client) -> Self {
        Self {
            client: Client::new(nats),
            cache: StreamCache::new("LOG", 1 << 20, Duration::from_secs(3600)),
            readings: AtomicUsize::new(0),
        }
    }

    async fn ask(&self, subject: &str) -> Result<Vec<u64>> {
        self.ask_one_of(subject, 0).await
    }

    /// Several questions have the same answer.
    async fn ask_one_of(&self, subject: &str, question: u64) -> Result<Vec<u64>> {
        let read = async |_| {
            self.readings.fetch_add(1, SeqCst);
            let range = self.client.range("LOG", subject, 1, 10_000, 1 << 20);
            let seqs: Vec<u64> = range.await?.messages.iter().map(Message::seq).collect();
            Ok((Response::json(&seqs)?, true))
        };
        let answer = self.cache.get(&self.client, subject, question, read);
        Ok(serde_json::from_slice(&within(answer).await?.payload)?)
    }

    /// How often the stream was read since the last call.
    fn readings(&self) -> usize {
        self.readings.swap(0, SeqCst)
    }
}

async fn set_up(world: &World) {
    let stream = Stream::new("LOG", ["log.>"]);
    world
        .set_up(Service::new("a", "1.0.0").stream(stream))
        .await;
}

async fn world() -> (World, Reader, Client) {
    let world = World::new().await;
    set_up(&world).await;
    let reader = Reader::new(world.connect().await);
    let writer = Client::new(world.connect().await);
    (world, reader, writer)
}

async fn append(client: &Client, subject: &str) -> Result<u64> {
    let appended = client.append(subject, None, HeaderMap::new(), "x".into());
    Ok(appended.await?.seq)
}

#[tokio::test]
async fn answer_is_kept_until_its_subject_has_another_message() {
    let (_world, reader, writer) = world().await;
    append(&writer, "log.a").await.unwrap();
    assert_eq!(reader.ask("log.a").await.unwrap(), [1]);
    assert_eq!(reader.readings(), 1);
    for n in 2..50 {
        append(&writer, "log.b").await.unwrap();
        assert_eq!(reader.ask("log.a").await.unwrap(), [1]);
        assert_eq!(reader.readings(), 0, "at {n}");
    }
    let seq = append(&writer, "log.a").await.unwrap();
    assert_eq!(reader.ask("log.a").await.unwrap(), [1, seq]);
    assert_eq!(reader.readings(), 1);
    let many = join_all((0..100).map(|_| reader.ask("log.b"))).await;
    assert!(many.iter().all(|seqs| seqs.as_ref().unwrap().len() == 48));
    assert!(reader.readings() <= 2, "they share");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_is_in_the_answer_once_it_is_acknowledged() {
    let (world, reader, _) = world().await;
    let reader = Arc::new(reader);
    let connections = join_all((0..8).map(|_| world.connect())).await;
    let writers = connections.into_iter().enumerate().map(|(n, nats)| {
        let reader = reader.clone();
        tokio::spawn(async move {
            let writer = Client::new(nats);
            for round in 0..300 {
                // Each has a subject of its own, and one that all share.
                let own = format!("log.own.{n}");
                let subject = if round % 4 == 0 { "log.all" } else { &own };
                let seq = append(&writer, subject).await.unwrap();
                let seen = reader.ask(subject).await.unwrap();
                assert!(seen.contains(&seq), "{subject} lacks {seq}");
                let next = format!("log.own.{}", (n + 1) % 8);
                let seen = reader.ask(&next).await.unwrap();
                assert!(seen.is_sorted());
            }
        })
    });
    for writer in within(join_all(writers)).await {
        writer.unwrap();
    }
    assert!(reader.readings() < 8 * 300 * 2, "some come from memory");
}

#[tokio::test]
async fn stream_that_is_made_again_or_purged_is_read_anew() {
    let (world, reader, writer) = world().await;
    for round in 1..=3 {
        for seq in 1..=round {
            assert_eq!(append(&writer, "log.a").await.unwrap(), seq);
        }
        let all: Vec<u64> = (1..=round).collect();
        assert_eq!(reader.ask("log.a").await.unwrap(), all);
        world.api("STREAM.DELETE.LOG", &Value::Null).await;
        set_up(&world).await;
        assert_eq!(reader.ask("log.a").await.unwrap(), [0; 0]);
        // The same sequences again: other messages.
        for seq in 1..=round {
            append(&writer, "log.a").await.unwrap();
            reader.readings();
            assert_eq!(reader.ask("log.a").await.unwrap().last(), Some(&seq));
            assert_eq!(reader.readings(), 1);
        }
        world.api("STREAM.DELETE.LOG", &Value::Null).await;
        set_up(&world).await;
    }
    append(&writer, "log.a").await.unwrap();
    let newest = append(&writer, "log.a").await.unwrap();
    assert_eq!(reader.ask("log.a").await.unwrap(), [1, 2]);
    let delete = json!({ "seq": newest });
    world.api("STREAM.MSG.DELETE.LOG", &delete).await;
    assert_eq!(reader.ask("log.a").await.unwrap(), [1]);
    world.api("STREAM.PURGE.LOG", &Value::Null).await;
    let seq = append(&writer, "log.a").await.unwrap();
    assert_eq!(reader.ask("log.a").await.unwrap(), [seq]);
}

#[tokio::test]
async fn subject_without_messages_is_kept_too() {
    let (world, reader, writer) = world().await;
    append(&writer, "log.b").await.unwrap();
    for readings in [1, 0, 0] {
        assert_eq!(reader.ask("log.a").await.unwrap(), [0; 0]);
        assert_eq!(reader.readings(), readings);
    }
    let seq = append(&writer, "log.a").await.unwrap();
    assert_eq!(reader.ask("log.a").await.unwrap(), [seq]);
    world.api("STREAM.PURGE.LOG", &Value::Null).await;
    reader.readings();
    for readings in [1, 0] {
        assert_eq!(reader.ask("log.a").await.unwrap(), [0; 0]);
        assert_eq!(reader.readings(), readings);
    }
    // No message is one thing, no stream another.
    world.api("STREAM.DELETE.LOG", &Value::Null).await;
    let error = reader.ask("log.a").await.unwrap_err();
    assert!(error.message().contains("no such stream"), "{error}");
    assert_eq!(reader.readings(), 1);
}

#[tokio::test]
async fn older_copy_of_the_stream_is_read_anew() {
    let (world, reader, writer) = world().await;
    append(&writer, "log.a").await.unwrap();
    world.server.restart().await;
    world.server.down().await;
    let copy = tempfile::tempdir().unwrap();
    copy_directory(&store(&world), copy.path());
    world.server.up().await;
    reader.ask("log.a").await.unwrap();
    append(&writer, "log.a").await.unwrap();
    reader.readings();

    world.server.down().await;
    std::fs::remove_dir_all(store(&world)).unwrap();
    copy_directory(copy.path(), &store(&world));
    world.server.up().await;

    let seen = until("it answers", async || reader.ask("log.a").await.ok()).await;
    assert_eq!(seen, [1]);
    assert_eq!(
        reader.readings(),
        1,
        "the last message is the same as before"
    );
}

/// Where the server keeps its streams.
fn store(world: &World) -> PathBuf {
    world.server.data().join("jetstream")
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_directory(&entry.path(), &target),
            false => _ = std::fs::copy(entry.path(), target).unwrap(),
        }
    }
}

#[tokio::test]
async fn who_may_not_look_reads_each_time_and_is_told_once() {
    let log = Captured::begin();
    let denied = conf("$JS.API.STREAM.MSG.GET.>");
    let world = World::with(|config| config.text(denied)).await;
    set_up(&world).await;
    let reader = Reader::new(world.connect().await);
    let writer = Client::new(world.connect().await);
    for n in 1..=5 {
        let seq = append(&writer, "log.a").await.unwrap();
        assert_eq!(reader.ask("log.a").await.unwrap().last(), Some(&seq));
        assert_eq!(reader.readings(), 1, "at {n}");
    }
    let told = log.lines("may this user publish to $JS.API.STREAM.MSG.GET.LOG?");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn look_that_is_answered_with_an_error_is_no_reason_to_stop_looking() {
    let log = Captured::begin();
    let (world, reader, writer) = world().await;
    world.api("STREAM.DELETE.LOG", &Value::Null).await;
    for _ in 0..5 {
        reader.ask("log.a").await.unwrap_err();
    }
    set_up(&world).await;
    let seq = append(&writer, "log.a").await.unwrap();
    reader.readings();
    for readings in [1, 0] {
        assert_eq!(reader.ask("log.a").await.unwrap(), [seq]);
        assert_eq!(reader.readings(), readings);
    }
    assert_eq!(log.lines("may this user publish").len(), 0);
}

#[tokio::test]
async fn server_that_is_started_again_and_a_connection_that_breaks_lose_nothing() {
    let (world, reader, writer) = world().await;
    for round in 0..6 {
        let before = append(&writer, "log.a").await.unwrap();
        assert!(reader.ask("log.a").await.unwrap().contains(&before));
        if round % 2 == 0 {
            world.server.restart().await;
        } else {
            reader.client.nats().force_reconnect().await.unwrap();
        }
        let after = until("it is acknowledged", async || {
            append(&writer, "log.a").await.ok()
        })
        .await;
        let seen = until("it answers", async || reader.ask("log.a").await.ok()).await;
        assert!(seen.contains(&before) && seen.contains(&after), "{seen:?}");
    }
}

#[tokio::test]
async fn answers_take_no_more_memory_than_was_said() {
    let (_world, reader, writer) = world().await;
    append(&writer, "log.a").await.unwrap();
    // Each takes half a KiB at least, and 1 MiB is there.
    for question in 0..3_000 {
        reader.ask_one_of("log.a", question).await.unwrap();
    }
    assert_eq!(reader.readings(), 3_000);
    for question in (0..3_000).rev() {
        reader.ask_one_of("log.a", question).await.unwrap();
    }
    let again = reader.readings();
    assert!((952..2_999).contains(&again), "{again} were gone");
    // Of thousands of subjects too.
    for subject in 0..3_000 {
        reader.ask(&format!("log.{subject}")).await.unwrap();
    }
    reader.readings();
    for subject in (0..3_000).rev() {
        reader.ask(&format!("log.{subject}")).await.unwrap();
    }
    let again = reader.readings();
    assert!((952..2_999).contains(&again), "{again} were gone");
}

#[tokio::test]
async fn error_of_a_reading_is_kept_for_nobody() {
    let (_world, reader, writer) = world().await;
    append(&writer, "log.a").await.unwrap();
    let fail = async |_| Err(Error::unavailable("away"));
    let failed = reader.cache.get(&reader.client, "log.a", 0, fail);
    assert_eq!(within(failed).await.unwrap_err().message(), "away");
    assert_eq!(reader.ask("log.a").await.unwrap(), [1]);
}

//! Messages that are held in memory: what is told is what the stream has, whatever happens to stream and connection.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use natsfn::{
    Client, HeaderMap, LiveTail, Message, Response, Result, Service, Stream, StreamCache,
};
use serde_json::{Value, json};

use crate::world::{World, conf, until, within};

/// Somebody who asks which messages a subject has above a sequence.
struct Reader {
    client: Client,
    cache: StreamCache<u64>,
    tail: LiveTail<u64>,
    /// When the stream was made that is known, and a moment before it was asked.
    known: (i64, Instant),
    /// How often the answer was held.
    held: AtomicUsize,
}

impl Reader {
    async fn new(nats: async_nats::Client, max_bytes: usize) -> Self {
        let mut reader = Self {
            client: Client::new(nats),
            cache: StreamCache::new("LOG", 1 << 20, Duration::from_secs(3600)),
            tail: LiveTail::new(
                "LOG",
                "live.",
                max_bytes,
                Duration::from_secs(3600),
                Message::seq,
            ),
            known: (0, Instant::now()),
            held: AtomicUsize::new(0),
        };
        reader.know().await;
        reader
    }

    async fn know(&mut self) {
        let now = Instant::now();
        self.known = (self.created().await, now);
    }

    async fn created(&self) -> i64 {
        self.client.stream_info("LOG").await.unwrap().created_ns()
    }

    /// The sequences of a subject above one. Those that are held are compared with those in the stream.
    async fn ask(&self, subject: &str, above: u64) -> Result<Vec<u64>> {
        let read = async |head| {
            let range = self
                .client
                .range("LOG", subject, above + 1, 10_000, 1 << 20);
            let seqs: Vec<u64> = range.await?.messages.iter().map(Message::seq).collect();
            if let Some(head) = head {
                let (created, since) = self.known;
                let held = self
                    .tail
                    .between(&self.client, subject, above, &head, since);
                if let Some(held) = within(held).await? {
                    assert_eq!(created, self.created().await, "of another stream: {held:?}");
                    assert!(held.iter().all(|(seq, value)| seq == value));
                    let held: Vec<u64> = held.into_iter().map(|(seq, _)| seq).collect();
                    assert_eq!(held, seqs, "{subject} above {above}");
                    self.held.fetch_add(1, SeqCst);
                }
            }
            Ok((Response::json(&seqs)?, false))
        };
        let answer = self.cache.get(&self.client, subject, above, read);
        Ok(serde_json::from_slice(&within(answer).await?.payload)?)
    }

    /// How often since the last call an answer was held.
    fn held(&self) -> usize {
        self.held.swap(0, SeqCst)
    }
}

async fn set_up(world: &World) {
    let stream = Stream::new("LOG", ["log.>"]).republish(">", "live.>");
    world
        .set_up(Service::new("a", "1.0.0").stream(stream))
        .await;
}

async fn append(client: &Client, subject: &str) -> Result<u64> {
    let appended = client.append(subject, None, HeaderMap::new(), "x".into());
    Ok(appended.await?.seq)
}

/// Appends until what comes is held.
async fn follow(reader: &mut Reader, writer: &Client, subject: &str) -> u64 {
    loop {
        let seq = until("it is acknowledged", async || {
            append(writer, subject).await.ok()
        })
        .await;
        reader.held();
        reader.ask(subject, seq - 1).await.unwrap();
        if reader.held() > 0 {
            return seq;
        }
        reader.know().await;
    }
}

#[tokio::test]
async fn subject_that_is_asked_about_is_held_and_another_is_not() {
    let world = World::new().await;
    set_up(&world).await;
    let mut reader = Reader::new(world.connect().await, 1 << 20).await;
    let writer = Client::new(world.connect().await);
    let above = follow(&mut reader, &writer, "log.a").await;
    let mut appended = Vec::new();
    for n in 1..=50 {
        append(&writer, "log.b").await.unwrap();
        appended.push(append(&writer, "log.a").await.unwrap());
        assert_eq!(reader.ask("log.a", above).await.unwrap(), appended);
        assert_eq!(reader.held(), 1, "at {n}");
    }
    // What came before somebody asked is not there.
    reader.ask("log.b", 0).await.unwrap();
    append(&writer, "log.b").await.unwrap();
    reader.know().await;
    reader.ask("log.b", 0).await.unwrap();
    assert_eq!(reader.held(), 0);
}

#[tokio::test]
async fn what_is_held_takes_no_more_than_was_said() {
    let world = World::new().await;
    set_up(&world).await;
    let mut reader = Reader::new(world.connect().await, 4_000).await;
    let writer = Client::new(world.connect().await);
    let above = follow(&mut reader, &writer, "log.a").await;
    for _ in 0..100 {
        append(&writer, "log.a").await.unwrap();
    }
    // Each takes some 200 bytes, and 4,000 are there.
    reader.ask("log.a", above).await.unwrap();
    assert_eq!(reader.held(), 0);
    reader.ask("log.a", above + 98).await.unwrap();
    assert_eq!(reader.held(), 1);
    follow(&mut reader, &writer, "log.b").await;
}

#[tokio::test]
async fn random_changes_of_a_stream_and_of_the_connection_are_noticed() {
    let world = World::new().await;
    set_up(&world).await;
    let mut reader = Reader::new(world.connect().await, 1 << 20).await;
    let writer = Client::new(world.connect().await);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut held = 0;
    for _ in 0..400 {
        let subject = ["log.a", "log.b"][chance.usize(..2)];
        match chance.u8(..40) {
            0..30 => {
                for _ in 0..chance.u8(..5) {
                    append(&writer, subject).await.unwrap();
                }
            }
            30 | 31 => {
                if let Some(last) = writer.last("LOG", subject).await.unwrap() {
                    let delete = json!({ "seq": last.seq() });
                    world.api("STREAM.MSG.DELETE.LOG", &delete).await;
                }
            }
            32 => _ = world.api("STREAM.PURGE.LOG", &Value::Null).await,
            33 => {
                world.api("STREAM.DELETE.LOG", &Value::Null).await;
                set_up(&world).await;
                for _ in 0..chance.u8(..40) {
                    append(&writer, subject).await.unwrap();
                }
            }
            34 => reader.client.nats().force_reconnect().await.unwrap(),
            35 => {
                world.server.restart().await;
                until("it is acknowledged", async || {
                    append(&writer, subject).await.ok()
                })
                .await;
            }
            _ => reader.know().await,
        }
        let last = writer.last("LOG", subject).await.unwrap();
        let last = last.map_or(0, |last| last.seq());
        let above = last.saturating_sub(chance.u64(..8));
        for _ in 0..2 {
            until("it answers", async || reader.ask(subject, above).await.ok()).await;
        }
        held += reader.held();
    }
    assert!(held > 100, "seed {seed}: {held} of 800 were held");
}

#[tokio::test]
async fn who_may_not_hear_a_subject_reads_it() {
    let denied = conf("none")
        .replace("publish", "subscribe")
        .replace("none", "live.>");
    let world = World::with(|config| config.text(denied)).await;
    set_up(&world).await;
    let mut reader = Reader::new(world.connect().await, 1 << 20).await;
    let writer = Client::new(world.connect().await);
    // Where it may, the second answer is held, or one soon after.
    for _ in 0..50 {
        let seq = append(&writer, "log.a").await.unwrap();
        assert_eq!(reader.ask("log.a", seq - 1).await.unwrap(), [seq]);
        reader.know().await;
    }
    assert_eq!(reader.held(), 0);
}

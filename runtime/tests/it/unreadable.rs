//! Messages in a stream that the client cannot read off the wire: nats-server takes them from any
//! client, and async-nats loses its connection over each.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use natsfn::config::NatsConfig;
use natsfn::{Batch, Client, Connections, Error, Json, Service};
use tokio::sync::mpsc;

use crate::caller::Raw;
use crate::log::{consumer, letters};
use crate::world::{World, next, within};

/// Subject, header block, and a part of the reason.
const UNREADABLE: [(&[u8], &[u8], &str); 5] = [
    (b"log.a", b"NATS/1.0\r\nX: a\rb\r\n\r\n", "X"),
    (b"log.a", b"NATS/1.0\r\nX: \xff\r\n\r\n", "UTF-8"),
    (b"log.a", b"NATS/1.0\r\nno colon\r\n\r\n", "colon"),
    (b"log.a", b"NATS/1.0\r\nno name: a\r\n\r\n", "name"),
    (b"log.\xff", b"NATS/1.0\r\nX: good\r\n\r\n", "subject"),
];

#[tokio::test]
async fn a_message_that_cannot_be_read_off_the_wire_is_a_dead_letter() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            for n in &batch {
                seen.send(**n).unwrap();
            }
            async {}
        };
        let consumer = consumer().ack_wait(Duration::from_millis(500));
        Service::new("a", "1.0.0").consumer(consumer, store)
    };
    world.set_up(service()).await;
    let mut raw = Raw::connect(world.server.url(), "anybody");
    for (subject, block, _) in UNREADABLE {
        raw.append(subject, block, b"4");
        raw.append(b"log.good", b"NATS/1.0\r\nX: good\r\n\r\n", b"7");
    }

    // As the host does: a client whose own task has died makes way for another.
    let host = async {
        loop {
            let running = world.serve(service()).await;
            running.lost().await;
            running.stop(Duration::ZERO).await;
        }
    };
    tokio::select! {
        () = host => unreachable!(),
        () = world.settled("LOG", "store", 10) => {}
    }

    let letters = letters(&world).await;
    assert_eq!(letters.len(), UNREADABLE.len(), "{letters:?}");
    for (at, (letter, (subject, block, why))) in letters.iter().zip(UNREADABLE).enumerate() {
        assert_eq!(letter.sequence, 2 * at as u64 + 1);
        assert_eq!(letter.subject, String::from_utf8_lossy(subject));
        assert_eq!(letter.payload, &b"4"[..]);
        assert_eq!(letter.kind, "BadRequest");
        assert!(letter.reason.contains(why), "{why}: {}", letter.reason);
        assert_eq!(letter.header_block.as_deref(), Some(block));
    }
    for _ in UNREADABLE {
        assert_eq!(next(&mut sightings).await, 7);
    }
}

#[tokio::test]
async fn an_unreadable_message_ends_a_connection_of_its_own_and_the_service_goes_on() {
    let world = World::new().await;
    let service = || {
        let consumer = consumer().ack_wait(Duration::from_millis(500));
        let count = async |client: Client| {
            let range = client.range("LOG", "log.>", 1, 100, 1 << 20).await?;
            Ok::<_, Error>(Json(range.messages.len()))
        };
        Service::new("a", "1.0.0")
            .endpoint("count", count)
            .consumer(consumer, |_: Batch<u64>| async {})
    };
    world.set_up(service()).await;
    let config = NatsConfig {
        url: world.server.url().to_owned(),
        ..NatsConfig::default()
    };
    let connections = Connections::open(&config, "a").await.unwrap();
    let running = natsfn::start(service().build().unwrap(), connections, None)
        .await
        .unwrap();
    let mut raw = Raw::connect(world.server.url(), "anybody");
    for (subject, block, _) in UNREADABLE {
        raw.append(subject, block, b"4");
        raw.append(b"log.good", b"NATS/1.0\r\nX: good\r\n\r\n", b"7");
    }

    let work = async {
        world.settled("LOG", "store", 10).await;
        // What is read of the stream comes in on another one, which ends in the same way.
        let counted = world.ask_json("count", "").await;
        assert_eq!(counted, 10);
    };
    tokio::select! {
        error = running.lost() => panic!("{error}"),
        () = work => {}
    }

    assert_eq!(letters(&world).await.len(), UNREADABLE.len());
    let connects = running.nats().statistics().connects.load(Relaxed);
    assert_eq!(connects, 1, "the main connection");
}

#[tokio::test]
async fn a_range_with_unreadable_messages_is_read_to_the_end() {
    let world = World::new().await;
    let service = Service::new("a", "1.0.0").consumer(consumer(), |_: Batch<u64>| async {});
    world.set_up(service).await;
    let mut raw = Raw::connect(world.server.url(), "anybody");
    raw.append(b"log.a", b"NATS/1.0\r\nX: good\r\n\r\n", b"1");
    for (_, block, _) in &UNREADABLE[..4] {
        raw.append(b"log.a", block, b"4");
    }
    raw.append(b"log.a", b"NATS/1.0\r\nX: good\r\n\r\n", b"2");

    // The first reader may die of it; the next one, on another connection, knows.
    let read = async || {
        let client = Client::new(world.connect().await);
        client.range("LOG", "log.a", 1, 100, 1 << 20).await
    };
    let range = match within(read()).await {
        Ok(range) => range,
        Err(_) => within(read()).await.unwrap(),
    };

    let readable: Vec<(u64, bool)> = range
        .messages
        .iter()
        .map(|message| (message.seq(), message.unreadable().is_none()))
        .collect();
    let expected: Vec<(u64, bool)> = (1..=6).map(|seq| (seq, seq == 1 || seq == 6)).collect();
    assert_eq!(readable, expected);
    assert!(!range.more);
}

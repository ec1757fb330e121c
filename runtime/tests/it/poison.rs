//! Poison: messages that a function can never handle end as dead letters, and only those.

use natsfn::{Batch, Client, Error, HeaderMap, Result, Service};
use tokio::sync::mpsc;

use crate::log::{consumer, letters, numbers};
use crate::world::{World, function, next};

#[tokio::test]
async fn one_bad_message_in_500_is_the_only_dead_letter() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<u64>| {
            let bad = batch.iter().any(|n| **n == 321);
            if !bad {
                seen.send(batch.iter().map(|n| **n).collect::<Vec<_>>())
                    .unwrap();
            }
            async move {
                if bad {
                    Err(Error::bad_request("321 is no good"))
                } else {
                    Ok(())
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(500)).await;
    let running = world.serve(service()).await;
    world.settled("LOG", "store", 500).await;

    let letters = letters(&world).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].sequence, letters[0].reason.as_str()),
        (321, "321 is no good")
    );
    let mut stored = Vec::new();
    while let Ok(batch) = sightings.try_recv() {
        stored.extend(batch);
    }
    stored.sort_unstable();
    assert_eq!(stored, (1..=500).filter(|n| *n != 321).collect::<Vec<_>>());
    assert_eq!(function(&running, 0)["data"]["dead_lettered"], 1);
    assert_eq!(function(&running, 0)["last_error"], "400:321 is no good");
}

#[tokio::test]
async fn what_cannot_be_decoded_is_a_dead_letter_with_its_bytes_headers_and_reason() {
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
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let client = Client::new(world.nats.clone());
    let deep = "[".repeat(5000);
    let poison: [&[u8]; 6] = [
        b"",
        b"{",
        b"\"text\"",
        b"\xff\x00\xfe",
        b"99999999999999999999999",
        deep.as_bytes(),
    ];
    for bytes in poison {
        let mut headers = HeaderMap::new();
        headers.append("X-Twice", "one");
        headers.append("X-Twice", "two");
        client
            .append("log.bad", None, headers, bytes.to_vec().into())
            .await
            .unwrap();
        client
            .append("log.good", None, HeaderMap::new(), "7".into())
            .await
            .unwrap();
    }
    let running = world.serve(service()).await;
    world.settled("LOG", "store", 12).await;

    let letters = letters(&world).await;
    assert_eq!(letters.len(), poison.len());
    for (at, (letter, bytes)) in letters.iter().zip(poison).enumerate() {
        assert_eq!(letter.payload, bytes);
        assert_eq!(letter.headers["X-Twice"], ["one", "two"]);
        assert_eq!(
            (letter.subject.as_str(), letter.stream.as_str()),
            ("log.bad", "LOG")
        );
        assert_eq!(letter.sequence, 2 * at as u64 + 1);
        assert_eq!(
            (letter.service.as_str(), letter.function.as_str()),
            ("a", "store")
        );
        assert_eq!(letter.kind, "BadRequest");
        assert!(
            letter.reason.contains("not the JSON expected"),
            "{}",
            letter.reason
        );
    }
    for _ in poison {
        assert_eq!(next(&mut sightings).await, 7);
    }
    assert!(sightings.try_recv().is_err());
    assert_eq!(function(&running, 0)["data"]["dead_lettered"], 6);
}

#[tokio::test]
async fn a_decoder_that_panics_makes_a_dead_letter() {
    struct Picky;
    impl<'de> serde::Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            assert!(u64::deserialize(deserializer)? != 2, "no twos");
            Ok(Self)
        }
    }
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<Picky>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(3)).await;
    let _running = world.serve(service()).await;
    world.settled("LOG", "store", 3).await;
    let letters = letters(&world).await;
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].reason.contains("no twos"),
        "{}",
        letters[0].reason
    );
}

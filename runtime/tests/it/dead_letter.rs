//! Dead letters: listed, shown, replayed and dropped, and written once.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use natsfn::dead_letter::{self, STREAM};
use natsfn::{Batch, Client, Consumer, Error, HeaderMap, Kind, Running, Service, Stream};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::world::{World, next, within};

/// Messages are numbers; the function says which it got.
fn service(name: &str, seen: &mpsc::UnboundedSender<u64>) -> Service {
    let seen = seen.clone();
    let store = move |batch: Batch<u64>| {
        for n in &batch {
            seen.send(**n).unwrap();
        }
        async {}
    };
    let stream = Stream::new("LOG", ["log.>"]);
    Service::new(name, "1.0.0").consumer(Consumer::new(format!("{name}-store"), stream), store)
}

/// A world with `n` dead letters of service `a`.
async fn with_letters(n: u64) -> (World, Running, UnboundedReceiver<u64>) {
    let world = World::new().await;
    let (seen, sightings) = mpsc::unbounded_channel();
    world.set_up(service("a", &seen)).await;
    world
        .store("log.a", (0..n).map(|n| format!("bad {n}")))
        .await;
    let running = world.serve(service("a", &seen)).await;
    world.settled("LOG", "a-store", n).await;
    (world, running, sightings)
}

async fn ids(world: &World, service: &str, after: u64, limit: usize) -> Vec<u64> {
    let letters = dead_letter::list(&world.nats, service, after, limit)
        .await
        .unwrap();
    letters.iter().map(|letter| letter.id).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_oldest_first_in_pages() {
    let (world, _running, _) = with_letters(5).await;
    assert_eq!(ids(&world, "a", 0, 100).await, [1, 2, 3, 4, 5]);
    assert_eq!(ids(&world, "a", 0, 2).await, [1, 2]);
    assert_eq!(ids(&world, "a", 2, 2).await, [3, 4]);
    assert!(ids(&world, "a", 5, 2).await.is_empty());
    assert!(ids(&world, "a", u64::MAX, 2).await.is_empty());
}

#[tokio::test]
async fn each_service_sees_its_own() {
    let (world, _running, _) = with_letters(2).await;
    let (seen, _sightings) = mpsc::unbounded_channel();
    world.set_up(service("b", &seen)).await;
    let _other = world.serve(service("b", &seen)).await;
    world.settled("LOG", "b-store", 2).await;

    assert_eq!(ids(&world, "a", 0, 100).await, [1, 2]);
    assert_eq!(ids(&world, "b", 0, 100).await, [3, 4]);
    for id in [0, 3, 99, u64::MAX] {
        let error = dead_letter::show(&world.nats, "a", id).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{id}");
        assert!(dead_letter::drop(&world.nats, "a", id).await.is_err());
        assert!(dead_letter::replay(&world.nats, "a", id).await.is_err());
    }
    assert_eq!(ids(&world, "b", 0, 100).await, [3, 4]);
}

#[tokio::test]
async fn shown_dead_letter_has_everything_of_its_message() {
    let (world, _running, _) = with_letters(1).await;
    let letter = dead_letter::show(&world.nats, "a", 1).await.unwrap();
    assert_eq!(letter.payload, "bad 0");
    assert_eq!(
        (letter.subject.as_str(), letter.stream.as_str()),
        ("log.a", "LOG")
    );
    assert_eq!((letter.sequence, letter.function.as_str()), (1, "a-store"));
    let stored = world.api("STREAM.MSG.GET.LOG", &json!({"seq": 1})).await;
    assert_eq!(*letter.time, stored["message"]["time"]);
}

#[tokio::test]
async fn dropped_dead_letter_is_gone_and_the_others_stay() {
    let (world, _running, _) = with_letters(3).await;
    dead_letter::drop(&world.nats, "a", 2).await.unwrap();
    assert_eq!(ids(&world, "a", 0, 100).await, [1, 3]);
    let again = dead_letter::drop(&world.nats, "a", 2).await.unwrap_err();
    assert_eq!(again.kind(), Kind::NotFound);
}

#[tokio::test]
async fn replay_reaches_the_function_under_its_own_subject_and_a_new_id() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    // A version of the function that knows no numbers, as before somebody mended it.
    let broken = || {
        let refuse = |_: Batch<bool>| async {};
        let stream = Stream::new("LOG", ["log.>"]);
        Service::new("a", "1.0.0").consumer(Consumer::new("a-store", stream), refuse)
    };
    world.set_up(broken()).await;
    let client = Client::new(world.nats.clone());
    let mut headers = HeaderMap::new();
    headers.insert("X", "y");
    client
        .append("log.a", Some("the-id"), headers, "42".into())
        .await
        .unwrap();
    let running = world.serve(broken()).await;
    world.settled("LOG", "a-store", 1).await;
    running.stop(std::time::Duration::from_secs(10)).await;

    let seq = dead_letter::replay(&world.nats, "a", 1).await.unwrap();

    assert_eq!(seq, 2);
    assert!(ids(&world, "a", 0, 100).await.is_empty());
    let _mended = world.serve(service("a", &seen)).await;
    assert_eq!(next(&mut sightings).await, 42);
    let stored = world.api("STREAM.MSG.GET.LOG", &json!({"seq": 2})).await;
    assert_eq!(stored["message"]["subject"], "log.a");
    let block = base64(&stored["message"]["hdrs"]);
    assert!(block.contains("X: y") || block.contains("X:y"), "{block}");
    assert!(
        block.contains("Nats-Msg-Id: replay-") && block.contains("Dead-Letter-Replay-Id: the-id"),
        "{block}"
    );
}

#[tokio::test]
async fn replay_is_for_the_function_that_failed_unless_all_are_meant() {
    let (world, running, mut mended) = with_letters(0).await;
    let (seen, mut others) = mpsc::unbounded_channel();
    world.set_up(service("b", &seen)).await;
    let _other = world.serve(service("b", &seen)).await;
    running.stop(std::time::Duration::from_secs(10)).await;
    let broken = || {
        let refuse = |_: Batch<bool>| async {};
        let stream = Stream::new("LOG", ["log.>"]);
        Service::new("a", "1.0.0").consumer(Consumer::new("a-store", stream), refuse)
    };
    world.store("log.a", ["7".to_owned(), "8".to_owned()]).await;
    let running = world.serve(broken()).await;
    world.settled("LOG", "a-store", 2).await;
    running.stop(std::time::Duration::from_secs(10)).await;
    assert_eq!((next(&mut others).await, next(&mut others).await), (7, 8));

    dead_letter::replay(&world.nats, "a", 1).await.unwrap();
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let _mended = world.serve(service("a", &seen)).await;
    assert_eq!(next(&mut sightings).await, 7);
    world.settled("LOG", "b-store", 3).await;
    dead_letter::replay_to_all(&world.nats, "a", 2)
        .await
        .unwrap();
    assert_eq!(next(&mut sightings).await, 8);
    assert_eq!(next(&mut others).await, 8, "and not 7 before it");
    assert!(mended.try_recv().is_err());
}

#[tokio::test]
async fn replay_that_fails_again_keeps_its_first_position() {
    let (world, _running, _) = with_letters(1).await;
    let first = dead_letter::show(&world.nats, "a", 1).await.unwrap();
    for id in [1, 2] {
        dead_letter::replay(&world.nats, "a", id).await.unwrap();
        world.settled("LOG", "a-store", id + 1).await;
    }
    let third = dead_letter::show(&world.nats, "a", 3).await.unwrap();
    let stored = world.api("STREAM.MSG.GET.LOG", &json!({"seq": 1})).await;
    let place = format!("LOG.1-{}", nanoseconds(&stored["message"]["time"]));
    assert_eq!(third.headers["Dead-Letter-Replay-Of"], [place]);
    assert_eq!(third.headers["Dead-Letter-Replay-For"], ["a.a-store"]);
    assert_eq!((first.sequence, third.sequence), (1, 3));
}

#[tokio::test]
async fn replay_that_fails_again_is_a_new_dead_letter() {
    let (world, _running, _) = with_letters(1).await;
    dead_letter::replay(&world.nats, "a", 1).await.unwrap();
    world.settled("LOG", "a-store", 2).await;
    assert_eq!(ids(&world, "a", 0, 100).await, [2]);
}

#[tokio::test]
async fn dead_letter_that_cannot_be_replayed_stays() {
    let (world, _running, _) = with_letters(1).await;
    world.api("STREAM.DELETE.LOG", &Value::Null).await;
    let error = dead_letter::replay(&world.nats, "a", 1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(ids(&world, "a", 0, 100).await, [1]);
}

#[tokio::test]
async fn dead_letter_written_before_a_crash_is_not_written_again() {
    let world = World::new().await;
    let (seen, _sightings) = mpsc::unbounded_channel();
    world.set_up(service("a", &seen)).await;
    world.store("log.a", ["bad".to_owned()]).await;
    let stored = world.api("STREAM.MSG.GET.LOG", &json!({"seq": 1})).await;
    let subject = format!(
        "dead.a.a-store.LOG.1-{}",
        nanoseconds(&stored["message"]["time"])
    );
    let client = Client::new(world.nats.clone());
    client
        .append(&subject, None, HeaderMap::new(), "written before".into())
        .await
        .unwrap();

    let _running = world.serve(service("a", &seen)).await;
    world.settled("LOG", "a-store", 1).await;

    let info = world
        .api(&format!("STREAM.INFO.{STREAM}"), &Value::Null)
        .await;
    assert_eq!(info["state"]["messages"], 1);
}

#[tokio::test]
async fn message_as_large_as_the_stream_takes_is_kept_with_all_its_bytes() {
    let world = World::new().await;
    let (seen, _sightings) = mpsc::unbounded_channel();
    world.set_up(service("a", &seen)).await;
    let info = world.api("STREAM.INFO.LOG", &Value::Null).await;
    let limit = usize::try_from(info["config"]["max_msg_size"].as_u64().unwrap()).unwrap();
    let many = || {
        let mut headers = HeaderMap::new();
        for n in 1000..2000 {
            headers.insert(format!("X-{n}").as_str(), "y");
        }
        headers
    };
    // On the wire: a first and an empty line, and `X-1000: y` a thousand times.
    let largest = vec![b'{'; limit - 12 - 1000 * 11];
    let client = Client::new(world.nats.clone());
    let append = |headers, payload: Vec<u8>| client.append("log.a", None, headers, payload.into());

    let refused = append(many(), [&largest[..], b"{"].concat()).await;
    append(many(), largest.clone()).await.unwrap();
    append(HeaderMap::new(), vec![b'{'; limit]).await.unwrap();
    let _running = world.serve(service("a", &seen)).await;
    world.settled("LOG", "a-store", 2).await;

    assert_eq!(refused.unwrap_err().kind(), Kind::TooLarge);
    let mut letters = dead_letter::list(&world.nats, "a", 0, 10).await.unwrap();
    // They are written side by side.
    letters.sort_by_key(|letter| letter.sequence);
    assert_eq!(letters.len(), 2);
    assert!(letters[0].payload == largest);
    assert_eq!(
        json!(letters[0].headers),
        json!({"Dead-Letter-Headers": ["omitted"]})
    );
    assert_eq!(letters[1].payload.len(), limit);
    assert!(letters[1].headers.is_empty());

    dead_letter::replay(&world.nats, "a", 1).await.unwrap();
    world.settled("LOG", "a-store", 3).await;
    let again = dead_letter::show(&world.nats, "a", 3).await.unwrap();
    assert!(again.payload == largest && !again.headers.contains_key("Dead-Letter-Headers"));
}

/// Answers dead letters as their stream would, once so many of them wait for it. What they are
/// letters of is not ended before.
async fn written_side_by_side(bad: impl Fn(u64) -> String, together: usize) {
    let world = World::new().await;
    let service = || {
        let refuse = |batch: Batch<u64>| async move {
            match batch.len() {
                0 => Ok(()),
                _ => Err(Error::bad_request("none is good")),
            }
        };
        let stream = Stream::new("LOG", ["log.>"]);
        Service::new("a", "1.0.0").consumer(Consumer::new("a-store", stream), refuse)
    };
    world.set_up(service()).await;
    let n = together as u64;
    world.store("log.a", (0..n).map(bad)).await;
    world.api("STREAM.DELETE.DEAD_LETTERS", &Value::Null).await;
    let mut letters = world.nats.subscribe("dead.>").await.unwrap();
    world.settle().await;
    let _running = world.serve(service()).await;

    let mut subjects = BTreeSet::new();
    let mut replies = Vec::new();
    while subjects.len() < together {
        let letter = within(letters.next()).await.unwrap();
        subjects.insert(letter.subject);
        replies.push(letter.reply.unwrap());
    }
    let consumer = world.consumer("LOG", "a-store").await;
    assert_eq!(consumer["num_ack_pending"], n);
    assert_eq!(consumer["ack_floor"]["stream_seq"], 0);
    // On a machine that stands still some may have waited too long for their answers: they come again.
    let answers = async {
        for seq in 1.. {
            let reply = match replies.pop() {
                Some(reply) => reply,
                None => within(letters.next()).await.unwrap().reply.unwrap(),
            };
            let ack = json!({"stream": "DEAD_LETTERS", "seq": seq}).to_string();
            world.nats.publish(reply, ack.into()).await.unwrap();
        }
    };
    tokio::select! {
        () = answers => {}
        () = world.settled("LOG", "a-store", n) => {}
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_written_side_by_side_and_ended_once_it_is() {
    written_side_by_side(|n| format!("bad {n}"), 50).await;
}

#[tokio::test]
async fn what_the_function_refuses_is_written_side_by_side_and_ended_once_it_is() {
    written_side_by_side(|n| n.to_string(), 50).await;
}

#[tokio::test]
async fn message_of_a_foreign_stream_that_leaves_no_room_for_the_reason_is_kept_in_parts() {
    let world = World::new().await;
    // As somebody else has made it: with no limit but the server's.
    let foreign = json!({ "name": "LOG", "subjects": ["log.>"] });
    let made = world.api("STREAM.CREATE.LOG", &foreign).await;
    assert!(made.get("error").is_none(), "{made}");
    let service = || {
        let store = |_: Batch<u64>| async {};
        let log = Stream::existing("LOG").template("log.{x}");
        Service::new("a", "1.0.0").consumer(Consumer::new("a-store", log), store)
    };
    world.set_up(service()).await;
    let largest = "{".repeat(world.nats.max_payload());
    world
        .store("log.a", [largest.clone(), "1".to_owned()])
        .await;
    let _running = world.serve(service()).await;
    world.settled("LOG", "a-store", 2).await;

    let letters = dead_letter::list(&world.nats, "a", 0, 10).await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let id = letters[0].id;
    let letter = dead_letter::show(&world.nats, "a", id).await.unwrap();
    assert!(letter.payload == largest, "{}", letter.payload.len());
    // The replay says for which function it is, which does not fit either.
    let replayed = dead_letter::replay(&world.nats, "a", id).await;
    assert_eq!(replayed.unwrap_err().kind(), Kind::TooLarge);

    dead_letter::drop(&world.nats, "a", id).await.unwrap();

    let info = format!("STREAM.INFO.{STREAM}");
    let info = world.api(&info, &Value::Null).await;
    assert_eq!(info["state"]["messages"], 0);
}

#[tokio::test]
async fn without_a_dead_letter_stream_each_question_says_so() {
    let world = World::new().await;
    let errors = [
        dead_letter::list(&world.nats, "a", 0, 10).await.err(),
        dead_letter::show(&world.nats, "a", 1).await.err(),
        dead_letter::replay(&world.nats, "a", 1).await.err(),
        dead_letter::drop(&world.nats, "a", 1).await.err(),
    ];
    for error in errors {
        let error = error.unwrap();
        assert_eq!(error.kind(), Kind::NotFound);
        let said = "there is no stream DEAD_LETTERS: run `setup`";
        assert_eq!(error.to_string(), said);
    }
}

fn base64(text: &Value) -> String {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    String::from_utf8(engine.decode(text.as_str().unwrap()).unwrap()).unwrap()
}

fn nanoseconds(time: &Value) -> i128 {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(time.as_str().unwrap(), format)
        .unwrap()
        .unix_timestamp_nanos()
}

#[tokio::test]
async fn message_whose_headers_alone_are_too_large_for_a_letter_is_kept_without_them() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    world.set_up(service("a", &seen)).await;
    let many = |n: usize| {
        let mut headers = HeaderMap::new();
        for n in 0..n {
            headers.insert(format!("X-{n:05}").as_str(), "y");
        }
        headers
    };
    let client = Client::new(world.nats.clone());
    let append =
        |headers, payload: &'static str| client.append("log.a", None, headers, payload.into());
    // 12 bytes each: within the server's 64 KiB, which they are over with the prefix that a letter gives each.
    append(many(4500), "bad").await.unwrap();
    append(HeaderMap::new(), "7").await.unwrap();
    let refused = append(many(6000), "bad").await.unwrap_err();

    let _running = world.serve(service("a", &seen)).await;
    world.settled("LOG", "a-store", 2).await;

    assert_eq!(refused.kind(), Kind::TooLarge, "{refused}");
    assert_eq!(next(&mut sightings).await, 7);
    let letter = dead_letter::show(&world.nats, "a", 1).await.unwrap();
    assert_eq!(letter.payload, "bad");
    assert_eq!(
        json!(letter.headers),
        json!({"Dead-Letter-Headers": ["omitted"]})
    );
}

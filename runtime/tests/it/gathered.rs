//! Appends from many callers at once: some go together as one batch, and each ends as if it had gone alone.

use std::collections::BTreeMap;

use async_nats::Message as Raw;
use futures_util::future::join_all;
use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt, poll};
use natsfn::{Appended, Client, HeaderMap, Kind, Result, Service, Stream};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::world::{World, until, within};

/// Enough that most have to wait for the first.
const MANY: usize = 200;

fn log() -> Stream {
    Stream::new("LOG", ["log.>"])
}

/// A server that syncs each message, as one whose messages must not be lost does.
async fn synced() -> World {
    let text = "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
                jetstream { store_dir: $NATS_CONF_STORE_DIR, sync_interval: always }";
    World::with(|config| config.text(text)).await
}

async fn with_stream(stream: Stream) -> (World, Client) {
    let world = synced().await;
    world
        .set_up(Service::new("a", "1.0.0").stream(stream))
        .await;
    let client = Client::new(world.nats.clone());
    (world, client)
}

/// One to be appended: its number, its id, and what else is special.
struct Draft {
    id: String,
    headers: HeaderMap,
    payload: String,
}

fn drafts() -> Vec<Draft> {
    let draft = |n: usize| Draft {
        id: format!("id-{n}"),
        headers: HeaderMap::new(),
        payload: n.to_string(),
    };
    (0..MANY).map(draft).collect()
}

async fn append(client: &Client, draft: Draft) -> Result<Appended> {
    let Draft {
        id,
        headers,
        payload,
    } = draft;
    let appended = client.append("log.a", Some(&id), headers, payload.into());
    appended.await
}

/// All at once, in their order.
async fn append_all(client: &Client, drafts: Vec<Draft>) -> Vec<Result<Appended>> {
    let appends = drafts.into_iter().map(|draft| append(client, draft));
    within(join_all(appends)).await
}

/// What a stream holds by its sequences: the payload, and whether it was stored in a batch.
async fn stored(client: &Client) -> BTreeMap<u64, (String, bool)> {
    let range = client.range("LOG", "log.>", 1, 10_000, 64 << 20).await;
    let messages = range.unwrap().messages;
    let entries = messages.iter().map(|message| {
        let payload = String::from_utf8(message.payload().to_vec()).unwrap();
        let gathered = message.headers().get("Nats-Batch-Id").is_some();
        (message.seq(), (payload, gathered))
    });
    entries.collect()
}

async fn numbers(client: &Client) -> Vec<usize> {
    let payloads = stored(client).await.into_values();
    payloads.map(|(it, _)| it.parse().unwrap()).collect()
}

async fn gathered(client: &Client) -> usize {
    let stored = stored(client).await;
    stored.values().filter(|(_, gathered)| *gathered).count()
}

#[tokio::test]
async fn many_at_once_are_stored_together_and_each_is_told_its_own_place() {
    let (_world, client) = with_stream(log()).await;
    let appended = append_all(&client, drafts()).await;
    let stored = stored(&client).await;
    for (n, appended) in appended.into_iter().enumerate() {
        let appended = appended.unwrap();
        assert!(!appended.duplicate);
        assert_eq!(stored[&appended.seq].0, n.to_string());
    }
    assert_eq!(
        numbers(&client).await,
        (0..MANY).collect::<Vec<_>>(),
        "in the order of the calls"
    );
    assert!(gathered(&client).await > MANY / 2);
}

#[tokio::test]
async fn one_alone_is_a_plain_publish() {
    let (_world, client) = with_stream(log()).await;
    for draft in drafts() {
        append(&client, draft).await.unwrap();
    }
    assert_eq!(stored(&client).await.len(), MANY);
    assert_eq!(gathered(&client).await, 0);
}

#[tokio::test]
async fn a_duplicate_among_many_is_told_alone_and_the_others_are_stored_once_in_order() {
    let (_world, client) = with_stream(log()).await;
    let known = append(&client, drafts().remove(50)).await.unwrap();
    let mut all = drafts();
    all[120].id = "id-100".to_owned();

    let appended = append_all(&client, all).await;

    let appended: Vec<Appended> = appended.into_iter().map(Result::unwrap).collect();
    let duplicates: Vec<usize> = (0..MANY).filter(|n| appended[*n].duplicate).collect();
    assert_eq!(duplicates, [50, 120]);
    assert_eq!(appended[50].seq, known.seq);
    assert_eq!(appended[120].seq, appended[100].seq);
    let mut expected: Vec<usize> = (0..MANY).filter(|n| ![50, 120].contains(n)).collect();
    expected.insert(0, 50);
    assert_eq!(numbers(&client).await, expected);
}

#[tokio::test]
async fn what_is_refused_among_many_is_refused_alone() {
    let (_world, client) = with_stream(log().max_message_size(1000)).await;
    let mut all = drafts();
    for (n, size) in [(60, 1001), (100, 2 << 20), (MANY - 1, 2000)] {
        all[n].payload = "x".repeat(size);
    }
    all[80]
        .headers
        .insert("Nats-Expected-Last-Sequence", "7777");

    let appended = append_all(&client, all).await;

    let refused: Vec<(usize, Kind)> = (appended.iter().enumerate())
        .filter_map(|(n, appended)| Some((n, appended.as_ref().err()?.kind())))
        .collect();
    let large = Kind::TooLarge;
    assert_eq!(
        refused,
        [
            (60, large),
            (80, Kind::Conflict),
            (100, large),
            (MANY - 1, large)
        ]
    );
    let others = (0..MANY).filter(|n| ![60, 80, 100, MANY - 1].contains(n));
    assert_eq!(numbers(&client).await, others.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_stream_takes_what_still_fits_and_refuses_the_others() {
    let (world, client) = with_stream(log().max_bytes(60_000)).await;
    let mut all = drafts();
    all.iter_mut()
        .for_each(|draft| draft.payload = format!("{:>800}", draft.payload));
    let appended = append_all(&client, all).await;
    let (taken, refused): (Vec<_>, Vec<_>) = appended.into_iter().partition(Result::is_ok);
    assert!((40..MANY).contains(&taken.len()), "{}", taken.len());
    assert_eq!(stored(&client).await.len(), taken.len());
    let kinds = refused.into_iter().map(|it| it.unwrap_err().kind());
    assert!(kinds.into_iter().all(|kind| kind == Kind::Unavailable));

    world.api("STREAM.PURGE.LOG", &json!({})).await;
    let mut all = drafts();
    all.iter_mut()
        .for_each(|draft| draft.id = format!("again-{}", draft.id));
    let appended = append_all(&client, all).await;
    assert!(appended.iter().all(Result::is_ok));
}

#[tokio::test]
async fn whoever_gives_up_while_waiting_has_sent_nothing_and_stops_nobody() {
    let (_world, client) = with_stream(log()).await;
    let mut appends: Vec<_> = drafts()
        .into_iter()
        .map(|draft| Box::pin(append(&client, draft)))
        .collect();
    for append in &mut appends {
        assert!(poll!(append.as_mut()).is_pending());
    }
    drop(appends.remove(150));
    let rest: FuturesOrdered<_> = appends.into_iter().collect();
    let appended: Vec<_> = within(rest.collect()).await;
    assert!(appended.iter().all(Result::is_ok));
    let others = (0..MANY).filter(|n| *n != 150);
    assert_eq!(numbers(&client).await, others.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_that_takes_no_batches_gets_each_by_itself() {
    let world = synced().await;
    let config = json!({"name": "LOG", "subjects": ["log.>"], "allow_direct": true});
    world.api("STREAM.CREATE.LOG", &config).await;
    let client = Client::new(world.nats.clone());
    for appended in append_all(&client, drafts()).await {
        appended.unwrap();
    }
    assert_eq!(numbers(&client).await, (0..MANY).collect::<Vec<_>>());
    assert_eq!(gathered(&client).await, 0);
}

#[tokio::test]
async fn subjects_of_two_streams_mix() {
    let world = synced().await;
    let streams = ["a", "b"].map(|x| Stream::new(x.to_uppercase(), [format!("log.{x}.>")]));
    let [a, b] = streams;
    world
        .set_up(Service::new("a", "1.0.0").stream(a).stream(b))
        .await;
    let client = Client::new(world.nats.clone());
    // The one stream answers first, then both are mixed in what waits.
    for round in 0..3 {
        let appends = (0..MANY).map(|n| {
            let stream = if n >= 20 && n % 3 == 0 { "b" } else { "a" };
            let subject = format!("log.{stream}.x");
            let client = &client;
            async move {
                let id = format!("{round}-{n}");
                let appended =
                    client.append(&subject, Some(&id), HeaderMap::new(), id.clone().into());
                appended.await.unwrap()
            }
        });
        let appended = within(join_all(appends)).await;
        assert!(appended.iter().all(|appended| !appended.duplicate));
    }
    let held = async |stream: &str| client.stream_info(stream).await.unwrap().state.messages;
    assert_eq!((held("A").await, held("B").await), (3 * 140, 3 * 60));
}

#[tokio::test]
async fn a_message_from_a_batch_can_be_sent_on_with_its_headers() {
    let (_world, client) = with_stream(log()).await;
    append_all(&client, drafts()).await;
    let range = client.range("LOG", "log.>", 1, 10_000, 64 << 20).await;
    let messages = range.unwrap().messages;
    let last = messages.last().unwrap();
    assert!(last.headers().get("Nats-Batch-Id").is_some());
    let again = client.append("log.b", Some("again"), last.headers().clone(), "1".into());
    assert_eq!(again.await.unwrap().seq, MANY as u64 + 1);
    let subscribed = client.nats().subscribe("copy").await.unwrap();
    let copied = client.publish("copy", last.headers().clone(), "1".into());
    copied.await.unwrap();
    let copy: Raw = within(Box::pin(subscribed).next()).await.unwrap();
    assert_eq!(copy.headers.unwrap().get("Nats-Batch-Id"), None);
}

#[tokio::test]
async fn a_server_killed_among_batches_has_each_acknowledged_message_once() {
    let (world, client) = with_stream(log()).await;
    let acknowledged = Semaphore::new(0);
    let each_once = async |round: usize| {
        let appends = (0..MANY).map(|n| {
            let (client, acknowledged) = (&client, &acknowledged);
            async move {
                let payload = (round * MANY + n).to_string();
                let appended = until("it is acknowledged", async || {
                    let draft = Draft {
                        id: payload.clone(),
                        headers: HeaderMap::new(),
                        payload: payload.clone(),
                    };
                    append(client, draft).await.ok()
                });
                let seq = appended.await.seq;
                acknowledged.add_permits(1);
                (seq, payload)
            }
        });
        join_all(appends).await
    };
    let mut all = Vec::new();
    // After the first, in the midst of the first batch, of the second, near the end.
    for (round, after) in [0, 1, 17, 30, 150].into_iter().enumerate() {
        let kill = async {
            let seen = acknowledged.acquire_many(after).await.unwrap();
            seen.forget();
            world.server.kill();
        };
        let (appended, ()) = tokio::join!(each_once(round), kill);
        all.extend(appended);
        let left = u32::try_from(acknowledged.available_permits()).unwrap();
        acknowledged.acquire_many(left).await.unwrap().forget();
        world.server.ready().await;
    }
    let stored = stored(&client).await;
    assert_eq!(stored.len(), all.len());
    for (seq, payload) in all {
        assert_eq!(stored[&seq].0, payload);
    }
}

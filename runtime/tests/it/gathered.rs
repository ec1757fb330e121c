//! Appends from many callers at once: some go together as one batch, and each ends as if it had gone alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use async_nats::Message as Raw;
use futures_util::future::{join, join_all};
use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt, poll};
use natsfn::{
    Appended, Batch, Client, Consumer, HeaderMap, Kind, Result, Service, Stream, dead_letter,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::world::{World, conf, next, until, within};

/// Enough that most have to wait for the first.
const MANY: usize = 200;

fn log() -> Stream {
    Stream::new("LOG", ["log.>"]).atomic_appends()
}

/// A server that syncs each message, as one whose messages must not be lost does.
async fn synced() -> World {
    let text = "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
                jetstream { store_dir: $NATS_CONF_STORE_DIR, sync_interval: always }";
    World::with(|config| config.text(text)).await
}

async fn with_stream(stream: Stream) -> (World, Client) {
    let world = synced().await;
    world.set_up(service([stream.clone()])).await;
    let client = client(world.connect().await, [stream]).await;
    (world, client)
}

pub(crate) fn service<const N: usize>(streams: [Stream; N]) -> Service {
    let service = Service::new("a", "1.0.0");
    streams.into_iter().fold(service, Service::stream)
}

/// What a function has of a service that describes these streams.
pub(crate) async fn client<const N: usize>(
    connections: impl Into<natsfn::Connections>,
    streams: [Stream; N],
) -> Client {
    let (told, mut clients) = unbounded_channel();
    let service = service(streams).task("a", move |mut background, ()| {
        told.send(background.client().clone()).unwrap();
        async move {
            background.stopped().await;
            Ok(())
        }
    });
    let _running = natsfn::start(service.build().unwrap(), connections, None)
        .await
        .unwrap();
    next(&mut clients).await
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

/// The first alone, since a batch ends with a subject that was acknowledged before, and then all at once, in their order.
async fn append_all(client: &Client, drafts: Vec<Draft>) -> Vec<Result<Appended>> {
    let mut drafts = drafts.into_iter();
    let first = append(client, drafts.next().unwrap()).await;
    let mut all = vec![first];
    all.extend(at_once(client, drafts).await);
    all
}

async fn at_once(
    client: &Client,
    drafts: impl IntoIterator<Item = Draft>,
) -> Vec<Result<Appended>> {
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
    let client = client(world.connect().await, [log()]).await;
    for appended in append_all(&client, drafts()).await {
        appended.unwrap();
    }
    assert_eq!(numbers(&client).await, (0..MANY).collect::<Vec<_>>());
    assert_eq!(gathered(&client).await, 0);
}

#[tokio::test]
async fn subjects_of_two_streams_mix() {
    let world = synced().await;
    let stream = |name: &str| Stream::new(name.to_uppercase(), [format!("log.{name}.>")]);
    let streams = ["a", "b"].map(|name| stream(name).atomic_appends());
    world.set_up(service(streams.clone())).await;
    let client = client(world.connect().await, streams).await;
    for round in 0..3 {
        let appends = (0..MANY).map(|n| {
            let stream = if n % 4 == 0 { "b" } else { "a" };
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
    assert_eq!((held("A").await, held("B").await), (3 * 150, 3 * 50));
}

#[tokio::test]
async fn a_message_from_a_batch_can_be_sent_on_with_its_headers() {
    let (_world, client) = with_stream(log()).await;
    append_all(&client, drafts()).await;
    let range = client.range("LOG", "log.>", 1, 10_000, 64 << 20).await;
    let messages = range.unwrap().messages;
    let mut of_batch = messages.iter().map(|message| message.headers());
    let of_batch = of_batch
        .find(|it| it.get("Nats-Batch-Id").is_some())
        .unwrap();
    let again = client.append("log.b", Some("again"), of_batch.clone(), "1".into());
    assert_eq!(again.await.unwrap().seq, MANY as u64 + 1);
    let subscribed = client.nats().subscribe("copy").await.unwrap();
    let copied = client.publish("copy", of_batch.clone(), "1".into());
    copied.await.unwrap();
    let copy: Raw = within(Box::pin(subscribed).next()).await.unwrap();
    assert_eq!(copy.headers.unwrap().get("Nats-Batch-Id"), None);
}

#[tokio::test]
async fn a_message_from_a_batch_is_buried_and_published_again() {
    let world = synced().await;
    let consumer = || Consumer::new("store", log());
    let service = || Service::new("a", "1.0.0").consumer(consumer(), async |_: Batch<u64>| {});
    world.set_up(service()).await;
    let client = client(world.connect().await, [log()]).await;
    let mut all = drafts();
    all[100].payload = "bad".to_owned();
    append_all(&client, all).await;
    assert!(gathered(&client).await > MANY / 2);

    let _running = world.serve(service()).await;
    let letters = until("it is buried", async || {
        let letters = dead_letter::list(&world.nats, "a", 0, 2).await.unwrap();
        (!letters.is_empty()).then_some(letters)
    });
    let id = letters.await[0].id;
    let seq = dead_letter::replay(&world.nats, "a", id).await.unwrap();
    assert_eq!(seq, MANY as u64 + 1);
    let again = client.message("LOG", seq).await.unwrap().unwrap();
    assert_eq!(again.headers().get("Nats-Batch-Id"), None);
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

/// Answers as a stream that keeps nothing; `answer` is given each message that is to be answered, with its number,
/// and what a stream that takes batches would say. What arrives comes out, as (headers, payload).
async fn pretended(
    world: &World,
    mut answer: impl FnMut(&Raw, u64, Value) -> Option<Value> + Send + 'static,
) -> UnboundedReceiver<(HeaderMap, String)> {
    let nats = world.connect().await;
    let mut messages = nats.subscribe("log.>").await.unwrap();
    // Answered once the server knows of the subscription.
    nats.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
    let (seen, all) = unbounded_channel();
    tokio::spawn(async move {
        let mut seq = 0;
        while let Some(message) = messages.next().await {
            seq += 1;
            let headers = message.headers.clone().unwrap_or_default();
            let payload = String::from_utf8(message.payload.to_vec()).unwrap();
            let _ = seen.send((headers.clone(), payload));
            let Some(reply) = message.reply.clone() else {
                continue;
            };
            let usual = match headers.get("Nats-Batch-Id") {
                Some(id) => {
                    let count: u64 = headers
                        .get("Nats-Batch-Sequence")
                        .unwrap()
                        .as_str()
                        .parse()
                        .unwrap();
                    json!({"stream": "LOG", "seq": seq, "batch": id.as_str(), "count": count})
                }
                None => json!({"stream": "LOG", "seq": seq}),
            };
            if let Some(answer) = answer(&message, seq, usual) {
                nats.publish(reply, answer.to_string().into())
                    .await
                    .unwrap();
            }
        }
    });
    all
}

fn is_commit(message: &Raw) -> bool {
    let headers = message.headers.as_ref();
    headers.is_some_and(|headers| headers.get("Nats-Batch-Commit").is_some())
}

/// Waits until what arrives ends a batch.
async fn committed(seen: &mut UnboundedReceiver<(HeaderMap, String)>) {
    while next(seen).await.0.get("Nats-Batch-Commit").is_none() {}
}

#[tokio::test]
async fn a_batch_whose_answer_is_lost_fails_alone_and_others_do_not_wait_for_it() {
    let world = World::new().await;
    let mut lost = false;
    let mut seen = pretended(&world, move |message, _, usual| {
        (!is_commit(message) || std::mem::replace(&mut lost, true)).then_some(usual)
    })
    .await;
    let client = client(world.connect().await, [log()]).await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { append_all(&client, drafts()).await }
    });
    committed(&mut seen).await;
    let others = append_all(&client, drafts()).await;
    assert!(others.iter().all(Result::is_ok));
    assert!(!first.is_finished(), "they waited for the others' answer");
    let first = within(first).await.unwrap();
    let failed: Vec<_> = first.into_iter().filter_map(Result::err).collect();
    assert!(failed.len() > MANY / 2);
    for error in failed {
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("may be stored"), "{error}");
    }
}

#[tokio::test]
async fn a_runtime_that_ends_ends_nobody_elses_appends() {
    let world = World::new().await;
    let mut answers = false;
    let mut seen = pretended(&world, move |message, _, usual| {
        (!is_commit(message) || std::mem::replace(&mut answers, true)).then_some(usual)
    })
    .await;
    let client = client(world.connect().await, [log()]).await;
    let (ended, end) = std::sync::mpsc::channel();
    let other = std::thread::spawn({
        let client = client.clone();
        move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.spawn(async move { append_all(&client, drafts()).await });
            end.recv().unwrap();
            runtime.shutdown_background();
        }
    });
    committed(&mut seen).await;
    let meanwhile = at_once(&client, drafts());
    tokio::pin!(meanwhile);
    assert!(poll!(meanwhile.as_mut()).is_pending());
    ended.send(()).unwrap();
    other.join().unwrap();
    // They wait behind a batch of the runtime that ends.
    assert!(meanwhile.await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_together_is_stored_in_the_order_of_the_calls() {
    const VERY_MANY: usize = 900;
    let (_world, client) = with_stream(log()).await;
    let draft = |n: usize| Draft {
        id: format!("id-{}", if n == 800 { 0 } else { n }),
        headers: HeaderMap::new(),
        payload: n.to_string(),
    };
    let appended = append_all(&client, (0..VERY_MANY).map(draft).collect()).await;
    assert!(appended.iter().all(Result::is_ok));
    assert!(appended[800].as_ref().unwrap().duplicate);
    let others = (0..VERY_MANY).filter(|n| *n != 800);
    assert_eq!(numbers(&client).await, others.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_wrong_with_the_last_is_its_own() {
    let (_world, client) = with_stream(log()).await;
    let last = [
        ("log", 1, Kind::Unavailable),
        ("log.a b", 1, Kind::BadRequest),
        ("log.a", 2 << 20, Kind::TooLarge),
        ("log.a", (1 << 20) - 60, Kind::TooLarge),
    ];
    for (round, (subject, size, kind)) in last.into_iter().enumerate() {
        let mut all = drafts();
        all.iter_mut()
            .for_each(|draft| draft.id = format!("{round}-{}", draft.id));
        let appends = all.into_iter().map(|draft| append(&client, draft));
        let id = format!("{round}-last");
        let last = client.append(
            subject,
            Some(&id),
            HeaderMap::new(),
            "x".repeat(size).into(),
        );
        let (appended, last) = within(Box::pin(join(join_all(appends), last))).await;
        let failed: Vec<_> = appended.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{subject} of {size} bytes: {failed:?}");
        assert_eq!(last.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn subscribers_of_the_subjects_get_the_messages_and_nothing_else() {
    let (world, client) = with_stream(log()).await;
    let config = json!({"name": "OTHER", "subjects": ["other.>"]});
    world.api("STREAM.CREATE.OTHER", &config).await;
    let subscribed = world.nats.subscribe(">").await.unwrap();
    append_all(&client, drafts()).await;
    let mut all = drafts();
    all[120].id = "another".to_owned();
    append_all(&client, all).await;
    let others = drafts().into_iter().map(|Draft { id, payload, .. }| {
        let client = &client;
        async move {
            let appended = client.append("other.a", Some(&id), HeaderMap::new(), payload.into());
            appended.await
        }
    });
    within(join_all(others)).await;
    world.nats.publish("end", "".into()).await.unwrap();
    let messages = subscribed.take_while(|message| {
        let is_end = message.subject.as_str() == "end";
        async move { !is_end }
    });
    let messages: Vec<Raw> = within(messages.collect()).await;
    let of_streams = messages.iter().filter(|message| {
        let subject = message.subject.as_str();
        subject.starts_with("log.") || subject.starts_with("other.")
    });
    assert!(of_streams.clone().count() >= 3 * MANY);
    for message in of_streams {
        assert!(!message.payload.is_empty(), "{:?}", message.headers);
    }
}

#[tokio::test]
async fn without_ids_each_goes_by_itself() {
    let (_world, client) = with_stream(log()).await;
    let appends = (0..MANY).map(|n| {
        let id = (n % 2 == 0).then_some("");
        client.append("log.a", id, HeaderMap::new(), n.to_string().into())
    });
    let appended = within(join_all(appends)).await;
    assert!(appended.iter().all(Result::is_ok));
    assert_eq!(stored(&client).await.len(), MANY);
    assert_eq!(gathered(&client).await, 0);
}

#[tokio::test]
async fn whatever_a_batch_is_refused_for_each_is_published_again_by_itself() {
    let full = json!({"err_code": 10077, "code": 503, "description": "maximum messages exceeded"});
    let old_leader = json!({"stream": "LOG", "seq": 1});
    for refusal in [json!({"error": full}), old_leader] {
        let world = World::new().await;
        let mut seen = pretended(&world, move |message, _, usual| {
            Some(if is_commit(message) {
                refusal.clone()
            } else {
                usual
            })
        })
        .await;
        let client = client(world.connect().await, [log()]).await;
        let appended = append_all(&client, drafts()).await;
        assert!(appended.iter().all(Result::is_ok));
        let mut alone = BTreeSet::new();
        let mut batches = 0;
        while let Ok((headers, payload)) = seen.try_recv() {
            match headers.get("Nats-Batch-Id") {
                None => assert!(alone.insert(payload), "one goes alone twice"),
                Some(_) => batches += 1,
            }
        }
        assert_eq!(alone.len(), MANY);
        assert!(batches > MANY / 2);
    }
}

#[tokio::test]
async fn senders_that_repeat_messages_let_few_batches_be_refused() {
    const ROUNDS: usize = 20;
    let refusal =
        json!({"err_code": 10201, "code": 400, "description": "batch contains a duplicate"});
    let world = World::new().await;
    let mut seen = pretended(&world, move |message, _, usual| {
        Some(match is_commit(message) {
            true => json!({ "error": refusal }),
            false => usual,
        })
    })
    .await;
    let client = client(world.connect().await, [log()]).await;
    let began = Instant::now();
    for _ in 0..ROUNDS {
        let appended = append_all(&client, drafts()).await;
        assert!(appended.iter().all(Result::is_ok));
    }
    let batches = std::iter::from_fn(|| seen.try_recv().ok())
        .filter(|(headers, _)| headers.get("Nats-Batch-Commit").is_some());
    let batches = batches.count();
    // Two at first, and then one a second.
    let most = 3 + began.elapsed().as_secs() as usize;
    assert!(batches <= most, "{batches} in {ROUNDS} rounds");
}

#[tokio::test]
async fn what_no_stream_captures_is_told_to_each() {
    let world = synced().await;
    let client = client(world.connect().await, [log()]).await;
    for appended in at_once(&client, drafts()).await {
        let error = appended.unwrap_err().to_string();
        assert!(error.contains("is captured by no stream"), "{error}");
    }
}

#[tokio::test]
async fn what_a_silent_stream_answers_late_is_sent_early_and_a_connection_that_ends_is_told_at_once()
 {
    let world = World::new().await;
    let mut seen = pretended(&world, |_, _, _| None).await;
    let client = client(world.connect().await, [log()]).await;
    let appends = tokio::spawn({
        let client = client.clone();
        async move { at_once(&client, drafts()).await }
    });
    for _ in 0..MANY {
        next(&mut seen).await;
    }
    client.nats().drain().await.unwrap();
    let errors = within(appends).await.unwrap().into_iter();
    let errors = errors.map(|appended| appended.unwrap_err().to_string());
    // Not that a time is over.
    let told = errors.filter(|error| error.contains("was not acknowledged"));
    assert!(told.count() > MANY / 2);
}

#[tokio::test]
async fn an_old_server_behind_a_new_one_is_given_one_batch() {
    let world = World::new().await;
    let mut seen = pretended(&world, |_, seq, _| {
        Some(json!({"stream": "LOG", "seq": seq}))
    })
    .await;
    let client = client(world.connect().await, [log()]).await;
    for _ in 0..2 {
        let appended = append_all(&client, drafts()).await;
        assert!(appended.iter().all(Result::is_ok));
    }
    let mut ids = Vec::new();
    while let Ok((headers, _)) = seen.try_recv() {
        ids.extend(headers.get("Nats-Batch-Id").map(ToString::to_string));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn limits_of_the_server_and_a_setting_that_is_taken_back_lose_and_double_nothing() {
    let text = "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
                jetstream { store_dir: $NATS_CONF_STORE_DIR, sync_interval: always
                            limits { batch { max_msgs: 50, max_inflight_per_stream: 1 } } }";
    let world = World::with(|config| config.text(text)).await;
    world.set_up(service([log()])).await;
    let clients = [
        client(world.connect().await, [log()]).await,
        client(world.connect().await, [log()]).await,
    ];
    let numbered = |round: usize| {
        let mut all = drafts();
        all.iter_mut()
            .for_each(|draft| draft.id = format!("{round}-{}", draft.id));
        all
    };
    for round in 0..4 {
        if round == 3 {
            let mut config = world.api("STREAM.INFO.LOG", &Value::Null).await["config"].clone();
            config["allow_atomic"] = json!(false);
            world.api("STREAM.UPDATE.LOG", &config).await;
        }
        let both = clients.iter().zip([2 * round, 2 * round + 1]);
        let both = both.map(|(client, round)| append_all(client, numbered(round)));
        for appended in within(join_all(both)).await.into_iter().flatten() {
            assert!(!appended.unwrap().duplicate);
        }
    }
    assert_eq!(stored(&clients[0]).await.len(), 8 * MANY);
}

#[tokio::test]
async fn what_a_message_asks_of_the_stream_it_asks_alone() {
    let stream = log().may_discard().configure(|config| {
        config.allow_message_ttl = true;
    });
    let (_world, client) = with_stream(stream).await;
    let mut all = drafts();
    let headers = [
        (40, "Nats-TTL", "1h"),
        (60, "Nats-Expected-Stream", "LOG"),
        (80, "Nats-Batch-Commit", "1"),
        (100, "Nats-Batch-Id", "mine"),
        (120, "nats-batch-id", "mine"),
        (140, "Nats-Required-Api-Level", "2"),
    ];
    for (n, name, value) in headers {
        all[n].headers.insert(name, value);
    }
    for appended in append_all(&client, all).await {
        appended.unwrap();
    }
    let mut numbers = numbers(&client).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..MANY).collect::<Vec<_>>());
    let range = client.range("LOG", "log.>", 1, 10_000, 64 << 20).await;
    let messages = range.unwrap().messages;
    let of_40 = messages.iter().find(|it| &**it.payload() == b"40");
    let ttl = of_40.unwrap().headers();
    assert_eq!(ttl.get("Nats-TTL").unwrap().as_str(), "1h");
    assert!(ttl.get("Nats-Batch-Id").is_none());
}

#[tokio::test]
async fn a_stream_of_another_account_takes_them() {
    let text = "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
                jetstream { store_dir: $NATS_CONF_STORE_DIR, sync_interval: always }
                no_auth_user: owner
                accounts {
                  OWNER { jetstream: enabled, users: [{ user: owner, password: owner }]
                          exports: [{ service: log.>, accounts: [OTHER] }] }
                  OTHER { users: [{ user: other, password: other }]
                          imports: [{ service: { account: OWNER, subject: log.> } }] }
                }";
    let world = World::with(|config| config.text(text)).await;
    world.set_up(service([log()])).await;
    let url = world.server.url().replace("//", "//other:other@");
    let of_owner = Stream::existing("LOG").template("log.{x}").atomic_appends();
    let other = client(async_nats::connect(url).await.unwrap(), [of_owner]).await;
    for appended in append_all(&other, drafts()).await {
        appended.unwrap();
    }
    let owner = Client::new(world.nats.clone());
    assert_eq!(numbers(&owner).await, (0..MANY).collect::<Vec<_>>());
    assert!(gathered(&owner).await > MANY / 2);
}

#[tokio::test]
async fn a_batch_does_not_end_with_what_the_server_may_refuse() {
    let world = World::with(|config| config.text(conf("log.no"))).await;
    world.set_up(service([log()])).await;
    let client = client(world.connect().await, [log()]).await;
    append(&client, drafts().remove(0)).await.unwrap();
    let refused = client.append("log.no", Some("no"), HeaderMap::new(), "no".into());
    let others = at_once(&client, drafts().into_iter().skip(1));
    let (others, refused) = join(others, within(refused)).await;
    assert!(others.iter().all(Result::is_ok));
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
    assert!(gathered(&client).await > MANY / 2);
}

#[tokio::test]
async fn messages_of_which_few_fit_go_together_as_they_fit() {
    let (_world, client) = with_stream(log()).await;
    let draft = |n: usize| Draft {
        id: n.to_string(),
        headers: HeaderMap::new(),
        payload: "x".repeat(800_000),
    };
    for appended in append_all(&client, (0..60).map(draft).collect()).await {
        appended.unwrap();
    }
    assert!(gathered(&client).await > 20);
}

#[tokio::test]
async fn a_stream_that_only_allows_batches_gathers_nothing() {
    let allows = Stream::new("LOG", ["log.>"]).configure(|it| it.allow_atomic_publish = true);
    let (_world, client) = with_stream(allows).await;
    let appended = append_all(&client, drafts()).await;
    assert!(appended.iter().all(Result::is_ok));
    assert_eq!(gathered(&client).await, 0);
}

/// A way to a server that says it is of this version.
async fn posing(url: &str, version: &'static str) -> String {
    let server = url.trim_start_matches("nats://").to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(server).await.unwrap();
        let ((mut near_in, mut near_out), (far_in, mut far_out)) =
            (near.into_split(), far.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
        let (mut far_in, mut line) = (BufReader::new(far_in), Vec::new());
        while far_in.read_until(b'\n', &mut line).await.unwrap() > 0 {
            if let Some(info) = line.strip_prefix(b"INFO ") {
                let mut info: Value = serde_json::from_slice(info).unwrap();
                info["version"] = json!(version);
                line = format!("INFO {info}\r\n").into();
            }
            near_out.write_all(&line).await.unwrap();
            line.clear();
        }
    });
    format!("nats://{address}")
}

#[tokio::test]
async fn a_server_that_syncs_each_message_of_a_batch_is_given_none() {
    for (version, gathers) in [("2.14.9", false), ("2.15.0", true)] {
        let world = synced().await;
        world.set_up(service([log()])).await;
        let url = posing(world.server.url(), version).await;
        let client = client(async_nats::connect(url).await.unwrap(), [log()]).await;
        let appended = append_all(&client, drafts()).await;
        assert!(appended.iter().all(Result::is_ok));
        assert_eq!(gathered(&client).await > 0, gathers, "{version}");
        assert_eq!(numbers(&client).await, (0..MANY).collect::<Vec<_>>());
    }
}

//! Reading a stream without consuming it: many messages with one request.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::{FutureExt, StreamExt};
use natsfn::config::NatsConfig;
use natsfn::{Batch, Client, Connections, Error, Json, Message, Range, Result, Service};

use crate::log::{consumer, numbers};
use crate::network::Network;
use crate::world::{World, code, within};

const WAITING: usize = 5_000;

/// A stream with messages of a subject that no other test reads, since what is known of a subject
/// belongs to the process; and each request for a single one of them.
async fn filled(subject: &str) -> (World, Subscriber) {
    let world = World::new().await;
    let service = Service::new("a", "1.0.0").consumer(consumer(), |_: Batch<u64>| async {});
    world.set_up(service).await;
    world.store(subject, numbers(WAITING as u64)).await;
    let singly = world.nats.subscribe("$JS.API.STREAM.MSG.GET.LOG").await;
    world.settle().await;
    (world, singly.unwrap())
}

fn all(client: &Client, subject: &str) -> impl Future<Output = Result<Range>> {
    client.range("LOG", subject, 1, WAITING + 1, 64 << 20)
}

/// How many requests for single messages were made so far.
async fn count(world: &World, singly: &mut Subscriber) -> usize {
    world.settle().await;
    let here = std::iter::from_fn(|| tokio::task::unconstrained(singly.next()).now_or_never());
    here.count()
}

fn is_whole(range: &Range) -> bool {
    let seqs = range.messages.iter().map(Message::seq);
    !range.more && seqs.eq(1..=WAITING as u64)
}

#[tokio::test]
async fn ranges_of_one_subject_at_once_are_each_read_in_few_requests() {
    let (world, mut singly) = filled("log.busy").await;
    let client = Client::new(world.connect().await);

    let (one, other) =
        within(async { tokio::join!(all(&client, "log.busy"), all(&client, "log.busy")) }).await;

    assert!(is_whole(&one.unwrap()) && is_whole(&other.unwrap()));
    assert_eq!(count(&world, &mut singly).await, 0);
}

#[tokio::test]
async fn range_that_is_cancelled_leaves_the_next_one_as_fast_as_it_was() {
    let (world, mut singly) = filled("log.cancelled").await;
    let client = Client::new(world.connect().await);
    {
        let mut cancelled = pin!(all(&client, "log.cancelled"));
        let begun = cancelled.poll_unpin(&mut Context::from_waker(Waker::noop()));
        assert!(begun.is_pending());
    }

    assert!(is_whole(
        &within(all(&client, "log.cancelled")).await.unwrap()
    ));
    assert_eq!(count(&world, &mut singly).await, 0);
}

#[tokio::test]
async fn connection_that_is_made_slowly_is_there_for_a_later_range() {
    let (world, _) = filled("log.slow").await;
    let network = Network::before(world.server.url()).await;
    let config = NatsConfig {
        url: network.url(),
        ..NatsConfig::default()
    };
    let connections = Connections::open(&config, "b").await.unwrap();
    let read = |client: Client| async move {
        let range = client.range("LOG", "log.slow", 1, 1, 1).await?;
        Ok::<_, Error>(Json(range.messages.len()))
    };
    let service = Service::new("b", "1.0.0").endpoint("read", read);
    let _running = natsfn::start(service.build().unwrap(), connections, None)
        .await
        .unwrap();
    // More than a range waits for.
    network.slow_down(Duration::from_secs(3));

    let mut tries = 1;
    while code(&world.ask("read", "").await).is_some() {
        tries += 1;
        assert!(tries < 10, "never");
    }
}

#[tokio::test]
async fn connection_lost_under_a_range_leaves_no_gap_and_costs_one_look() {
    const LOST: usize = 5;
    let (world, mut singly) = filled("log.lost").await;
    let client = Client::new(world.connect().await);
    for _ in 0..LOST {
        let mut range = pin!(all(&client, "log.lost"));
        assert!(range.as_mut().now_or_never().is_none());
        client.nats().force_reconnect().await.unwrap();
        assert!(is_whole(&within(range).await.unwrap()));
    }

    assert!(is_whole(&within(all(&client, "log.lost")).await.unwrap()));
    let looks = count(&world, &mut singly).await;
    assert!(looks <= LOST, "{looks} messages were read singly");
}

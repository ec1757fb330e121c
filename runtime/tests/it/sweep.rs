//! After a connection that was lost only those messages are looked at that did not arrive, and nobody
//! waits for that.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use natsfn::{Batch, Error, Kind, Outcomes, Service};
use tokio::sync::mpsc;

use crate::captured::Captured;
use crate::log::{consumer, deliver_in_vain, numbers};
use crate::world::{World, next, until};

/// Nobody may look at a message, so each look lasts until it is given up.
const CONF: &str = r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
jetstream { store_dir: $NATS_CONF_STORE_DIR }
no_auth_user: a
authorization { users: [
  { user: a, password: a, permissions: { publish: { deny: "$JS.API.STREAM.MSG.GET.>" } } }
] }
"#;

#[tokio::test]
async fn start_handles_messages_while_it_looks_at_what_came_again() {
    let captured = Captured::begin();
    let world = World::with(|config| config.text(CONF)).await;
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
    world.store("log.a", numbers(1)).await;
    deliver_in_vain(&world, 2).await;
    let info = world.consumer("LOG", "store").await;
    assert_eq!(info["num_redelivered"], 1);

    let _running = world.serve(service()).await;

    assert_eq!(next(&mut sightings).await, 1);
    let given_up = || captured.lines("were not looked at").pop();
    assert_eq!(given_up(), None, "the look still lasts");
    until("the look is given up", async || given_up()).await;
}

#[tokio::test]
async fn reconnect_looks_at_nothing_that_has_arrived() {
    const N: u64 = 20_000;
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        // The first message is refused each time, so everything after it lies above the ack floor.
        let store = move |batch: Batch<u64>| {
            let mut outcomes = Outcomes::new();
            for item in &batch {
                if item.seq() == 1 {
                    let error = Error::new(Kind::TooManyRequests, "later");
                    outcomes.fail(item.message(), error);
                } else if **item > N {
                    seen.send(**item).unwrap();
                }
            }
            async { outcomes }
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(N)).await;
    let running = world.serve(service()).await;
    until("all but the first are done", async || {
        let info = world.consumer("LOG", "store").await;
        let done = info["num_pending"] == 0 && info["num_ack_pending"] == 1;
        (done && info["num_redelivered"] == 1).then_some(())
    })
    .await;

    let sent = || running.nats().statistics().out_messages.load(Relaxed);
    let before = sent();
    world.server.restart().await;
    let client = until("the server is there", async || {
        async_nats::connect(world.server.url()).await.ok()
    })
    .await;
    let back = Instant::now();
    let stream = async_nats::jetstream::new(client.clone());
    until("the message is stored", async || {
        let stored = stream.publish("log.a", (N + 1).to_string().into()).await;
        stored.ok()?.await.ok()
    })
    .await;
    assert_eq!(next(&mut sightings).await, N + 1);
    let waited = back.elapsed();
    for n in 2..50 {
        world.store("log.a", [(N + n).to_string()]).await;
        while next(&mut sightings).await != N + n {}
    }
    let sent = sent() - before;

    println!("handled after {waited:?}, {sent} messages sent");
    assert!(sent < 1000, "{sent}");
    assert!(waited < Duration::from_secs(20), "{waited:?}");
}

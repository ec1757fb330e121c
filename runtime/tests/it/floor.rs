//! The service's own store, compared with what its consumer has acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use natsfn::{Background, Consumer, Error, Json, Service, Stream, StreamId};

use crate::world::{GUARD, World, until};

/// What the store of a test says of itself, and what a test sees of the service.
#[derive(Clone, Default)]
struct Store {
    is_away: Arc<AtomicBool>,
    upto: Arc<AtomicU64>,
    handled: Arc<Mutex<Vec<u64>>>,
    /// What the background work may take for settled, as it was told last, and how often it asked.
    settled: Arc<Mutex<(u64, Option<u64>)>>,
}

impl Store {
    /// The service, with background work that asks what is settled.
    fn service(&self) -> Service {
        let background = self.clone();
        self.function().task("store", move |work, ()| {
            let store = background.clone();
            async move { store.look(work).await }
        })
    }

    fn function(&self) -> Service {
        let (asked, handled) = (self.clone(), self.clone());
        let floor = move |_: Background, _: StreamId| {
            let answer = if asked.is_away.load(Relaxed) {
                Err(Error::unavailable("the store is away"))
            } else {
                Ok(asked.upto.load(Relaxed))
            };
            async { answer }
        };
        let consumer = Consumer::new("store", Stream::new("ORDERS", ["orders.>"]))
            .natural_key()
            .max_in_flight(1)
            .floor(floor);
        Service::new("shop", "1.0.0").consumer(consumer, move |Json(order): Json<u64>| {
            handled.handled.lock().unwrap().push(order);
            // The first order is the first message.
            handled.upto.fetch_max(order, Relaxed);
            async {}
        })
    }

    async fn look(&self, mut background: Background) -> natsfn::Result<()> {
        loop {
            let found = background.settled("store").await?.map(|found| found.upto);
            self.look_was(found);
            let pause = Duration::from_millis(20);
            if tokio::time::timeout(pause, background.stopped())
                .await
                .is_ok()
            {
                return Ok(());
            }
        }
    }

    fn look_was(&self, found: Option<u64>) {
        let mut settled = self.settled.lock().unwrap();
        *settled = (settled.0 + 1, found);
    }

    fn handled(&self) -> Vec<u64> {
        self.handled.lock().unwrap().clone()
    }

    async fn settles(&self, upto: u64) {
        until("this is settled", async || {
            (self.settled.lock().unwrap().1 == Some(upto)).then_some(())
        })
        .await;
    }
}

fn orders(n: u64) -> impl Iterator<Item = String> {
    (1..=n).map(|order| order.to_string())
}

#[tokio::test]
async fn nothing_counts_as_settled_before_the_store_is_compared() {
    let (world, store) = (World::new().await, Store::default());
    world.set_up(store.service()).await;
    world.store("orders.a", orders(3)).await;
    store.is_away.store(true, Relaxed);

    let running = world.serve(store.service()).await;

    until("the background work has looked often", async || {
        (store.settled.lock().unwrap().0 > 20).then_some(())
    })
    .await;
    assert_eq!(store.settled.lock().unwrap().1, None);
    assert!(store.handled().is_empty());
    store.is_away.store(false, Relaxed);
    store.settles(3).await;
    assert_eq!(store.handled(), [1, 2, 3]);
    running.stop(GUARD).await;
}

#[tokio::test]
async fn store_is_compared_again_on_every_connection() {
    let (world, store) = (World::new().await, Store::default());
    world.set_up(store.function()).await;
    let running = world.serve(store.function()).await;
    world.store("orders.a", orders(3)).await;
    world.settled("ORDERS", "store", 3).await;

    // The store has lost what came after the first order.
    store.upto.store(1, Relaxed);
    world.server.restart().await;

    until("the lost orders are handled again", async || {
        (store.handled() == [1, 2, 3, 2, 3]).then_some(())
    })
    .await;
    running.stop(GUARD).await;
}

#[tokio::test]
async fn store_that_goes_back_while_the_function_runs_is_compared_where_the_background_work_asks() {
    let (world, store) = (World::new().await, Store::default());
    world.set_up(store.service()).await;
    let running = world.serve(store.service()).await;
    world.store("orders.a", orders(3)).await;
    store.settles(3).await;

    store.upto.store(1, Relaxed);

    until("the lost orders are handled again", async || {
        (store.handled() == [1, 2, 3, 2, 3]).then_some(())
    })
    .await;
    store.settles(3).await;
    running.stop(GUARD).await;
}

#[tokio::test]
async fn background_work_of_another_function_has_nothing_to_settle() {
    let world = World::new().await;
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::new("shop", "1.0.0").task("sweep", move |background, ()| {
        let said = said.clone();
        async move {
            let error = background.settled("store").await.unwrap_err();
            said.send(error.to_string()).unwrap();
            Ok(())
        }
    });
    let running = world.serve(service).await;

    let error = crate::world::next(&mut heard).await;

    assert!(error.contains("no stream function \"store\""), "{error}");
    running.stop(GUARD).await;
}

#[test]
fn floor_without_a_natural_key_is_a_mistake() {
    async fn nothing() {}
    let consumer = Consumer::new("store", Stream::new("ORDERS", ["orders.>"]))
        .floor(|_: Background, _: StreamId| async { Ok(0) });

    let mistakes = Service::new("shop", "1.0.0")
        .consumer(consumer, nothing)
        .build();

    let mistakes = mistakes.err().unwrap().to_string();
    assert!(mistakes.contains(".natural_key()"), "{mistakes}");
}

//! What the tests of stream functions share: a log of numbers, and who was called with them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use natsfn::dead_letter::{self, DeadLetter};
use natsfn::{Batch, Consumer, Retry, Stream};

use crate::world::{World, within};

/// The consumer `store` of the stream `LOG`.
pub(crate) fn consumer() -> Consumer {
    Consumer::new("store", Stream::new("LOG", ["log.>"]))
}

/// Retries as most tests have them.
pub(crate) fn attempts(n: u32) -> Retry {
    Retry::exponential(Duration::from_millis(500)..=Duration::from_secs(30)).attempts(n)
}

/// The payloads 1 to n.
pub(crate) fn numbers(n: u64) -> impl Iterator<Item = String> {
    (1..=n).map(|n| n.to_string())
}

/// The dead letters of service `a`.
pub(crate) async fn letters(world: &World) -> Vec<DeadLetter> {
    dead_letter::list(&world.nats, "a", 0, 1000).await.unwrap()
}

/// How often the function has been called with each message, and how often alone.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<BTreeMap<u64, (u32, u32)>>>);

impl Calls {
    pub(crate) fn count<T>(&self, batch: &Batch<T>) {
        let mut calls = self.0.lock().unwrap();
        for item in batch {
            let (all, alone) = calls.entry(item.seq()).or_default();
            *all += 1;
            *alone += u32::from(batch.len() == 1);
        }
    }

    pub(crate) fn of(&self, seq: u64) -> (u32, u32) {
        self.0
            .lock()
            .unwrap()
            .get(&seq)
            .copied()
            .unwrap_or_default()
    }
}

/// Takes message 1 from the server `n` times and gives it back, as crashing instances would.
pub(crate) async fn deliver_in_vain(world: &World, n: u64) {
    deliver_all_in_vain(world, 1, n).await;
}

/// Takes the first `count` messages from the server `n` times and gives them back.
pub(crate) async fn deliver_all_in_vain(world: &World, count: usize, n: u64) {
    let messages = world.nats.subscribe("vain").await.unwrap();
    let mut messages = messages.ready_chunks(count);
    for _ in 0..n {
        let subject = "$JS.API.CONSUMER.MSG.NEXT.LOG.a-store";
        world
            .nats
            .publish_with_reply(subject, "vain", count.to_string().into())
            .await
            .unwrap();
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.extend(within(messages.next()).await.unwrap());
        }
        for message in taken {
            let ack = message.reply.unwrap();
            assert!(ack.starts_with("$JS.ACK.LOG.a-store."), "{ack}");
            world.nats.publish(ack, "-NAK".into()).await.unwrap();
        }
    }
    world.settle().await;
}

//! What the log says of holding: that it begins and ends, not each try.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use natsfn::{Batch, Error, Service};

use crate::captured::Captured;
use crate::log::{consumer, numbers};
use crate::world::{World, until};

#[tokio::test]
async fn hold_is_logged_when_it_begins_and_when_it_has_ended() {
    let captured = Captured::begin();
    let world = World::new().await;
    let first = Arc::new(AtomicBool::new(true));
    let service = || {
        let first = first.clone();
        // As a full disk does: one commit goes through, the next does not.
        let store = move |_: Batch<u64>| {
            let fails = first.fetch_xor(true, Ordering::SeqCst);
            async move {
                if fails {
                    Err(Error::unavailable("the disk is full"))
                } else {
                    Ok(())
                }
            }
        };
        Service::new("a", "1.0.0").consumer(consumer().max_batch(1), store)
    };
    world.set_up(service()).await;
    world.store("log.a", numbers(50)).await;
    let _running = world.serve(service()).await;
    world.settled("LOG", "store", 50).await;

    let ended = until("the end is told", async || {
        captured.lines("no longer holding").pop()
    })
    .await;

    assert!(ended.contains("a dependency is down"), "{ended}");
    assert!(ended.contains("tries=50"), "what it cost: {ended}");
    assert!(ended.contains("lasted="), "{ended}");
    let begun = captured.lines("holding: a dependency is down");
    assert_eq!(begun.len(), 2, "{begun:#?}");
    assert!(begun[0].contains("the disk is full"), "{}", begun[0]);
}

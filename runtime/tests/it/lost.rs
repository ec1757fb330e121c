//! A connection whose own task dies: the host is told, and starts again.

use std::time::Duration;

use natsfn::{Bytes, Service};

use crate::caller::Raw;
use crate::world::{World, until, within};

async fn echo(body: Bytes) -> Bytes {
    body
}

#[tokio::test]
async fn a_connection_that_dies_is_reported_and_the_host_starts_again() {
    let world = World::new().await;
    let service = || Service::new("a", "1.0.0").endpoint("echo", echo);
    let running = world.serve(service()).await;
    let mut raw = Raw::connect(world.server.url(), "anybody");

    // async-nats panics on a bare carriage return in a header's value.
    raw.publish("echo", "nowhere", b"NATS/1.0\r\nX: a\rb\r\n\r\n");

    let reason = within(running.lost()).await;
    assert!(reason.to_string().contains("connection"), "{reason}");
    within(running.stop(Duration::from_secs(1))).await;
    let _again = world.serve(service()).await;
    // The dead connection's socket may outlive its task for a moment and take a request along.
    until("it answers again", async || {
        world.nats.request("echo", "x".into()).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_back_is_no_lost_connection() {
    let world = World::new().await;
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint("echo", echo))
        .await;

    world.server.restart().await;

    until("it is found again", async || {
        world.nats.request("echo", "x".into()).await.ok()
    })
    .await;
    let waited = tokio::time::timeout(Duration::ZERO, running.lost()).await;
    assert!(waited.is_err());
}

//! Queue groups: the endpoint's before the service's before `q`; each level can switch it off.

use natsfn::{Endpoint, Service};
use serde_json::Value;

use crate::world::World;

async fn nothing() {}

async fn groups(world: &World, service: Service) -> Vec<Value> {
    let running = world.serve(service).await;
    let info = world
        .ask_json(&format!("$SRV.INFO.a.{}", running.id()), "")
        .await;
    let endpoints = info["endpoints"].as_array().unwrap();
    endpoints
        .iter()
        .map(|endpoint| endpoint["queue_group"].clone())
        .collect()
}

fn with_every_endpoint(service: Service) -> Service {
    service
        .endpoint(Endpoint::new("own", "s.own").queue_group("own"), nothing)
        .endpoint(Endpoint::new("inherited", "s.inherited"), nothing)
        .endpoint(Endpoint::new("off", "s.off").no_queue_group(), nothing)
}

#[tokio::test]
async fn the_endpoint_comes_before_the_service_before_q() {
    let world = World::new().await;
    let service = || Service::new("a", "1.0.0");
    let plain = groups(&world, with_every_endpoint(service())).await;
    assert_eq!(plain, ["own", "q", ""]);
    let named = groups(&world, with_every_endpoint(service().queue_group("ours"))).await;
    assert_eq!(named, ["own", "ours", ""]);
    let off = groups(&world, with_every_endpoint(service().no_queue_group())).await;
    assert_eq!(off, ["own", "", ""]);
}

#[tokio::test]
async fn one_instance_of_a_group_answers_and_without_a_group_all_do() {
    let world = World::new().await;
    let (one, other) = (
        world
            .serve(with_every_endpoint(Service::new("a", "1.0.0")))
            .await,
        world
            .serve(with_every_endpoint(Service::new("a", "1.0.0")))
            .await,
    );

    for _ in 0..20 {
        world.ask_all("s.own", 1).await;
        world.ask_all("s.inherited", 1).await;
        world.ask_all("s.off", 2).await;
    }

    let stats = [one.stats(), other.stats()];
    let requests = |at: usize| -> u64 {
        stats
            .iter()
            .map(|s| s["endpoints"][at]["num_requests"].as_u64().unwrap())
            .sum()
    };
    assert_eq!((requests(0), requests(1), requests(2)), (20, 20, 40));
}

//! Background work: beside a function, and as a function by itself.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use natsfn::{Batch, Definition, Error, Service};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::captured::Captured;
use crate::log::consumer;
use crate::world::{World, function, next, until, within};

async fn nothing() {}

/// A service of one endpoint, and of work by itself that fails once and tells what happens to it.
fn service(said: &UnboundedSender<&'static str>) -> Service {
    let (said, runs) = (said.clone(), std::sync::Arc::new(AtomicUsize::new(0)));
    Service::new("shop", "1.0.0")
        .endpoint("price", nothing)
        .task("sweep", move |mut background, ()| {
            let (said, runs) = (said.clone(), runs.clone());
            async move {
                if runs.fetch_add(1, Relaxed) == 0 {
                    said.send("failed").unwrap();
                    return Err(Error::internal("the first time"));
                }
                said.send("works").unwrap();
                background.stopped().await;
                said.send("stopped").unwrap();
                Ok(())
            }
        })
}

fn only(definition: Definition, names: &[&str]) -> Definition {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    definition.only(&names).unwrap()
}

#[test]
fn background_work_is_a_function_that_is_named_like_others() {
    let definition = || service(&unbounded_channel().0).build().unwrap();
    let names = |definition: &Definition| -> Vec<String> {
        definition.function_names().map(str::to_owned).collect()
    };

    assert_eq!(names(&definition()), ["price", "sweep"]);
    assert_eq!(names(&only(definition(), &["sweep"])), ["sweep"]);
    assert_eq!(names(&only(definition(), &["price"])), ["price"]);
    let unknown = definition().only(&["swipe".to_owned()]).err().unwrap();
    assert!(unknown.to_string().contains("price, sweep"), "{unknown}");
}

#[test]
fn name_of_background_work_is_checked() {
    let service = Service::new("shop", "1.0.0").task("a b", |_, ()| async { Ok(()) });
    let error = service.build().err().unwrap();
    assert!(error.to_string().contains("\"a b\""), "{error}");
}

#[tokio::test]
async fn background_work_begins_again_after_an_error_and_stops_with_the_process() {
    let world = World::new().await;
    let (said, mut heard) = unbounded_channel();
    let definition = only(service(&said).build().unwrap(), &["sweep"]);

    let running = natsfn::start(definition, world.connect().await, None)
        .await
        .unwrap();

    assert_eq!(next(&mut heard).await, "failed");
    assert_eq!(next(&mut heard).await, "works");
    within(running.stop(std::time::Duration::from_secs(10))).await;
    assert_eq!(next(&mut heard).await, "stopped");
}

#[tokio::test]
async fn background_work_that_keeps_failing_is_logged_once() {
    let captured = Captured::begin();
    let world = World::new().await;
    let (failed, mut failures) = unbounded_channel();
    let service = Service::new("shop", "1.0.0").task("sweep", move |_, ()| {
        failed.send(()).unwrap();
        async { Err(Error::unavailable("the server stands still")) }
    });
    let definition = service.build().unwrap();

    let running = natsfn::start(definition, world.connect().await, None)
        .await
        .unwrap();
    for _ in 0..3 {
        next(&mut failures).await;
    }
    within(running.stop(std::time::Duration::from_secs(10))).await;

    let told = captured.lines("background work failed");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("the server stands still"), "{}", told[0]);
}

#[tokio::test]
async fn fact_that_background_work_shows_stands_in_its_functions_stats() {
    let world = World::new().await;
    let service = || {
        let store = |_: Batch<u64>| async {};
        Service::new("a", "1.0.0").consumer(consumer(), store).task(
            "store",
            |mut background, ()| async move {
                background.show("store", "epoch", json!({ "id": 3 }))?;
                background.show("store", "state", json!("forged"))?;
                assert!(background.show("other", "epoch", json!(1)).is_err());
                background.stopped().await;
                Ok(())
            },
        )
    };
    world.set_up(service()).await;
    let running = world.serve(service()).await;

    let data = until("it is shown", async || {
        let data = function(&running, 0)["data"].clone();
        (data["state"] == "running" && data.get("epoch").is_some()).then_some(data)
    })
    .await;

    assert_eq!(data["epoch"], json!({ "id": 3 }));
}

#[tokio::test]
async fn discovery_tells_functions_that_can_be_asked_and_no_others() {
    let world = World::new().await;
    let _running = world.serve(service(&unbounded_channel().0)).await;

    let info = world.ask_json("$SRV.INFO.shop", "").await;

    let endpoints = info["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), 1, "{info}");
    assert_eq!(endpoints[0]["name"], "price");
}

//! What STATS counts: requests, errors, times, the last error.

use std::time::Duration;

use natsfn::{Bytes, Endpoint, Error, Json, Response, Result, Service};
use serde_json::json;

use crate::world::{World, code, function, json as body, until};

async fn echo(body: Bytes) -> Bytes {
    body
}

async fn panics() {
    panic!("on purpose");
}

async fn hangs() {
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn requests_are_counted_also_without_a_reply_timed_out_or_panicked() {
    let world = World::new().await;
    let service = Service::new("a", "1.0.0")
        .endpoint("echo", echo)
        .endpoint(
            Endpoint::new("hangs", "hangs").deadline(Duration::from_millis(50)),
            hangs,
        )
        .endpoint("panics", panics);
    let running = world.serve(service).await;

    world.nats.publish("echo", "x".into()).await.unwrap();
    world.ask("echo", "x").await;
    world.nats.publish("hangs", "".into()).await.unwrap();
    assert_eq!(code(&world.ask("hangs", "").await), Some(504));
    world.nats.publish("panics", "".into()).await.unwrap();
    assert_eq!(code(&world.ask("panics", "").await), Some(500));

    for (at, errors) in [(0, 0), (1, 2), (2, 2)] {
        until("both are counted", async || {
            let counted = function(&running, at);
            (counted["num_requests"] == 2 && counted["num_errors"] == errors).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn times_are_whole_nanoseconds_and_the_average_is_their_quotient() {
    let world = World::new().await;
    let hangs_for_50_ms = Endpoint::new("hangs", "hangs").deadline(Duration::from_millis(50));
    let service = Service::new("a", "1.0.0")
        .endpoint(hangs_for_50_ms, hangs)
        .endpoint("idle", echo);
    let _running = world.serve(service).await;

    for _ in 0..3 {
        world.ask("hangs", "").await;
    }

    let stats = world.ask_json("$SRV.STATS.a", "").await;
    let time = stats["endpoints"][0]["processing_time"].as_u64().unwrap();
    assert!(time >= 3 * 50_000_000, "{time}");
    assert_eq!(
        stats["endpoints"][0]["average_processing_time"]
            .as_u64()
            .unwrap(),
        time / 3
    );
    assert_eq!(
        stats["endpoints"][1]["average_processing_time"]
            .as_u64()
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn the_last_error_is_its_code_and_description_in_one_line() {
    let world = World::new().await;
    async fn fails(Json(text): Json<String>) -> Result<()> {
        Err(Error::bad_request(text))
    }
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint("fails", fails))
        .await;

    world.ask("fails", r#""only even numbers""#).await;
    assert_eq!(function(&running, 0)["last_error"], "400:only even numbers");
    let answer = world
        .ask("fails", r#""a\r\nNats-Rollup: all\u0000\n""#)
        .await;
    assert_eq!(
        function(&running, 0)["last_error"],
        "400:a  Nats-Rollup: all"
    );
    let headers = answer.headers.as_ref().unwrap();
    assert_eq!(
        headers.get("Nats-Service-Error").unwrap().as_str(),
        "a  Nats-Rollup: all"
    );
    assert!(headers.get("Nats-Rollup").is_none());
}

#[tokio::test]
async fn an_error_reply_has_a_code_a_sentence_and_a_body_and_the_caller_can_read_it() {
    let world = World::new().await;
    async fn fails() -> Result<Response> {
        Err(Error::bad_request("").with_details(json!({"limit": 3})))
    }
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("fails", fails))
        .await;

    let answer = world.ask("fails", "").await;

    assert_eq!(code(&answer), Some(400));
    assert!(!answer.payload.is_empty());
    assert_eq!(body(&answer)["code"], 400);
    let error = natsfn::check_reply(&answer).unwrap_err();
    assert_eq!(error.kind(), natsfn::Kind::BadRequest);
    assert_eq!(error.details().unwrap()["limit"], 3);
}

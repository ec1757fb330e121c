//! The path of a request: extractors, deadline, turns, and payloads that are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use natsfn::{Bytes, Endpoint, Json, Path, Service, State, Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::world::{World, code, function, json as body, within};

#[derive(Deserialize, Serialize)]
struct Order {
    sku: String,
    amount: u32,
}

#[tokio::test]
async fn a_function_is_called_with_what_it_asks_for() {
    let world = World::new().await;
    async fn order(
        State(prefix): State<&'static str>,
        Path((kind, n)): Path<(String, u32)>,
        Subject(subject): Subject,
        Json(order): Json<Order>,
    ) -> Json<Value> {
        Json(json!([prefix, kind, n, subject, order.sku, order.amount]))
    }
    let endpoint = Endpoint::new("order", "order.{kind}.{n}");
    let service = Service::new("a", "1.0.0")
        .state("state")
        .endpoint(endpoint, order);
    let _running = world.serve(service).await;

    let answer = world
        .ask_json("order.book.7", r#"{"sku":"x","amount":3,"unknown":1}"#)
        .await;

    assert_eq!(answer, json!(["state", "book", 7, "order.book.7", "x", 3]));
}

#[tokio::test]
async fn a_function_that_misses_its_deadline_is_answered_504() {
    let world = World::new().await;
    async fn hangs() {
        std::future::pending::<()>().await;
    }
    let endpoint = Endpoint::new("hangs", "hangs").deadline(Duration::from_millis(100));
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, hangs))
        .await;

    let answer = world.ask("hangs", "").await;

    assert_eq!(code(&answer), Some(504));
    assert_eq!(body(&answer)["error"], "try again");
    assert_eq!(function(&running, 0)["data"]["in_flight"], 0);
}

/// A function that counts its runs and never ends.
fn hangs() -> (
    Arc<AtomicUsize>,
    impl Fn() -> std::future::Pending<()> + Clone,
) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let function = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending()
    };
    (runs, function)
}

#[tokio::test]
async fn a_request_whose_turn_never_comes_is_answered_503_and_not_run() {
    let world = World::new().await;
    let (runs, hangs) = hangs();
    let endpoint = Endpoint::new("one", "one")
        .max_in_flight(1)
        .deadline(Duration::from_millis(300));
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, hangs))
        .await;

    let asked = join_all((0..200).map(|_| world.nats.request("one", "".into()))).await;

    let codes: Vec<_> = asked
        .iter()
        .map(|answer| code(answer.as_ref().unwrap()))
        .collect();
    let count = |wanted| codes.iter().filter(|code| **code == Some(wanted)).count();
    // Whose turn came ran into its deadline; most waited for theirs in vain.
    assert_eq!(count(504) + count(503), 200);
    assert_eq!(count(504), runs.load(Ordering::SeqCst));
    assert_eq!(function(&running, 0)["data"]["shed"], count(503));
    assert!(count(504) >= 1 && count(503) >= 1, "{codes:?}");
}

#[tokio::test]
async fn requests_beyond_those_that_may_wait_are_answered_503_at_once() {
    const WAITING: usize = 16_384;
    let world = World::new().await;
    let (runs, hangs) = hangs();
    let endpoint = Endpoint::new("one", "one")
        .max_in_flight(1)
        .deadline(Duration::from_secs(300));
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, hangs))
        .await;
    let inbox = world.nats.new_inbox();
    let answers = world.nats.subscribe(inbox.clone()).await.unwrap();

    for _ in 0..1 + WAITING + 100 {
        world
            .nats
            .publish_with_reply("one", inbox.clone(), "".into())
            .await
            .unwrap();
    }

    let refused: Vec<_> = within(answers.take(100).collect()).await;
    assert!(refused.iter().all(|answer| code(answer) == Some(503)));
    assert_eq!(function(&running, 0)["data"]["shed"], 100);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_more_than_max_in_flight_run_at_once() {
    let world = World::new().await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let function = move || {
        let (now, most) = (now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let endpoint = Endpoint::new("few", "few").max_in_flight(7);
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, function))
        .await;

    let asked = join_all((0..500).map(|_| world.nats.request("few", "".into()))).await;

    assert!(
        asked
            .iter()
            .all(|answer| code(answer.as_ref().unwrap()).is_none())
    );
    assert_eq!(peak.load(Ordering::SeqCst), 7);
}

#[tokio::test]
async fn a_wrong_payload_is_answered_400_with_what_is_wrong_and_the_next_request_works() {
    let world = World::new().await;
    async fn order(Json(order): Json<Order>) -> Json<u32> {
        Json(order.amount)
    }
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("order", order))
        .await;
    let deep = "[".repeat(5000);
    let not_utf8 = Bytes::from_static(b"{\"sku\":\"\xff\",\"amount\":1}");

    for wrong in [
        "",
        "{",
        "null",
        "[]",
        r#"{"sku":1,"amount":1}"#,
        r#"{"sku":"x"}"#,
        &deep,
    ] {
        let answer = world.ask("order", wrong.to_owned()).await;
        assert_eq!(code(&answer), Some(400), "{wrong:.40}");
    }
    assert_eq!(code(&world.ask("order", not_utf8).await), Some(400));
    let answer = world.ask("order", r#"{"sku":"x","amount":-1}"#).await;
    let sentence = body(&answer)["error"].as_str().unwrap().to_owned();
    assert!(
        sentence.contains("-1") && sentence.contains("column"),
        "{sentence}"
    );

    assert_eq!(
        world
            .ask("order", r#"{"sku":"x","amount":1}"#)
            .await
            .payload,
        "1"
    );
}

#[tokio::test]
async fn a_wrong_token_of_the_subject_is_answered_400_with_its_name() {
    let world = World::new().await;
    async fn half(Path(n): Path<u8>) -> Json<u8> {
        Json(n / 2)
    }
    let endpoint = Endpoint::new("half", "half.{n}");
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, half))
        .await;

    for wrong in ["x", "-1", "256", "1e1", "История", &"9".repeat(300)] {
        let answer = world.ask(&format!("half.{wrong}"), "").await;
        assert_eq!(code(&answer), Some(400), "{wrong}");
        assert!(
            body(&answer)["error"].as_str().unwrap().starts_with("n "),
            "{wrong}"
        );
    }
    assert_eq!(world.ask("half.8", "").await.payload, "4");
}

#[tokio::test]
async fn a_deadline_may_be_longer_than_time_lasts_and_the_requests_at_once_without_a_limit() {
    let world = World::new().await;
    let endpoint = Endpoint::new("echo", "echo")
        .deadline(Duration::MAX)
        .max_in_flight(usize::MAX);
    let echo = async |payload: Bytes| payload;
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, echo))
        .await;

    assert_eq!(within(world.ask("echo", "x")).await.payload, "x");
    within(running.stop(Duration::MAX)).await;
}

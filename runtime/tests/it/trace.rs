//! `traceparent` is carried on: into what a function sends, into dead letters, into error replies.

use async_nats::HeaderMap;
use futures_util::StreamExt;
use natsfn::{Client, Consumer, Error, Headers, Json, Result, Service, Stream, dead_letter};
use serde_json::Value;

use crate::world::{World, json, until, within};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traced() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", PARENT);
    headers.insert("tracestate", "vendor=1");
    headers
}

fn trace_id(headers: &HeaderMap) -> &str {
    &headers.get("traceparent").unwrap().as_str()[3..35]
}

#[tokio::test]
async fn what_a_function_publishes_asks_or_stores_belongs_to_the_trace_of_its_request() {
    let world = World::new().await;
    async fn asked(Headers(headers): Headers) -> Json<(String, String)> {
        let state = headers.get("tracestate").unwrap().as_str().to_owned();
        Json((trace_id(&headers).to_owned(), state))
    }
    async fn front(client: Client) -> Result<Json<(String, String)>> {
        client.publish("news", HeaderMap::new(), "x".into()).await?;
        client
            .append("log.a", Some("id"), HeaderMap::new(), "x".into())
            .await?;
        client.request("asked", &()).await.map(Json)
    }
    let service = || {
        Service::new("a", "1.0.0")
            .stream(Stream::new("LOG", ["log.>"]))
            .endpoint("front", front)
            .endpoint("asked", asked)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    let mut news = world.nats.subscribe("news").await.unwrap();
    let mut log = world.nats.subscribe("log.a").await.unwrap();
    world.settle().await;

    let answer = json(&world.ask_with("front", traced(), "").await);

    assert_eq!(answer, serde_json::json!([TRACE_ID, "vendor=1"]));
    for subscriber in [&mut news, &mut log] {
        let message = within(subscriber.next()).await.unwrap();
        assert_eq!(trace_id(&message.headers.unwrap()), TRACE_ID);
    }
}

#[tokio::test]
async fn an_error_reply_tells_the_trace_id() {
    let world = World::new().await;
    async fn fails() -> Result<()> {
        Err(Error::internal("secret"))
    }
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("fails", fails))
        .await;

    let answer = json(&world.ask_with("fails", traced(), "").await);
    assert_eq!(answer["trace_id"], TRACE_ID);
    let mut bad = HeaderMap::new();
    bad.insert("traceparent", "00-nonsense");
    assert_eq!(
        json(&world.ask_with("fails", bad, "").await)["trace_id"],
        Value::Null
    );
}

#[tokio::test]
async fn a_dead_letter_belongs_to_the_trace_of_its_message() {
    let world = World::new().await;
    async fn store(Json(_): Json<u32>) {}
    let service = || {
        Service::new("a", "1.0.0")
            .consumer(Consumer::new("store", Stream::new("LOG", ["log.>"])), store)
    };
    world.set_up(service()).await;
    let _running = world.serve(service()).await;
    let mut dead = world.nats.subscribe("dead.>").await.unwrap();
    world.settle().await;

    Client::new(world.nats.clone())
        .append("log.a", None, traced(), "no number".into())
        .await
        .unwrap();

    let message = within(dead.next()).await.unwrap();
    assert_eq!(trace_id(&message.headers.unwrap()), TRACE_ID);
    let letter = until("it is stored", async || {
        dead_letter::list(&world.nats, "a", 0, 10)
            .await
            .unwrap()
            .pop()
    })
    .await;
    assert_eq!(letter.headers["traceparent"], [PARENT]);
    assert_eq!(letter.headers["tracestate"], ["vendor=1"]);
}

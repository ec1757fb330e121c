//! JSON of another shape than the type has: an array of a struct's fields is not the struct.

use natsfn::{Batch, Client, HeaderMap, Json, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::log::{consumer, letters};
use crate::world::{World, code, json as body, next};

#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Order {
    sku: String,
    amount: u64,
    #[serde(default)]
    place: Option<Shelf>,
}

#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Shelf {
    shelf: u64,
    row: u64,
}

const ARRAYS: [&str; 4] = [
    r#"["tea",2]"#,
    r#"["tea",2,null]"#,
    r#" ["tea",2,[1,2]]"#,
    r#"{"sku":"tea","amount":2,"place":[1,2]}"#,
];

#[tokio::test]
async fn endpoint_refuses_an_array_in_place_of_a_struct_with_a_400() {
    let world = World::new().await;
    let take = |order: Json<Order>| async move { order };
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("take", take))
        .await;

    for array in ARRAYS {
        let answer = world.ask("take", array).await;
        assert_eq!(code(&answer), Some(400), "{array}: {}", body(&answer));
        let said = body(&answer)["error"].to_string();
        assert!(said.contains("expected a JSON object"), "{said}");
    }

    let order = json!({ "sku": "tea", "amount": 2, "place": { "shelf": 1, "row": 2 } });
    let answer = world.ask_json("take", order.to_string()).await;
    assert_eq!(answer, order);
}

#[tokio::test]
async fn stream_function_makes_a_dead_letter_of_an_array_in_place_of_a_struct() {
    let world = World::new().await;
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let service = || {
        let seen = seen.clone();
        let store = move |batch: Batch<Order>| {
            for order in &batch {
                seen.send(order.sku.clone()).unwrap();
            }
            async {}
        };
        Service::new("a", "1.0.0").consumer(consumer(), store)
    };
    world.set_up(service()).await;
    let client = Client::new(world.nats.clone());
    for payload in ARRAYS.into_iter().chain([r#"{"sku":"coffee","amount":1}"#]) {
        let payload = payload.as_bytes().to_vec().into();
        client
            .append("log.a", None, HeaderMap::new(), payload)
            .await
            .unwrap();
    }

    let _running = world.serve(service()).await;

    assert_eq!(next(&mut sightings).await, "coffee");
    world.settled("LOG", "store", ARRAYS.len() as u64 + 1).await;
    let letters = letters(&world).await;
    assert_eq!(letters.len(), ARRAYS.len());
    for letter in letters {
        let reason = &letter.reason;
        assert!(reason.contains("expected a JSON object"), "{reason}");
    }
    assert!(sightings.try_recv().is_err());
}

#[tokio::test]
async fn what_is_meant_to_be_an_array_is_one() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    enum Shape {
        Point,
        Circle(u64),
        Line(u64, u64),
        Box { width: u64, height: u64 },
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Pair(u64, Wrapped);
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Wrapped(String);
    type All = (Vec<Shape>, Pair, [u64; 2], Value, Option<Wrapped>);
    let world = World::new().await;
    let take = |all: Json<All>| async move { all };
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("take", take))
        .await;
    let all = json!([
        ["Point", { "Circle": 1 }, { "Line": [1, 2] }, { "Box": { "width": 1, "height": 2 } }],
        [1, "x"],
        [1, 2],
        { "any": ["thing", 1.5, null, { "deep": [] }] },
        "y",
    ]);

    let answer = world.ask_json("take", all.to_string()).await;

    assert_eq!(answer, all);
    let mut wrong = all;
    wrong[0][3] = json!({ "Box": [1, 2] });
    let answer = world.ask("take", wrong.to_string()).await;
    assert_eq!(code(&answer), Some(400), "{}", body(&answer));
}

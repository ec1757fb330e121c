//! Layers: what is around functions looks first, may answer or refuse, and sees the answer.

use std::sync::Arc;

use natsfn::testing::{Outcome, local};
use natsfn::{
    Batch, Consumer, Delivery, Endpoint, Error, Extension, HeaderMap, Json, Kind, Next, Outcomes,
    Path, RateLimit, Request, Response, Result, Service, Stream, Tx,
};
use parking_lot::Mutex;
use sea_orm::ConnectionTrait;

use crate::database::Database;
use crate::sql::Migrator;
use crate::world::{World, code, within};

type Told = Arc<Mutex<Vec<String>>>;

/// Says when it is entered and left.
fn says(
    told: &Told,
    name: &'static str,
) -> impl Fn(Request, Next<Request>) -> futures_util::future::BoxFuture<'static, Result<Response>> + use<>
{
    let told = told.clone();
    move |request, next| {
        let told = told.clone();
        Box::pin(async move {
            told.lock().push(format!("{name} in {}", request.subject()));
            let answer = next.run(request).await;
            told.lock().push(format!("{name} out"));
            answer
        })
    }
}

#[derive(Clone)]
struct Tenant(String);

async fn tenant(mut request: Request, next: Next<Request>) -> Result<Response> {
    let tenant = request.headers().get("Tenant").map(ToString::to_string);
    match tenant.as_deref() {
        None => {
            return Err(Error::new(
                Kind::Unauthorized,
                "the header Tenant is missing",
            ));
        }
        Some("cached") => return Response::json(&"from the layer"),
        Some("broken") => panic!("a layer panics"),
        Some(name) => request.insert(Tenant(name.to_owned())),
    }
    let answer = next.run(request).await?;
    Ok(answer.with_header("Served-By", "layer"))
}

async fn orders(Extension(Tenant(name)): Extension<Tenant>, Path(id): Path<u32>) -> Json<String> {
    Json(format!("order {id} of {name}"))
}

fn headers(tenant: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Tenant", tenant);
    headers
}

#[tokio::test]
async fn layer_answers_refuses_and_puts_in_what_the_function_takes() {
    let world = World::new().await;
    let orders_of = Endpoint::new("orders", "orders.{id}");
    let service = Service::new("a", "1.0.0")
        .layer(tenant)
        .endpoint(orders_of, orders);
    let _running = world.serve(service).await;

    let answer = world.ask_with("orders.7", headers("acme"), "").await;
    assert_eq!(answer.payload, "\"order 7 of acme\"");
    assert_eq!(
        answer.headers.unwrap().get("Served-By").unwrap().as_str(),
        "layer"
    );
    let answer = world.ask_with("orders.7", headers("cached"), "").await;
    assert_eq!(answer.payload, "\"from the layer\"");
    // The function's own refusal passes through.
    let answer = world.ask_with("orders.x", headers("acme"), "").await;
    assert_eq!(code(&answer), Some(400));
    assert_eq!(code(&world.ask("orders.7", "").await), Some(401));
    let answer = world.ask_with("orders.7", headers("broken"), "").await;
    assert_eq!(code(&answer), Some(500));
    let answer = world.ask_with("orders.8", headers("acme"), "").await;
    assert_eq!(answer.payload, "\"order 8 of acme\"");
}

#[tokio::test]
async fn layers_of_the_service_are_outside_and_each_service_has_its_own() {
    let world = World::new().await;
    let told = Told::default();
    let echo = async |Json(n): Json<u32>| Json(n);
    let other = Service::new("b", "1.0.0")
        .layer(says(&told, "other"))
        .endpoint("two", echo);
    let inner = Endpoint::new("one", "one").layer(says(&told, "third"));
    let service = Service::new("a", "1.0.0")
        .endpoint(inner, echo)
        .layer(says(&told, "first"))
        .layer(says(&told, "second"))
        .beside(other);
    let mut running = Vec::new();
    for service in service.build().unwrap().into_services() {
        running.push(
            natsfn::start(service, world.connect().await, None)
                .await
                .unwrap(),
        );
    }

    assert_eq!(world.ask("one", "1").await.payload, "1");
    let all = [
        "first in one",
        "second in one",
        "third in one",
        "third out",
        "second out",
        "first out",
    ];
    assert_eq!(std::mem::take(&mut *told.lock()), all);
    assert_eq!(world.ask("two", "1").await.payload, "1");
    assert_eq!(*told.lock(), ["other in two", "other out"]);
}

/// Refuses what is negative, behind the function.
async fn no_debts(delivery: Delivery, next: Next<Delivery>) -> Result<Outcomes> {
    let is_debt = delivery
        .messages()
        .any(|message| message.payload().starts_with(b"-"));
    let outcomes = next.run(delivery).await?;
    if is_debt {
        return Err(Error::bad_request("a debt"));
    }
    Ok(outcomes)
}

#[tokio::test]
async fn refusal_of_a_layer_rolls_back_and_is_that_messages_own() {
    let store = async |tx: Tx, numbers: Batch<i64>| -> Result<()> {
        for number in &numbers {
            let insert = format!("INSERT INTO numbers (number) VALUES ({})", **number);
            tx.execute_unprepared(&insert).await?;
        }
        Ok(())
    };
    for database in Database::each().await {
        let consumer = Consumer::new("store", Stream::new("LOG", ["log"])).layer(no_debts);
        let service = Service::new("a", "1.0.0")
            .database::<Migrator>()
            .consumer(consumer, store);
        let service = local(service).database(&database.url).await.unwrap();
        let outcomes = within(service.deliver("store", [1, -2, 3, 4])).await;
        let [acked, dead] = [Outcome::Acked, Outcome::DeadLetter];
        assert_eq!(outcomes, [acked, dead, acked, acked]);
        assert_eq!(
            database
                .number("SELECT CAST(sum(number) AS bigint) FROM numbers")
                .await,
            8
        );
    }
}

#[tokio::test]
async fn what_no_layer_has_put_in_is_an_error_that_names_it() {
    let service =
        Service::new("a", "1.0.0").endpoint(Endpoint::new("orders", "orders.{id}"), orders);
    let refused = local(service)
        .request::<String>("orders.7", &())
        .await
        .unwrap_err();
    assert_eq!(refused.code, 500);
}

#[tokio::test]
async fn limit_counts_by_what_the_request_says() {
    let world = World::new().await;
    let key = |request: &Request| {
        let key = request.headers().get("Tenant").map(ToString::to_string);
        key.ok_or_else(|| Error::bad_request("the header Tenant is missing"))
    };
    let limit = RateLimit::new(0.001, 2).by_request(key);
    let echo = async |Json(n): Json<u32>| Json(n);
    let endpoint = Endpoint::new("echo", "echo").rate_limit(limit);
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, echo))
        .await;

    let ask = async |tenant: &str| code(&world.ask_with("echo", headers(tenant), "1").await);
    for (tenant, code) in [
        ("one", None),
        ("one", None),
        ("one", Some(429)),
        ("two", None),
        ("one", Some(429)),
        ("two", None),
        ("two", Some(429)),
    ] {
        assert_eq!(ask(tenant).await, code, "{tenant}");
    }
    assert_eq!(code(&world.ask("echo", "1").await), Some(400));
}

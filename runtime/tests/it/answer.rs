//! What a caller gets where something is wrong: in the function, or with its answer.

use std::fmt;

use async_nats::HeaderMap;
use natsfn::{
    Bytes, Endpoint, Error, FromEvent, IntoError, Json, Kind, Path, Response, Result, Service,
};
use serde_json::json;

use crate::world::{World, code, function, json as body};

struct Panics;

impl<E, S> FromEvent<E, S> for Panics {
    fn from_event(_: &mut E, _: &S) -> Result<Self> {
        panic!("in the extractor")
    }
}

#[tokio::test]
async fn a_panic_anywhere_is_answered_500_and_the_service_lives() {
    let world = World::new().await;
    async fn in_extractor(_: Panics) {}
    fn in_call() -> std::future::Ready<()> {
        panic!("in the call")
    }
    async fn in_poll() {
        tokio::task::yield_now().await;
        panic!("in the poll, with a secret");
    }
    let service = Service::new("a", "1.0.0")
        .endpoint("extractor", in_extractor)
        .endpoint("call", in_call)
        .endpoint("poll", in_poll);
    let running = world.serve(service).await;

    for _ in 0..3 {
        for subject in ["extractor", "call", "poll"] {
            let answer = world.ask(subject, "").await;
            assert_eq!(code(&answer), Some(500), "{subject}");
            assert_eq!(
                body(&answer),
                json!({"code": 500, "error": "internal error"})
            );
        }
    }

    for at in 0..3 {
        let counted = function(&running, at);
        assert_eq!(
            (&counted["num_requests"], &counted["num_errors"]),
            (&json!(3), &json!(3))
        );
        assert_eq!(counted["last_error"], "500:internal error");
        assert_eq!(counted["data"]["in_flight"], 0);
    }
}

#[tokio::test]
async fn each_kind_has_its_code_and_only_the_callers_mistakes_are_explained() {
    let world = World::new().await;
    let cases = [
        (Kind::BadRequest, 400, None),
        (Kind::Unauthorized, 401, None),
        (Kind::Forbidden, 403, None),
        (Kind::NotFound, 404, None),
        (Kind::Conflict, 409, None),
        (Kind::TooLarge, 413, None),
        (Kind::TooManyRequests, 429, None),
        (Kind::Halt, 500, Some("internal error")),
        (Kind::Internal, 500, Some("internal error")),
        (Kind::Unavailable, 503, Some("try again")),
        (Kind::Timeout, 504, Some("try again")),
    ];
    let fails = move |Path(at): Path<usize>| async move {
        let error = Error::new(cases[at].0, "the sentence").with_details(json!({"limit": 1}));
        Err::<(), Error>(error.with_source("the source"))
    };
    let endpoint = Endpoint::new("fails", "fails.{at}");
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, fails))
        .await;

    for (at, (kind, number, safe)) in cases.into_iter().enumerate() {
        let answer = world.ask(&format!("fails.{at}"), "").await;
        let expected = match safe {
            None => json!({"code": number, "error": "the sentence", "details": {"limit": 1}}),
            Some(safe) => json!({"code": number, "error": safe}),
        };
        assert_eq!(code(&answer), Some(number), "{kind:?}");
        assert_eq!(body(&answer), expected, "{kind:?}");
        let sentence = answer
            .headers
            .as_ref()
            .unwrap()
            .get("Nats-Service-Error")
            .unwrap();
        assert_eq!(*sentence.as_str(), expected["error"]);
    }
}

#[derive(Debug)]
enum PriceError {
    Unknown(String),
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Unknown(sku) = self;
        write!(f, "there is no {sku}")
    }
}

impl IntoError for PriceError {
    fn kind(&self) -> Kind {
        Kind::NotFound
    }
}

#[tokio::test]
async fn a_function_may_return_an_error_of_its_own() {
    let world = World::new().await;
    async fn price(Path(sku): Path<String>) -> Result<Json<u32>, PriceError> {
        Err(PriceError::Unknown(sku))
    }
    let endpoint = Endpoint::new("price", "price.{sku}");
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, price))
        .await;

    let answer = world.ask("price.x1", "").await;

    assert_eq!(
        body(&answer),
        json!({"code": 404, "error": "there is no x1"})
    );
}

#[tokio::test]
async fn an_answer_over_max_payload_is_answered_500_and_the_connection_lives() {
    let conf = "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT, max_payload: 8192";
    let world = World::with(|config| config.text(conf)).await;
    async fn large(Json((body, header)): Json<(usize, usize)>) -> Response {
        let payload = Bytes::from(vec![b'x'; body]);
        let response = Response {
            payload,
            headers: HeaderMap::new(),
        };
        if header == 0 {
            response
        } else {
            response.with_header("X", "y".repeat(header))
        }
    }
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("large", large))
        .await;

    for fits in ["[8000,0]", "[4000,4000]"] {
        assert_eq!(code(&world.ask("large", fits).await), None, "{fits}");
    }
    for too_large in ["[8193,0]", "[100000,0]", "[8192,1]", "[0,8192]"] {
        assert_eq!(
            code(&world.ask("large", too_large).await),
            Some(500),
            "{too_large}"
        );
    }
    assert_eq!(code(&world.ask("large", "[1,1]").await), None);
}

#[tokio::test]
async fn a_line_break_in_a_header_s_value_never_reaches_the_connection() {
    let world = World::new().await;
    async fn mended() -> Response {
        Response::default().with_header("X", "a\r\nNats-Rollup: all\n")
    }
    async fn inserted() -> Response {
        let mut headers = HeaderMap::new();
        headers.insert("X", "a\r\nNats-Rollup: all");
        Response {
            headers,
            ..Response::default()
        }
    }
    let service = Service::new("a", "1.0.0")
        .endpoint("mended", mended)
        .endpoint("inserted", inserted);
    let _running = world.serve(service).await;

    let answer = world.ask("mended", "").await;
    let headers = answer.headers.unwrap();
    assert_eq!(headers.get("X").unwrap().as_str(), "aNats-Rollup: all");
    assert!(headers.get("Nats-Rollup").is_none());
    // async-nats panics on it where the function inserts it, and only that request fails.
    assert_eq!(code(&world.ask("inserted", "").await), Some(500));
    assert_eq!(code(&world.ask("mended", "").await), None);
}

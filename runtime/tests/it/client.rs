//! The runtime's connection as a function uses it: what it stores, asks, and is refused.

use natsfn::{Client, Error, HeaderMap, Headers, Json, Kind, Result, Service, Stream};
use serde_json::{Value, json};

use crate::world::World;

async fn with_stream(stream: Stream) -> (World, Client) {
    let world = World::new().await;
    world
        .set_up(Service::new("a", "1.0.0").stream(stream))
        .await;
    let client = Client::new(world.nats.clone());
    (world, client)
}

fn log() -> Stream {
    Stream::new("LOG", ["log.>"])
}

#[tokio::test]
async fn a_repeated_id_is_stored_once_and_told() {
    let (_world, client) = with_stream(log()).await;
    let append = |id| client.append("log.a", Some(id), HeaderMap::new(), "x".into());
    let (first, again) = (append("one").await.unwrap(), append("one").await.unwrap());
    assert_eq!((first.seq, first.duplicate), (1, false));
    assert_eq!((again.seq, again.duplicate), (1, true));
    assert_eq!(append("two").await.unwrap().seq, 2);
}

#[tokio::test]
async fn a_full_stream_refuses_at_once_and_takes_again_what_is_trimmed() {
    let (world, client) = with_stream(log().max_bytes(4096)).await;
    let append = async || {
        client
            .append("log.a", None, HeaderMap::new(), vec![0; 1000].into())
            .await
    };
    let mut stored = 0;
    let error = loop {
        match append().await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!((2..=4).contains(&stored), "{stored}");

    world.api("STREAM.PURGE.LOG", &json!({"seq": 3})).await;
    append().await.unwrap();
}

#[tokio::test]
async fn what_lies_below_a_sequence_is_purged_and_nothing_else() {
    let (world, client) = with_stream(log()).await;
    world.store("log.a", (1..=5).map(|n| n.to_string())).await;
    for (below, left) in [(0, 5), (1, 5), (2, 4), (2, 4), (4, 2), (u64::MAX, 0)] {
        client.purge_below("LOG", below).await.unwrap();
        let state = client.stream_info("LOG").await.unwrap().state;
        assert_eq!(state.messages, left, "below {below}");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_an_error_and_not_empty() {
    let (_world, client) = with_stream(log()).await;
    for stream in ["NONE", "", "LOG.A", "LO*", ">", "A B", "A\r\nB"] {
        // A server says nothing to a name with a dot, so all wait at once.
        let looks = tokio::join!(
            client.last(stream, "log.a"),
            client.message(stream, 1),
            client.next(stream, "log.a", 1),
            client.range(stream, "log.a", 1, 10, 1 << 20),
            client.stream_info(stream),
            client.consumer_info(stream, "a"),
            client.purge_below(stream, 9),
        );
        let looks = [
            looks.0.err(),
            looks.1.err(),
            looks.2.err(),
            looks.3.err(),
            looks.4.err(),
            looks.5.err(),
            looks.6.err(),
        ];
        for (at, error) in looks.into_iter().enumerate() {
            let kind = error.map(|error| error.kind());
            assert!(kind.is_some(), "{stream:?}, call {at}");
            if at < 3 {
                assert_eq!(kind, Some(Kind::Unavailable), "{stream:?}, call {at}");
            }
        }
    }
    assert!(client.last("LOG", "log.a").await.unwrap().is_none());
    for seq in [1, u64::MAX] {
        let found = client.message("LOG", seq).await;
        assert!(found.is_ok_and(|it| it.is_none()), "{seq}");
        assert!(client.next("LOG", "log.a", seq).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_id_that_the_server_would_take_for_another_is_refused() {
    let (_world, client) = with_stream(log()).await;
    let append = |id| client.append("log.a", Some(id), HeaderMap::new(), "x".into());
    for id in [" a", "a\r\nb", "a\nNats-Rollup: all", "\r"] {
        let error = append(id).await.unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest, "{id:?}");
        assert!(error.to_string().contains(&format!("{id:?}")), "{error}");
    }
    for (n, id) in ["a", "a ", "\ta", "a:b", "ä", "a\tb", "a\0b"]
        .into_iter()
        .enumerate()
    {
        let appended = append(id).await.unwrap();
        assert_eq!(
            (appended.seq, appended.duplicate),
            (n as u64 + 1, false),
            "{id:?}"
        );
        assert!(append(id).await.unwrap().duplicate, "{id:?}");
    }
}

#[tokio::test]
async fn a_range_ends_at_its_bound_in_messages_or_in_bytes() {
    let (world, client) = with_stream(log()).await;
    world
        .store("log.a", (0..10).map(|n| n.to_string().repeat(10_000)))
        .await;
    world.store("log.b", ["other".to_owned()]).await;
    let range = async |from: u64, max: usize, max_bytes: usize| {
        let range = client
            .range("LOG", "log.a", from, max, max_bytes)
            .await
            .unwrap();
        let seqs: Vec<_> = range.messages.iter().map(|m| m.seq()).collect();
        (seqs, range.more, range.bytes / 10_000)
    };
    assert_eq!(
        range(1, 20, usize::MAX).await,
        ((1..=10).collect(), false, 10)
    );
    assert_eq!(range(1, 3, usize::MAX).await, (vec![1, 2, 3], true, 3));
    assert_eq!(range(1, 20, 25_000).await, (vec![1, 2, 3], true, 3));
    assert_eq!(range(4, 20, 1).await, (vec![4], true, 1));
    assert_eq!(range(10, 20, 1).await, (vec![10], false, 1));
    assert_eq!(range(11, 20, 1).await, (vec![], false, 0));
}

#[tokio::test]
async fn each_refusal_has_its_kind() {
    let (_world, client) = with_stream(log().max_message_size(1000)).await;
    let kind = async |subject: &str, headers: HeaderMap, size: usize| {
        let payload = vec![b'x'; size].into();
        client
            .append(subject, None, headers, payload)
            .await
            .unwrap_err()
            .kind()
    };
    let none = HeaderMap::new;
    assert_eq!(kind("log.a", none(), 1001).await, Kind::TooLarge);
    assert_eq!(kind("log.a", none(), 2 << 20).await, Kind::TooLarge);
    assert_eq!(kind("nobody.a", none(), 1).await, Kind::Unavailable);
    assert_eq!(kind("log a", none(), 1).await, Kind::BadRequest);
    let mut expects = HeaderMap::new();
    expects.insert("Nats-Expected-Last-Sequence", "7");
    assert_eq!(kind("log.a", expects, 1).await, Kind::Conflict);
}

#[tokio::test]
async fn a_request_carries_headers_to_who_is_asked() {
    let world = World::new().await;
    let tenant = async |Headers(headers): Headers| {
        let tenant = headers.get("Tenant").map(ToString::to_string);
        Json(tenant)
    };
    let asks = async |client: Client| -> Result<Json<Option<String>>> {
        let mut headers = HeaderMap::new();
        headers.insert("Tenant", "blue");
        let answer = client.request_with_headers("tenant", headers, &());
        answer.await.map(Json)
    };
    let service = Service::new("a", "1.0.0")
        .endpoint("tenant", tenant)
        .endpoint("asks", asks);
    let _running = world.serve(service).await;

    assert_eq!(world.ask_json("asks", "").await, json!("blue"));
}

#[tokio::test]
async fn the_error_of_a_function_that_is_asked_reaches_the_one_that_asks() {
    let world = World::new().await;
    async fn asked() -> Result<()> {
        let missing = Error::new(Kind::NotFound, "there is no such book");
        Err(missing.with_details(json!({"nearest": "x2"})))
    }
    async fn asks(client: Client) -> Result<Json<Value>> {
        client.request("asked", &()).await.map(Json)
    }
    async fn asks_nobody(client: Client) -> Result<Json<Value>> {
        client.request("nobody", &()).await.map(Json)
    }
    let service = Service::new("a", "1.0.0")
        .endpoint("asked", asked)
        .endpoint("asks", asks)
        .endpoint("asks-nobody", asks_nobody);
    let _running = world.serve(service).await;

    assert_eq!(
        world.ask_json("asks", "").await,
        json!({"code": 404, "error": "there is no such book", "details": {"nearest": "x2"}})
    );
    assert_eq!(
        world.ask_json("asks-nobody", "").await,
        json!({"code": 503, "error": "try again"})
    );
}

#[tokio::test]
async fn what_the_stream_does_not_take_as_it_is_is_no_outage() {
    let (_world, client) = with_stream(log()).await;
    let with = async |name: &str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        let refused = client.append("log.a", None, headers, "x".into()).await;
        refused.unwrap_err().kind()
    };
    assert_eq!(
        with("Nats-Expected-Last-Msg-Id", "other").await,
        Kind::Conflict
    );
    assert_eq!(
        with("Nats-Expected-Last-Sequence", "7").await,
        Kind::Conflict
    );
    assert_eq!(with("X", &"y".repeat(70_000)).await, Kind::TooLarge);
}

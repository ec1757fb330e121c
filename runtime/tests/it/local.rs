//! A function that takes a `Client` or a `Kv`, tested without a server: what it meets is what NATS would say.

use natsfn::testing::{Outcome, local};
use natsfn::{
    Batch, Bucket, Client, Consumer, Endpoint, Error, HeaderMap, Headers, Json, Kind, Kv, KvValue,
    Path, Result, Service, Stream,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Count(u32);

impl KvValue for Count {
    const BUCKET: &'static str = "counts";
}

fn log() -> Stream {
    Stream::new("LOG", ["log.{kind}"])
}

fn service() -> Service {
    Service::new("shop", "1.0.0")
        .stream(log())
        .bucket(Bucket::of::<Count>())
}

async fn ask(client: Client, Json(subject): Json<String>) -> Result<Json<u32>> {
    client.request(&subject, &7).await.map(Json)
}

#[tokio::test]
async fn a_request_is_answered_by_the_test_by_the_service_or_by_nobody() {
    let double = async |Json(n): Json<u32>| Json(2 * n);
    let shop = local(service().endpoint("ask", ask).endpoint("double", double))
        .answer(
            "other.{n}",
            async |Path(n): Path<u32>, Json(m): Json<u32>| Json(n * m),
        )
        .answer("sold-out", async || {
            Err::<(), _>(Error::new(Kind::Conflict, "nothing is left"))
        });

    assert_eq!(shop.request("ask", &"other.3").await, Ok(21));
    assert_eq!(shop.request("ask", &"double").await, Ok(14));
    let refused = shop.request::<u32>("ask", &"sold-out").await.unwrap_err();
    assert_eq!((refused.code, &*refused.message), (409, "nothing is left"));
    let nobody = shop.request::<u32>("ask", &"nobody").await.unwrap_err();
    assert_eq!(nobody.code, 503);
    let sent = shop.sent().await;
    let subjects: Vec<&str> = sent.iter().map(|message| message.subject()).collect();
    assert_eq!(subjects, ["other.3", "double", "sold-out", "nobody"]);
}

#[tokio::test]
async fn what_is_published_and_appended_is_told_with_its_headers() {
    let tell = async |client: Client, Headers(headers): Headers, Json(kind): Json<String>| {
        client.publish("told", headers.clone(), "1".into()).await?;
        let subject = format!("log.{kind}");
        let first = client
            .append(&subject, Some("a"), headers, "2".into())
            .await?;
        let again = client
            .append(&subject, Some("a"), HeaderMap::new(), "2".into())
            .await?;
        assert_eq!((again.seq, again.duplicate), (first.seq, true));
        let stored = client.last("LOG", &subject).await?;
        assert_eq!(
            stored.map(|stored| stored.payload().clone()),
            Some("2".into())
        );
        assert_eq!(client.message("LOG", 9).await?.map(|it| it.seq()), None);
        client
            .append("elsewhere", None, HeaderMap::new(), "3".into())
            .await
            .map(drop)
    };
    let shop = local(service().endpoint("tell", tell));

    let mut headers = HeaderMap::new();
    headers.insert("Tenant", "blue: é");
    let failed = shop.ask("tell", headers, "\"x\"".into()).await.unwrap_err();

    // No stream of the service captures the last one.
    assert_eq!(failed.code, 503);
    let sent = shop.sent().await;
    let told: Vec<_> = sent.iter().map(|it| (it.subject(), it.seq())).collect();
    assert_eq!(
        told,
        [("told", 0), ("log.x", 1), ("log.x", 0), ("elsewhere", 0)]
    );
    for message in &sent[..2] {
        let tenant = message.headers().get("Tenant");
        assert_eq!(tenant.map(|it| it.as_str()), Some("blue: é"));
    }
}

#[tokio::test]
async fn a_bucket_compares_and_sets() {
    let count = async |counts: Kv<Count>, Path(key): Path<String>| {
        let Some(entry) = counts.entry(&key).await? else {
            counts.create(&key, &Count(1)).await?;
            return Ok::<_, Error>(Json(1));
        };
        let next = Count(entry.value.0 + 1);
        let stale = counts
            .update(&key, &next, entry.revision + 9)
            .await
            .unwrap_err();
        assert_eq!(stale.kind(), Kind::Conflict);
        assert_eq!(
            counts.create(&key, &next).await.unwrap_err().kind(),
            Kind::Conflict
        );
        counts.update(&key, &next, entry.revision).await?;
        if next.0 == 3 {
            counts.delete(&key).await?;
        }
        Ok(Json(next.0))
    };
    let shop = local(service().endpoint(Endpoint::new("count", "count.{key}"), count));

    for expected in [1, 2, 3, 1] {
        assert_eq!(shop.request("count.a", &()).await, Ok(expected));
    }
    assert_eq!(shop.request("count.b", &()).await, Ok(1));
}

#[tokio::test]
async fn a_stream_function_has_a_client_too() {
    let forward = async |client: Client, batch: Batch<u32>| {
        for n in &batch {
            client.request::<bool>("bill", &**n).await?;
        }
        Ok::<_, Error>(())
    };
    let bill = async |Json(n): Json<u32>| match n {
        13 => Err(Error::bad_request("not this one")),
        _ => Ok(Json(true)),
    };
    let service = service().consumer(Consumer::new("forward", log()), forward);
    let shop = local(service).answer("bill", bill);

    let outcomes = shop.deliver("forward", [1, 13, 2]).await;

    assert_eq!(
        outcomes,
        [Outcome::Acked, Outcome::DeadLetter, Outcome::Acked]
    );
}

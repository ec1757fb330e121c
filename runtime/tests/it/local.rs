//! A function that takes a `Client` or a `Kv`, tested without a server: what it meets is what NATS would say.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use natsfn::testing::{Outcome, TestMessage, local};
use natsfn::{
    Batch, Bucket, Bytes, Client, Consumer, Endpoint, Error, HeaderMap, Headers, Json, Kind, Kv,
    KvValue, Path, Result, Service, State, Stream, Subject,
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
async fn an_expected_sequence_is_compared() {
    let append = async |client: Client, Headers(headers): Headers| {
        let appended = client.append("log.x", None, headers, "1".into()).await?;
        Ok::<_, Error>(Json(appended.seq))
    };
    let shop = local(service().endpoint("append", append));
    let expecting = async |name: &'static str, seq: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, seq);
        shop.request_with_headers::<u64>("append", headers, &())
            .await
    };

    for name in [
        "Nats-Expected-Last-Sequence",
        "Nats-Expected-Last-Subject-Sequence",
    ] {
        assert_eq!(expecting(name, "7").await.unwrap_err().code, 409, "{name}");
    }
    assert_eq!(expecting("Nats-Expected-Last-Sequence", "0").await, Ok(1));
    assert_eq!(
        expecting("Nats-Expected-Last-Subject-Sequence", "1").await,
        Ok(2)
    );
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

/// What a function sees of a message: sequence, subject, tenant, payload, and whether it is older than a day.
type Seen = (u64, String, Option<String>, u32, bool);

/// A service that notes what it sees.
fn seeing() -> (Service, Arc<Mutex<Vec<Seen>>>) {
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let seeing = seen.clone();
    let note = move |batch: Batch<u32>| {
        let mut seeing = seeing.lock().unwrap();
        for item in &batch {
            let age = item.time().elapsed().unwrap_or_default();
            let tenant = item.headers().get("Tenant").map(ToString::to_string);
            let (subject, is_old) = (item.subject().to_owned(), age > DAY);
            seeing.push((item.seq(), subject, tenant, **item, is_old));
        }
        std::future::ready(())
    };
    let consumer = Consumer::new("note", log());
    (service().consumer(consumer, note), seen)
}

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn each_message_is_the_next_of_its_stream_and_says_what_the_test_says() {
    let (service, seen) = seeing();
    let shop = local(service);

    shop.deliver("note", [7, 8]).await;
    let old = SystemTime::now() - 2 * DAY;
    let other = TestMessage::json(&9)
        .subject("log.b")
        .header("Tenant", "blue");
    let outcomes = shop.deliver("note", [other.time(old), 10.into()]).await;
    assert_eq!(outcomes, [Outcome::Acked; 2]);
    shop.redeliver("note").await;

    let x = |seq, n| (seq, "log.x".to_owned(), None, n, false);
    let blue = (3, "log.b".to_owned(), Some("blue".to_owned()), 9, true);
    let again = blue.clone();
    assert_eq!(
        *seen.lock().unwrap(),
        [x(1, 7), x(2, 8), blue, x(4, 10), again, x(4, 10)]
    );
}

#[tokio::test]
#[should_panic(expected = "note is never delivered a message on \"lag.a\": its subjects are log.*")]
async fn what_the_runtime_would_never_deliver_is_no_test() {
    let (service, _) = seeing();
    let message = TestMessage::new("7").subject("lag.a");
    local(service).deliver("note", [message]).await;
}

#[tokio::test]
#[should_panic(expected = "was delivered nothing yet")]
async fn nothing_is_delivered_again_before_the_first_time() {
    let (service, _) = seeing();
    local(service).redeliver("note").await;
}

#[tokio::test]
async fn a_function_takes_eight_arguments() {
    #[expect(clippy::too_many_arguments, reason = "as many as there may be")]
    async fn all(
        Json(n): Json<u32>,
        bytes: Bytes,
        Subject(subject): Subject,
        Path(tenant): Path<String>,
        Headers(headers): Headers,
        State(factor): State<u32>,
        client: Client,
        counts: Kv<Count>,
    ) -> Result<Json<String>> {
        let language = headers.get("Language").map(ToString::to_string);
        counts.put(&tenant, &Count(n)).await?;
        let asked: u32 = client.request("factor", &factor).await?;
        let length = bytes.len();
        Ok(Json(format!(
            "{subject} {tenant} {language:?} {asked} {length}"
        )))
    }
    let service = Service::new("shop", "1.0.0")
        .state(3_u32)
        .bucket(Bucket::of::<Count>())
        .endpoint(Endpoint::new("all", "all.{tenant}"), all);
    let shop = local(service).answer("factor", async |Json(n): Json<u32>| Json(n * 2));

    let mut headers = HeaderMap::new();
    headers.insert("Language", "it");
    let answer = shop.request_with_headers("all.blue", headers, &21).await;

    assert_eq!(answer, Ok("all.blue blue Some(\"it\") 6 2".to_owned()));
}

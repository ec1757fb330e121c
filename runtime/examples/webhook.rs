//! Webhooks: each event is POSTed to its customer's receiver until that takes it, for a day at most. What one
//! receiver does concerns its own events alone.
//!
//! A receiver that is down costs nothing while its events wait. One that hangs keeps a place of the function for each
//! of its events until `TIMEOUT`, so each receiver has a few places of its own (`max_in_flight_by`), and the time is
//! short. A place is a connection (a file descriptor) and no thread. Of events that wait there may be 100,000
//! (`max_ack_pending`): a receiver that is down for a day may have one a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use natsfn::{
    Bytes, Consumer, Error, Json, Kind, Path, Result, Retry, Service, Start, State, Stream,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many events are on their way to receivers at once.
const PLACES: usize = 256;

/// How many of them to the same customer.
const PLACES_OF_EACH: usize = 8;

/// Where each customer listens: `WEBHOOK_RECEIVERS__ACME=10.0.0.7:8080`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    receivers: BTreeMap<String, String>,
}

type Receivers = Arc<BTreeMap<String, String>>;

/// An event, as somebody publishes it to `events.<customer>`.
#[derive(Deserialize, Serialize)]
struct Event {
    id: String,
    data: Value,
}

/// Any failure is of this event alone, so it says `retry_later` or `retry_in`: pauses grow, no other event waits,
/// and after a day it is a dead letter.
async fn post(
    State(receivers): State<Receivers>,
    Path(customer): Path<String>,
    Json(event): Json<Event>,
) -> Result<()> {
    let Some(receiver) = receivers.get(&customer) else {
        return Err(Error::bad_request(format!("{customer} has no receiver")));
    };
    let sent = tokio::time::timeout(TIMEOUT, send(receiver, &event)).await;
    let (status, wait) = match sent {
        Ok(answer) => answer.map_err(Error::retry_later)?,
        Err(_) => {
            let said = format!("{receiver} says nothing for {TIMEOUT:?}");
            return Err(Error::new(Kind::Timeout, said).retry_later());
        }
    };
    let said = format!("{receiver} answers {status}");
    if status.is_success() {
        Ok(())
    } else if status == StatusCode::TOO_MANY_REQUESTS {
        let error = Error::new(Kind::TooManyRequests, said).retry_later();
        Err(match wait {
            Some(wait) => error.retry_in(wait),
            None => error,
        })
    } else if matches!(status.as_u16(), 400 | 410 | 413 | 422) {
        // It does not want this event: a dead letter, which `dead replay` sends again.
        Err(Error::bad_request(said))
    } else {
        // Also 401 and 404, which a receiver may answer while it is deployed.
        Err(Error::unavailable(said).retry_later())
    }
}

/// The status, and the seconds of `Retry-After`. An event may be sent twice: the receiver knows it by its id.
async fn send(receiver: &str, event: &Event) -> Result<(StatusCode, Option<Duration>)> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(TcpStream::connect(receiver).await?)).await?;
    // It ends with this function.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let request = Request::post("/")
        .header(header::HOST, receiver)
        .header(header::CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", &event.id)
        .body(Full::new(Bytes::from(serde_json::to_vec(event)?)))?;
    let answer = sender.send_request(request).await?;
    let wait = answer.headers().get(header::RETRY_AFTER);
    let seconds = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
    Ok((answer.status(), seconds.map(Duration::from_secs)))
}

async fn webhook(config: Config) -> Result<Service<Receivers>> {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let events = Stream::new("EVENTS", ["events.{customer}"]);
    let consumer = Consumer::new("post", events)
        // Not what happened before there were webhooks.
        .start(Start::New)
        .retry(Retry::exponential(second..=15 * minute).within(24 * 60 * minute))
        .max_in_flight(PLACES)
        .max_in_flight_by(PLACES_OF_EACH, |event| Ok(event.subject().to_owned()));
    Ok(Service::new("webhook", "1.0.0")
        .state(Receivers::new(config.receivers))
        .consumer(consumer, post))
}

fn main() -> natsfn::Exit {
    natsfn::main(webhook)
}

#[cfg(test)]
mod tests {
    use natsfn::testing::{self, Outcome, local};
    use natsfn::{Client, HeaderMap, setup};
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc::{self, UnboundedReceiver};

    use super::*;

    /// A receiver that answers each request so, and its requests.
    async fn receiver(answer: &'static str) -> (String, UnboundedReceiver<String>) {
        let (seen, requests) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                // The body is an object.
                while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap() > 0 {
                }
                let _ = seen.send(String::from_utf8(request).unwrap());
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (address, requests)
    }

    /// Nobody listens there any more.
    async fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    }

    fn config(receiver: &str) -> Config {
        Config {
            receivers: BTreeMap::from([("acme".into(), receiver.into())]),
        }
    }

    fn event() -> Bytes {
        json!({ "id": "e1", "data": 7 }).to_string().into()
    }

    async fn outcome(customer: &str, receiver: &str) -> Outcome {
        let webhook = local(webhook(config(receiver)).await.unwrap());
        let subject = format!("events.{customer}");
        webhook
            .deliver_one("post", &subject, HeaderMap::new(), event())
            .await
    }

    #[tokio::test]
    async fn an_event_is_done_tried_again_or_a_dead_letter_as_its_receiver_answers() {
        for (answer, expected) in [
            ("204 No Content", Outcome::Acked),
            ("429 Slow\r\nRetry-After: 7", Outcome::Retried),
            ("429 Slow", Outcome::Retried),
            ("503 Away", Outcome::Retried),
            ("410 Gone", Outcome::DeadLetter),
        ] {
            let (address, mut requests) = receiver(answer).await;
            assert_eq!(outcome("acme", &address).await, expected, "{answer}");
            let request = requests.recv().await.unwrap();
            assert!(request.contains("idempotency-key: e1"), "{request}");
        }
        assert_eq!(outcome("acme", &nobody().await).await, Outcome::Retried);
        assert_eq!(outcome("zoo", "").await, Outcome::DeadLetter);
    }

    #[tokio::test]
    async fn a_receiver_that_hangs_is_left_in_time() {
        // The connection is made, and nobody accepts it.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(outcome("acme", &address).await, Outcome::Retried);
    }

    #[tokio::test]
    async fn a_receiver_that_is_down_holds_no_other() {
        let server = testing::nats().await;
        let nats = async_nats::connect(server.url()).await.unwrap();
        let (good, mut requests) = receiver("200 OK").await;
        let mut receivers = config(&nobody().await).receivers;
        receivers.insert("zoo".into(), good);
        let definition = async || {
            let receivers = receivers.clone();
            let service = webhook(Config { receivers }).await.unwrap();
            service.build().unwrap()
        };
        setup::setup(&definition().await, &nats.clone().into(), None)
            .await
            .unwrap();
        let running = natsfn::start(definition().await, nats.clone(), None)
            .await
            .unwrap();
        let client = Client::new(nats);
        for customer in ["acme", "acme", "acme", "zoo"] {
            let subject = format!("events.{customer}");
            let appended = client.append(&subject, None, HeaderMap::new(), event());
            appended.await.unwrap();
        }

        requests.recv().await.unwrap();

        let state = running.stats()["endpoints"][0]["data"]["state"].clone();
        assert_eq!(state, "running");
    }
}

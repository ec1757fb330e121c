//! The world of one test: a nats-server of its own, services on it, and what a test asks of them.

use std::future::Future;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt;
use futures_util::future::join_all;
use natsfn::server::ServerConfig;
use natsfn::testing::{self, TestServer};
use natsfn::{Nats, Running, Service};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

/// Far longer than anything here takes: only a hang meets it.
pub(crate) const GUARD: Duration = Duration::from_secs(180);

/// A server and a client of it.
pub(crate) struct World {
    pub(crate) nats: Nats,
    pub(crate) server: TestServer,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|config| config).await
    }

    pub(crate) async fn with(configure: impl FnOnce(ServerConfig) -> ServerConfig) -> Self {
        let server = testing::nats_with(configure).await;
        let nats = async_nats::connect(server.url()).await.unwrap().into();
        Self { nats, server }
    }

    /// A connection of its own, as another process would have it.
    pub(crate) async fn connect(&self) -> Client {
        async_nats::connect(self.server.url()).await.unwrap()
    }

    /// Starts one instance of a service, on a connection of its own.
    pub(crate) async fn serve<S>(&self, service: Service<S>) -> Running
    where
        S: Clone + Send + Sync + 'static,
    {
        natsfn::start(service.build().unwrap(), self.connect().await, None)
            .await
            .unwrap()
    }

    /// Makes the streams and consumers of a service.
    pub(crate) async fn set_up<S>(&self, service: Service<S>)
    where
        S: Clone + Send + Sync + 'static,
    {
        natsfn::setup::setup(&service.build().unwrap(), &self.nats, None)
            .await
            .unwrap();
    }

    pub(crate) async fn ask(&self, subject: &str, payload: impl Into<bytes::Bytes>) -> Message {
        self.ask_with(subject, HeaderMap::new(), payload).await
    }

    pub(crate) async fn ask_with(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: impl Into<bytes::Bytes>,
    ) -> Message {
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(payload.into())
            .timeout(Some(GUARD));
        self.nats
            .send_request(subject.to_owned(), request)
            .await
            .unwrap()
    }

    pub(crate) async fn ask_json(&self, subject: &str, payload: impl Into<bytes::Bytes>) -> Value {
        json(&self.ask(subject, payload).await)
    }

    /// Asks and reads the first `n` answers.
    pub(crate) async fn ask_all(&self, subject: &str, n: usize) -> Vec<Message> {
        let inbox = self.nats.new_inbox();
        let answers = self.nats.subscribe(inbox.clone()).await.unwrap();
        self.nats
            .publish_with_reply(subject.to_owned(), inbox, "".into())
            .await
            .unwrap();
        within(answers.take(n).collect()).await
    }

    /// Waits until everything that the server has for this connection has arrived.
    pub(crate) async fn settle(&self) {
        let inbox = self.nats.new_inbox();
        let mut subscriber = self.nats.subscribe(inbox.clone()).await.unwrap();
        self.nats.publish(inbox, "".into()).await.unwrap();
        within(subscriber.next()).await.unwrap();
    }

    /// Stores messages on a subject and waits until the stream has them.
    pub(crate) async fn store(&self, subject: &str, payloads: impl IntoIterator<Item = String>) {
        let stream = self.nats.jetstream();
        let payloads: Vec<String> = payloads.into_iter().collect();
        // async-nats waits where 5,000 are not acknowledged.
        for some in payloads.chunks(1000) {
            let mut acks = Vec::new();
            for payload in some {
                let stored = stream.publish(subject.to_owned(), payload.clone().into());
                acks.push(stored.await.unwrap());
            }
            for ack in join_all(acks.into_iter().map(IntoFuture::into_future)).await {
                ack.unwrap();
            }
        }
    }

    /// Calls the JetStream API; null stands for no payload.
    pub(crate) async fn api(&self, call: &str, body: &Value) -> Value {
        let payload = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.ask_json(&format!("$JS.API.{call}"), payload).await
    }

    /// What the server says of a function's durable consumer; null where there is none.
    pub(crate) async fn consumer(&self, stream: &str, function: &str) -> Value {
        let list = self
            .api(&format!("CONSUMER.LIST.{stream}"), &Value::Null)
            .await;
        let mut consumers = list["consumers"].as_array().into_iter().flatten();
        consumers
            .find(|info| info["config"]["metadata"]["natsfn.function"] == function)
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until a consumer has settled everything up to a sequence.
    pub(crate) async fn settled(&self, stream: &str, consumer: &str, floor: u64) {
        until("everything is settled", async || {
            let info = self.consumer(stream, consumer).await;
            (info["ack_floor"]["stream_seq"] == floor && info["num_ack_pending"] == 0).then_some(())
        })
        .await;
    }
}

/// A server whose only user may not publish these: the server drops them, and nothing answers.
pub(crate) fn conf(denied: &str) -> String {
    format!(
        r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
jetstream {{ store_dir: $NATS_CONF_STORE_DIR }}
no_auth_user: a
authorization {{ users: [
  {{ user: a, password: a, permissions: {{ publish: {{ deny: "{denied}" }} }} }}
] }}
"#
    )
}

/// The payload of an answer.
pub(crate) fn json(answer: &Message) -> Value {
    serde_json::from_slice(&answer.payload).unwrap()
}

/// The number in an error reply; none where the answer is a good one.
pub(crate) fn code(answer: &Message) -> Option<u16> {
    let code = answer.headers.as_ref()?.get("Nats-Service-Error-Code")?;
    Some(code.as_str().parse().unwrap())
}

/// What one instance says of its function at `at`, in the order of registration.
pub(crate) fn function(running: &Running, at: usize) -> Value {
    running.stats()["endpoints"][at].clone()
}

/// The state that STATS tells.
pub(crate) fn state(running: &Running, at: usize) -> String {
    function(running, at)["data"]["state"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Ends a test that hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future)
        .await
        .expect("this hangs")
}

/// The next word of a function under test.
pub(crate) async fn next<T>(words: &mut UnboundedReceiver<T>) -> T {
    within(words.recv()).await.unwrap()
}

/// Looks until there is an answer; the interval only spares the processor.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut interval = tokio::time::interval(Duration::from_millis(10));
        loop {
            interval.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(GUARD, looking)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

//! A service called without a broker: extractors, function, transaction and outcome are real.

mod broker;
mod deliver;
mod delivered;
mod functions;

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::outcome::{ErrorReply, reply};
use crate::error::Error;
use crate::error::run_error::RunError;
use crate::function::event::{Message, Request};
use crate::function::handler::{Call, Handler};
use crate::function::reply::Response;
use crate::nats::client::Client;
use crate::service::endpoint::{Endpoint, RequestTrigger};
use crate::service::{Definition, Service};
use broker::Broker;
use delivered::Delivered;
use functions::Functions;

/// A service without a broker. `Caller` is who [`Local::user`] says.
///
/// ```
/// use natsfn::testing::{Outcome, local};
/// use natsfn::{Consumer, Json, Service, Stream};
///
/// async fn double(Json(n): Json<u32>) -> Json<u32> {
///     Json(n * 2)
/// }
///
/// async fn store(Json(_): Json<u32>) {}
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let numbers = Consumer::new("store", Stream::new("NUMBERS", ["numbers"]));
/// let service = Service::new("math", "1.0.0").endpoint("double", double);
/// let math = local(service.consumer(numbers, store));
///
/// let answer: u32 = math.request("double", &21).await.unwrap();
/// assert_eq!(answer, 42);
/// assert_eq!(math.request::<u32>("double", &"x").await.unwrap_err().code, 400);
///
/// let outcomes = math.deliver("store", ["\"no number\""]).await;
/// assert_eq!(outcomes, [Outcome::DeadLetter]);
/// # });
/// ```
///
/// # A function that takes a `Client` or a `Kv`
/// Its connection leads to a small server in the test's own process. A request is answered by the service itself, by
/// what [`Local::answer`] says, or, as on NATS, by nobody: [`Kind::Unavailable`](crate::Kind::Unavailable). The streams
/// and buckets that the service names acknowledge what is appended, know ids and expected sequences, and give single
/// messages back, so `Kv` works but for `keys`, `history` and `watch`. No function is fed by them: that is
/// [`Local::deliver`]. [`Local::sent`] is what was sent.
///
/// ```
/// use natsfn::testing::local;
/// use natsfn::{Client, HeaderMap, Json, Path, Result, Service, Stream};
///
/// async fn order(client: Client, Json(sku): Json<String>) -> Result<Json<u64>> {
///     let cents: u32 = client.request(&format!("shop.price.{sku}"), &()).await?;
///     let order = serde_json::json!({ "sku": sku, "cents": cents }).to_string();
///     let appended = client.append("orders.bob", None, HeaderMap::new(), order.into()).await?;
///     Ok(Json(appended.seq))
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let service = Service::new("shop", "1.0.0")
///     .stream(Stream::new("ORDERS", ["orders.{customer}"]))
///     .endpoint("order", order);
/// let shop = local(service).answer("shop.price.{sku}", async |Path(sku): Path<String>| {
///     Json(if sku == "tea" { 350 } else { 420 })
/// });
///
/// assert_eq!(shop.request("order", &"tea").await, Ok(1));
/// let sent = shop.sent().await;
/// assert_eq!(sent[0].subject(), "shop.price.tea");
/// assert_eq!(sent[1].payload(), r#"{"cents":350,"sku":"tea"}"#);
/// # });
/// ```
pub struct Local {
    functions: Functions,
    user: Option<String>,
    broker: OnceCell<Broker>,
    delivered: Mutex<Delivered>,
}

/// Makes a service callable without a broker.
///
/// # Panics
/// The definition is wrong; the message names every mistake.
pub fn local<S: Clone + Send + Sync + 'static>(service: Service<S>) -> Local {
    match service.build() {
        Ok(definition) => Local {
            functions: Functions {
                definition,
                database: None,
                others: Vec::new(),
                client: Arc::default(),
            },
            user: None,
            broker: OnceCell::new(),
            delivered: Mutex::default(),
        },
        Err(error) => panic!("{error}"),
    }
}

impl Local {
    /// Gives the service the database at `url`, with its migrations applied.
    ///
    /// # Errors
    /// The service has none, or the database refuses.
    pub async fn database(mut self, url: &str) -> Result<Self, RunError> {
        let definition = &self.functions.definition;
        let database = definition.database.as_ref();
        let database = database.ok_or_else(|| RunError::new("this service has no database"))?;
        let Definition {
            tables, pool_sizes, ..
        } = definition;
        database.migrate(url, tables).await?;
        self.functions.database = Some(database.open(url, tables, *pool_sizes)?);
        Ok(self)
    }

    /// Stamps every request with this user, as a server does.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// Answers what the service's functions ask other services: with a function, on a subject template. An error that it
    /// returns is the other service's.
    #[must_use]
    pub fn answer<A, H>(mut self, subject: &str, handler: H) -> Self
    where
        H: Handler<Request, (), A>,
    {
        let endpoint = Endpoint::new(subject, subject);
        let call = Call::new(handler, ());
        let trigger = RequestTrigger { endpoint, call };
        self.functions.others.push(Arc::new(trigger));
        self
    }

    /// What the service's functions have published, appended, asked and written into buckets until now, in order.
    /// [`Message::seq`] is 0 where no stream has stored it.
    pub async fn sent(&self) -> Vec<Message> {
        match self.broker.get() {
            Some(broker) => broker
                .sent()
                .await
                .unwrap_or_else(|error| no_broker(&error)),
            None => Vec::new(),
        }
    }

    /// Asks with JSON, and reads the answer as JSON (an empty one as `null`).
    ///
    /// # Errors
    /// The error reply; 404 also where no function listens on `subject`.
    pub async fn request<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ErrorReply> {
        self.request_with_headers(subject, HeaderMap::new(), body)
            .await
    }

    /// As [`Local::request`], with headers.
    ///
    /// # Errors
    /// As [`Local::request`].
    pub async fn request_with_headers<T: DeserializeOwned>(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ErrorReply> {
        let body = serde_json::to_vec(body).map_err(|error| reply(&error.into()))?;
        let response = self.ask(subject, headers, body.into()).await?;
        let payload: &[u8] = if response.payload.is_empty() {
            b"null"
        } else {
            &response.payload
        };
        serde_json::from_slice(payload).map_err(|error| reply(&error.into()))
    }

    /// Asks with bytes and headers, and returns the answer as it is.
    ///
    /// # Errors
    /// As [`Local::request`].
    pub async fn ask(
        &self,
        subject: &str,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Response, ErrorReply> {
        if let Some(user) = &self.user {
            let stamp = serde_json::json!({ "acc": "LOCAL", "user": user });
            headers.insert("Nats-Request-Info", stamp.to_string());
        }
        self.connect().await;
        let answer = self.functions.answer(subject.to_owned(), headers, payload);
        match answer.await {
            Some(answer) => answer.map_err(|error| reply(&error)),
            None => Err(ErrorReply {
                code: 404,
                message: format!("no function listens on {subject}"),
                details: None,
            }),
        }
    }

    /// Connects the functions to a broker in this process, where one of them uses it.
    async fn connect(&self) {
        if !self.functions.use_a_client() {
            return;
        }
        let start = async || {
            let functions = self.functions.clone();
            let answer = move |subject, headers, payload| {
                let functions = functions.clone();
                let answer = async move { functions.answer(subject, headers, payload).await };
                answer.boxed()
            };
            let streams = self.functions.definition.all_streams().into_iter();
            match Broker::start(streams, Box::new(answer)).await {
                Ok(broker) => broker,
                Err(error) => no_broker(&error),
            }
        };
        let broker = self.broker.get_or_init(start).await;
        let client = || Client::new(broker.nats.clone());
        self.functions.client.get_or_init(client);
    }
}

fn no_broker(error: &Error) -> ! {
    panic!("the broker in this process does not answer: {error}")
}

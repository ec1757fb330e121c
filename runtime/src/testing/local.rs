//! A service called without a broker: extractors, function and outcome are real.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::outcome::{ErrorReply, Outcome, outcome, reply};
use crate::error::run_error::RunError;
use crate::error::{Error, Policy};
use crate::function::context::Context;
use crate::function::database::Database;
use crate::function::event::{Entry, Message, Request, StreamId};
use crate::function::invoke;
use crate::function::reply::Response;
use crate::function::template::overlap;
use crate::run::consumer::attempt::Attempt;
use crate::service::consumer::StreamTrigger;
use crate::service::endpoint::RequestTrigger;
use crate::service::{Definition, Service};
use crate::telemetry::Source;

/// A service without a broker. `Client` cannot be extracted here; `Caller` can, see [`Local::user`].
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
pub struct Local {
    definition: Definition,
    database: Option<Arc<dyn Database>>,
    user: Option<String>,
}

/// Makes a service callable without a broker.
///
/// # Panics
/// The definition is wrong; the message names every mistake.
pub fn local<S: Clone + Send + Sync + 'static>(service: Service<S>) -> Local {
    match service.build() {
        Ok(definition) => Local {
            definition,
            database: None,
            user: None,
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
        let database = self.definition.database.as_ref();
        let database = database.ok_or_else(|| RunError::new("this service has no database"))?;
        let Definition {
            tables, pool_sizes, ..
        } = &self.definition;
        database.migrate(url, tables).await?;
        self.database = Some(database.open(url, tables, *pool_sizes)?);
        Ok(self)
    }

    /// Stamps every request with this user, as a server does.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
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
        let body = serde_json::to_vec(body).map_err(|error| reply(&error.into()))?;
        let response = self.ask(subject, HeaderMap::new(), body.into()).await?;
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
        for trigger in self.definition.triggers::<RequestTrigger>() {
            let service = self.definition.name.as_str().into();
            let runtime = trigger
                .runtime(&service, None, None, self.database.clone())
                .map_err(|problem| reply(&Error::internal(problem)))?;
            if !overlap(runtime.template.subject(), subject) {
                continue;
            }
            let request = Request {
                subject: subject.into(),
                headers,
                payload,
                template: runtime.template.clone(),
                context: Context::default(),
            };
            let span = tracing::Span::none();
            let answer = runtime.answer(request, Instant::now(), &span).await;
            return answer.map_err(|error| reply(&error));
        }
        Err(ErrorReply {
            code: 404,
            message: format!("no function listens on {subject}"),
            details: None,
        })
    }

    /// Delivers messages to a stream function as one batch, in the way of the runtime: those that
    /// cannot be decoded apart, a failing batch halved until the bad one is alone.
    ///
    /// # Panics
    /// There is no such stream function.
    pub async fn deliver<T: Serialize>(
        &self,
        function: &str,
        items: impl IntoIterator<Item = T>,
    ) -> Vec<Outcome> {
        let mut triggers = self.definition.triggers::<StreamTrigger>();
        let found = triggers.find(|trigger| trigger.consumer.name == function);
        let Some(StreamTrigger { consumer, call }) = found else {
            panic!(
                "{} has no stream function {function:?}",
                self.definition.name
            );
        };
        let attempt = Attempt {
            service: self.definition.name.as_str().into(),
            function: consumer.name.clone(),
            call: call.clone(),
            templates: consumer.templates().unwrap_or_default().into(),
            deadline: consumer.deadline,
            inbox: !consumer.natural_key,
            client: None,
            source: Source::default(),
            database: self.database.clone(),
            stats: Arc::default(),
            settler: None,
            failpoints: self.definition.failpoints.clone(),
        };
        let stream = Arc::new(StreamId {
            name: consumer.stream.name().to_owned(),
            created: UNIX_EPOCH,
            ack_floor: 0,
        });
        let subject = consumer
            .subjects()
            .first()
            .map(|s| s.replace(['*', '>'], "x"))
            .unwrap_or_default();
        let mut outcomes = Vec::new();
        let mut entries = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            outcomes.push(Outcome::DeadLetter);
            let mut entry = Entry {
                message: Message {
                    subject: subject.as_str().into(),
                    headers: HeaderMap::new(),
                    payload: serde_json::to_vec(&item).unwrap_or_default().into(),
                    seq: at as u64 + 1,
                    time_ns: at as i64 + 1,
                    unreadable: None,
                },
                stream: stream.clone(),
                delivered: 1,
                decoded: None,
            };
            let decoded = call
                .needs
                .decode
                .map(|decode| invoke::decode(decode, &entry))
                .transpose();
            if let Ok(decoded) = decoded {
                entry.decoded = decoded;
                entries.push(Arc::new(entry));
            }
        }
        let size = if call.needs.decode.is_some() {
            entries.len().max(1)
        } else {
            1
        };
        for part in entries.chunks(size) {
            run(&attempt, part.to_vec(), &mut outcomes).await;
        }
        outcomes
    }
}

fn run<'a>(
    attempt: &'a Attempt,
    entries: Vec<Arc<Entry>>,
    outcomes: &'a mut Vec<Outcome>,
) -> BoxFuture<'a, ()> {
    async move {
        let mut set = |entry: &Entry, outcome| outcomes[entry.seq() as usize - 1] = outcome;
        match attempt.once(&entries).await {
            Ok(mut done) => {
                for entry in &entries {
                    let failure = done.take_failure(entry.seq());
                    set(
                        entry,
                        failure.map_or(Outcome::Acked, |error| outcome(&error)),
                    );
                }
            }
            Err(error)
                if entries.len() > 1
                    && matches!(error.kind().policy(), Policy::DeadLetter | Policy::Attempt) =>
            {
                let (left, right) = entries.split_at(entries.len() / 2);
                run(attempt, left.to_vec(), outcomes).await;
                run(attempt, right.to_vec(), outcomes).await;
            }
            Err(error) => {
                for entry in &entries {
                    set(entry, outcome(&error));
                }
            }
        }
    }
    .boxed()
}

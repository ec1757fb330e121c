//! A service called without a broker: extractors, function, transaction and outcome are real.

mod deliver;

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::outcome::{ErrorReply, reply};
use crate::error::Error;
use crate::error::run_error::RunError;
use crate::function::context::Context;
use crate::function::database::Database;
use crate::function::event::Request;
use crate::function::reply::Response;
use crate::function::template::overlap;
use crate::service::endpoint::RequestTrigger;
use crate::service::{Definition, Service};

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
            let answer = runtime
                .answer(request, Instant::now(), &span, &mut None)
                .await;
            return answer.map_err(|error| reply(&error));
        }
        Err(ErrorReply {
            code: 404,
            message: format!("no function listens on {subject}"),
            details: None,
        })
    }
}

//! A function that answers requests: what it is, and the path of a request through it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::client::Client;
use crate::effect::Database;
use crate::error::{Error, Kind, Result};
use crate::error_reply;
use crate::event::{Reach, Request};
use crate::handler::Call;
use crate::invoke::invoke;
use crate::rate_limit::RateLimit;
use crate::reply::Response;
use crate::service::QueueGroup;
use crate::stats::{InFlight, Stats};
use crate::telemetry::measure::{self, Labels, Means};
use crate::telemetry::{self, Details, Parent, Role, process_span};
use crate::template::Template;
use crate::trace_context::TraceContext;

/// How many requests may wait for their turn: more are refused at once, so that memory is bounded.
const MAX_WAITING: usize = 16_384;

/// A function that answers requests on a subject.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) queue_group: QueueGroup,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) deadline: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) rate_limit: Option<RateLimit>,
}

impl Endpoint {
    /// An endpoint with a name for discovery and a subject template: a token may be `{name}`, which
    /// `Path` extracts, or a wildcard.
    pub fn new(name: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            subject: subject.into(),
            queue_group: QueueGroup::Inherit,
            metadata: BTreeMap::new(),
            deadline: Duration::from_secs(5),
            max_in_flight: 256,
            rate_limit: None,
        }
    }

    /// How long a request may take, waiting for its turn included (5 s by default): then the
    /// caller gets a 504, or a 503 if its turn never came.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many requests run at once in one instance (256 by default).
    #[must_use]
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.max_in_flight = n.max(1);
        self
    }

    /// A queue group of its own, instead of the service's.
    #[must_use]
    pub fn queue_group(mut self, name: impl Into<String>) -> Self {
        self.queue_group = QueueGroup::Named(name.into());
        self
    }

    /// No queue group: every instance answers every request.
    #[must_use]
    pub fn no_queue_group(mut self) -> Self {
        self.queue_group = QueueGroup::Off;
        self
    }

    /// Adds to the endpoint's metadata in discovery.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Limits how often one caller may ask; over it a 429 with `details.retry_after_ms`.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }
}

impl From<&str> for Endpoint {
    /// The name is the subject too.
    fn from(name: &str) -> Self {
        Self::new(name, name)
    }
}

/// An endpoint at work in one instance.
pub(crate) struct EndpointRuntime {
    service: Arc<str>,
    pub(crate) endpoint: Endpoint,
    pub(crate) template: Arc<Template>,
    pub(crate) stats: Arc<Stats>,
    call: Call<Request>,
    /// None without a broker.
    client: Option<Client>,
    /// The queue group that it listens in, for its spans.
    group: Option<String>,
    labels: Labels,
    database: Option<Arc<dyn Database>>,
    turns: Semaphore,
    waiting: AtomicUsize,
}

impl EndpointRuntime {
    pub(crate) fn new(
        service: &Arc<str>,
        endpoint: Endpoint,
        call: Call<Request>,
        client: Option<Client>,
        group: Option<&str>,
        database: Option<Arc<dyn Database>>,
    ) -> Result<Self, String> {
        let stats = Arc::<Stats>::default();
        measure::watch(service, &endpoint.name, Means::Request, &stats);
        let labels = Labels::new([
            ("messaging.system", "nats"),
            ("messaging.operation.name", "process"),
            ("messaging.destination.template", &*endpoint.subject),
            ("natsfn.service", service),
            ("natsfn.function", &*endpoint.name),
        ]);
        Ok(Self {
            service: service.clone(),
            labels,
            template: Arc::new(Template::parse(&endpoint.subject)?),
            turns: Semaphore::new(endpoint.max_in_flight),
            waiting: AtomicUsize::new(0),
            stats,
            group: endpoint.queue_group.or(group).map(str::to_owned),
            endpoint,
            call,
            client,
            database,
        })
    }

    /// The whole path of one request: turn, function, answer. It counts, and never panics.
    pub(crate) async fn handle(&self, message: Message, arrived: Instant) {
        let started = Instant::now();
        let reply = message.reply.clone();
        let headers = message.headers.unwrap_or_default();
        let above = TraceContext::of(&headers);
        let fresh = if above.is_some() {
            None
        } else {
            telemetry::fresh()
        };
        let trace = fresh.as_ref().unwrap_or(&above);
        let trace_id = trace.trace_id();
        let quiet = trace_id.is_some_and(telemetry::is_quiet);
        let span = process_span!(
            quiet,
            service = &*self.service,
            function = %self.endpoint.name,
            subject = %message.subject,
            trace_id,
        );
        if !quiet {
            let parent = match &fresh {
                Some(_) => Parent::Root(trace_id),
                None => Parent::Remote(&above),
            };
            telemetry::open(&span, Role::Server, parent, &[], || {
                self.details(&message.subject)
            });
        }
        let request = Request {
            subject: message.subject,
            headers,
            payload: message.payload,
            template: self.template.clone(),
            reach: Reach::default(),
        };
        let answer = pin!(self.answer(request, arrived, &span));
        let answer = telemetry::quietly(quiet.then_some(trace), answer).await;
        self.stats.processed(started.elapsed());
        let error = answer.as_ref().err().map(Error::kind);
        measure::processed(&self.labels, started.elapsed(), error);
        measure::outcome(&self.labels, error.map_or("done", Kind::name));
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                self.stats.failed(&error);
                telemetry::mark_failed(&span, &error);
                span.in_scope(|| log(&error));
                error_reply::write(&error, trace_id)
            }
        };
        if let (Some(client), Some(reply)) = (&self.client, reply) {
            self.send(client.nats(), reply, response, trace_id, &span)
                .await;
        }
    }

    /// What the span of a request says.
    fn details(&self, subject: &str) -> Details {
        let broker = self.client.as_ref().map(Client::broker);
        let mut attributes =
            broker.map_or_else(Vec::new, |broker| broker.attributes("process", "process"));
        let template = self.template.text();
        attributes.extend([
            ("messaging.destination.name", subject.to_owned().into()),
            ("messaging.destination.template", template.to_owned().into()),
        ]);
        if let Some(group) = &self.group {
            attributes.push(("messaging.consumer.group.name", group.clone().into()));
        }
        Details {
            name: format!("process {template}"),
            attributes,
        }
    }

    /// Runs a request; without a broker this is all there is.
    pub(crate) async fn answer(
        &self,
        mut request: Request,
        arrived: Instant,
        span: &tracing::Span,
    ) -> Result<Response> {
        let deadline = arrived + self.endpoint.deadline;
        if let Some(limit) = &self.endpoint.rate_limit {
            limit.check(&request)?;
        }
        let _turn = self.turn(deadline).await?;
        let _in_flight = InFlight::new(&self.stats.in_flight);
        let left = deadline.saturating_duration_since(Instant::now());
        request.reach.client = self.client.clone();
        request.reach.database = self.database.as_ref().map(|database| database.handle());
        if !(self.call.needs.transaction || self.call.needs.database) {
            return invoke(&self.call, &mut request, left, span.clone()).await;
        }
        let database = self
            .database
            .as_ref()
            .ok_or_else(|| Error::internal("no database"))?;
        let run = self.with_database(&**database, request, deadline, span);
        // Beginning and committing wait for the database too; the caller's deadline holds for all.
        tokio::time::timeout_at(deadline, run)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    Kind::Timeout,
                    "the database did not answer in time",
                ))
            })
    }

    async fn with_database(
        &self,
        database: &dyn Database,
        mut request: Request,
        deadline: Instant,
        span: &tracing::Span,
    ) -> Result<Response> {
        database.check().await?;
        let left = |now: Instant| deadline.saturating_duration_since(now);
        if !self.call.needs.transaction {
            return invoke(&self.call, &mut request, left(Instant::now()), span.clone()).await;
        }
        let transaction = database.begin(None).await?;
        request.reach.transaction = Some(transaction.handle());
        let answer = invoke(&self.call, &mut request, left(Instant::now()), span.clone()).await;
        // The event's own handle on the transaction has to go before it can be committed.
        drop(request);
        match answer {
            Ok(response) => transaction.commit(&[]).await.map(|()| response),
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    /// Waits for a turn, but not longer than the request's deadline.
    async fn turn(&self, deadline: Instant) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let busy = || {
            Stats::add(&self.stats.shed, 1);
            Error::unavailable(format!(
                "{} requests are in flight already",
                self.endpoint.max_in_flight
            ))
        };
        if deadline <= Instant::now() {
            return Err(busy());
        }
        if let Ok(permit) = self.turns.try_acquire() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Relaxed);
            return Err(busy());
        }
        let turn = tokio::time::timeout_at(deadline, self.turns.acquire()).await;
        self.waiting.fetch_sub(1, Relaxed);
        match turn {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy()),
        }
    }

    /// Sends the answer. A subject that begins with `$` is the server's own API: an answer there
    /// would be a command in our name.
    async fn send(
        &self,
        nats: &async_nats::Client,
        reply: async_nats::Subject,
        response: Response,
        trace_id: Option<&str>,
        span: &tracing::Span,
    ) {
        if reply.starts_with('$') {
            span.in_scope(
                || tracing::warn!(%reply, "not answered: the reply subject belongs to the server"),
            );
            return;
        }
        let size = response.payload.len() + header_size(&response.headers);
        let limit = nats.max_payload();
        let response = if size > limit {
            let error = Error::internal(format!(
                "the answer has {size} bytes, the server's max_payload is {limit}"
            ));
            self.stats.failed(&error);
            telemetry::mark_failed(span, &error);
            span.in_scope(|| log(&error));
            error_reply::write(&error, trace_id)
        } else {
            response
        };
        let sent = if response.headers.is_empty() {
            nats.publish(reply, response.payload).await
        } else {
            nats.publish_with_headers(reply, response.headers, response.payload)
                .await
        };
        if let Err(error) = sent {
            span.in_scope(|| tracing::warn!(%error, "an answer was not sent"));
        }
    }
}

/// An upper bound of what headers take on the wire.
fn header_size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, values)| {
            let name: &str = name.as_ref();
            values
                .iter()
                .map(|value| name.len() + value.as_str().len() + 4)
                .sum::<usize>()
        })
        .sum::<usize>()
        + 16
}

/// The caller's mistakes are the caller's business; ours are worth a look.
fn log(error: &Error) {
    let code = error.kind().code();
    match error.kind() {
        Kind::Internal | Kind::Halt => tracing::error!(code, %error, "failed"),
        Kind::Unavailable | Kind::Timeout => tracing::warn!(code, %error, "failed"),
        _ => tracing::debug!(code, %error, "refused"),
    }
}

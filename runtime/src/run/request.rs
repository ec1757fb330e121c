//! The path of a request: turn, function, answer.

mod database;
mod envelope;
mod outage;
mod send;
#[cfg(test)]
mod tests;
mod trigger;
mod turns;

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use async_nats::Message;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use crate::error::{Error, Kind, Result};
use crate::function::context::Context;
use crate::function::database::Database;
use crate::function::event::Request;
use crate::function::handler::Call;
use crate::function::invoke::{self, invoke};
use crate::function::reply::Response;
use crate::function::template::Template;
use crate::nats::client::Client;
use crate::service::endpoint::Endpoint;
use crate::service::rate_limit::RateLimit;
use crate::telemetry::measure::{self, Labels};
use crate::telemetry::stats::{Counters, InFlight, Stats};
use crate::telemetry::trace_context::TraceContext;
use crate::telemetry::{self, Details, Parent, Role, process_span};
use outage::Outage;
use turns::Turns;

/// An endpoint at work in one instance.
pub(crate) struct EndpointRuntime {
    service: Arc<str>,
    endpoint: Endpoint,
    pub(crate) template: Arc<Template>,
    stats: Arc<Stats>,
    call: Call<Request>,
    /// None without a broker.
    client: Option<Client>,
    /// The queue group that it listens in, for its spans.
    group: Option<String>,
    labels: Labels,
    database: Option<Arc<dyn Database>>,
    /// The context of every request.
    context: Context,
    /// The span of requests that say the same.
    shared: OnceLock<Span>,
    turns: Turns,
    outage: Outage,
}

impl EndpointRuntime {
    fn new(
        service: &Arc<str>,
        endpoint: Endpoint,
        call: Call<Request>,
        client: Option<Client>,
        group: Option<&str>,
        database: Option<Arc<dyn Database>>,
    ) -> Result<Self, String> {
        let stats = Arc::<Stats>::default();
        measure::watch(service, &endpoint.name, Some(Counters::Request), &stats);
        let labels = Labels::new([
            ("messaging.system", "nats"),
            ("messaging.operation.name", "process"),
            ("messaging.destination.template", &*endpoint.subject),
            ("natsfn.service", service),
            ("natsfn.function", &*endpoint.name),
        ]);
        let mut context = Context::default();
        if let Some(client) = &client {
            context = context.with(Arc::new(client.clone()));
        }
        if let Some(database) = &database {
            context = context.with(database.handle());
        }
        Ok(Self {
            service: service.clone(),
            context,
            labels,
            template: Arc::new(Template::parse(&endpoint.subject)?),
            turns: Turns::new(endpoint.max_in_flight),
            shared: OnceLock::new(),
            outage: Outage::default(),
            stats,
            group: endpoint.queue_group.or(group).map(str::to_owned),
            endpoint,
            call,
            client,
            database,
        })
    }

    /// The whole path of one request: turn, function, answer. It counts, and never panics.
    async fn handle(&self, message: Message, arrived: Instant) {
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
        let shared = self.shared_span(&message.subject, trace_id);
        let own;
        let span = match shared {
            Some(span) => span,
            None => {
                own = self.span(quiet, &message.subject, trace_id);
                &own
            }
        };
        if !quiet && shared.is_none() {
            let parent = match &fresh {
                Some(_) => Parent::Root(trace_id),
                None => Parent::Remote(&above),
            };
            telemetry::open(span, Role::Server, parent, &[], || {
                self.details(&message.subject)
            });
        }
        let request = Request {
            subject: message.subject,
            headers,
            payload: message.payload,
            template: self.template.clone(),
            context: Context::default(),
        };
        let mut turn = None;
        let (envelope, answer) = {
            let answer = pin!(self.sealed(request, arrived, span, &mut turn));
            telemetry::quietly(quiet.then_some(trace), answer).await
        };
        let took = arrived.elapsed();
        self.stats.processed(took);
        let error = answer.as_ref().err().map(Error::kind);
        measure::processed(&self.labels, took, error);
        measure::outcome(&self.labels, error.map_or("done", Kind::name));
        if let Some(envelope) = &envelope {
            envelope.tell(span, answer.as_ref().err());
        }
        let response = match answer {
            Ok(response) => {
                if let Some(failures) = self.outage.ends() {
                    span.in_scope(|| tracing::info!(failures, "works again"));
                }
                Some(response)
            }
            Err(error) => {
                self.stats.failed(&error);
                telemetry::mark_failed(span, &error);
                span.in_scope(|| self.log(&error));
                match envelope {
                    Some(envelope) => envelope.refuse(&error),
                    None => Some(Response::error(&error, trace_id)),
                }
            }
        };
        if let (Some(client), Some(reply), Some(response)) = (&self.client, reply, response) {
            let Some(_permit) = turn.or_else(|| span.in_scope(|| self.turns.refusal())) else {
                return;
            };
            self.send(client.nats(), reply, response, trace_id, span)
                .await;
        }
    }

    fn span(&self, quiet: bool, subject: &str, trace_id: Option<&str>) -> Span {
        process_span!(
            quiet,
            service = &*self.service,
            function = %self.endpoint.name,
            subject = %subject,
            trace_id,
        )
    }

    /// The span of all requests that say the same in it, where only the log's lines show it: making one costs as
    /// much as a small function does.
    fn shared_span(&self, subject: &str, trace_id: Option<&str>) -> Option<&Span> {
        let is_same = trace_id.is_none() && subject == self.template.subject();
        let is_same = is_same && self.endpoint.codec.is_none();
        (is_same && telemetry::is_alone())
            .then(|| self.shared.get_or_init(|| self.span(false, subject, None)))
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

    /// Runs a request; without a broker this is all there is. `turn` is its turn, and kept by the
    /// caller until the answer is sent.
    pub(crate) async fn answer<'a>(
        &'a self,
        mut request: Request,
        arrived: Instant,
        span: &Span,
        turn: &mut Option<SemaphorePermit<'a>>,
    ) -> Result<Response> {
        let deadline = invoke::end(arrived, self.endpoint.deadline);
        let limit = self.endpoint.rate_limit.as_ref();
        let admit = |limit: &RateLimit| invoke::guard(|| limit.admit(&request));
        let _admitted = limit.map(admit).transpose()?;
        let Some((taken, now)) = self.turns.take(deadline).await else {
            Stats::add(&self.stats.shed, 1);
            return Err(Error::unavailable(format!(
                "{} requests are in flight already",
                self.endpoint.max_in_flight
            )));
        };
        *turn = Some(taken);
        let _in_flight = InFlight::new(&self.stats.in_flight);
        request.context.extend(&self.context);
        if !(self.call.needs.transaction || self.call.needs.database) {
            let left = deadline.saturating_duration_since(now);
            return invoke(&self.call, request, now, left, span.clone()).await;
        }
        let database = self
            .database
            .as_ref()
            .ok_or_else(|| Error::internal("no database"))?;
        // Apart, so that requests without a database do not carry what it needs.
        let work = self.with_database(&**database, request, deadline, span);
        match Box::pin(work).await {
            Err(error) => {
                let fault = timeout_at(deadline, database.fault(&error)).await;
                Err(fault.ok().flatten().unwrap_or(error))
            }
            answer => answer,
        }
    }

    /// The caller's mistakes are the caller's business; ours are worth a look. What is away or slow is
    /// told once while it lasts.
    fn log(&self, error: &Error) {
        let code = error.kind().code();
        match error.kind() {
            Kind::Internal | Kind::Halt => tracing::error!(code, %error, "failed"),
            Kind::Unavailable | Kind::Timeout if self.outage.fails() => {
                tracing::warn!(code, %error, "failed; more of this is only counted");
            }
            Kind::Unavailable | Kind::Timeout => tracing::debug!(code, %error, "failed"),
            _ => tracing::debug!(code, %error, "refused"),
        }
    }
}

//! Requests as a trigger: an endpoint, registered and at work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::EndpointRuntime;
use crate::function::database::Database;
use crate::function::extract::Needs;
use crate::function::handler::layer::Layers;
use crate::function::template::Template;
use crate::nats::client::Client;
use crate::nats::client::access::Access;
use crate::service::endpoint::{Endpoint, RequestTrigger};
use crate::service::rate_limit::RateLimit;
use crate::service::trigger::{Process, RunningFunction, Subscription, Trigger};
use crate::service::validate::{path, queue_group};
use crate::telemetry::stats::Stats;

impl RequestTrigger {
    /// The endpoint at work; without a client it answers no subscription.
    pub(crate) fn runtime(
        &self,
        service: &Arc<str>,
        client: Option<Client>,
        group: Option<&str>,
        database: Option<Arc<dyn Database>>,
    ) -> Result<EndpointRuntime, String> {
        let (endpoint, call) = (self.endpoint.clone(), self.call.clone());
        EndpointRuntime::new(service, endpoint, call, client, group, database)
    }
}

impl Trigger for RequestTrigger {
    fn name(&self) -> &str {
        &self.endpoint.name
    }

    fn kind(&self) -> &'static str {
        "an endpoint"
    }

    fn needs(&self) -> Needs {
        self.call.needs.clone()
    }

    fn subject(&self) -> Option<&str> {
        Some(&self.endpoint.subject)
    }

    fn uses(&self) -> &[Access] {
        &self.endpoint.uses
    }

    fn surround(&mut self, layers: &Layers) {
        let (outer, inner) = (&layers.requests, &self.endpoint.layers);
        self.call.surround(outer.iter().chain(inner).cloned());
    }

    fn wants_caller(&self) -> bool {
        let limit = self.endpoint.rate_limit.as_ref();
        self.call.needs.caller || limit.is_some_and(|limit| limit.is_by_caller)
    }

    fn queue_group<'a>(&'a self, service: Option<&'a str>) -> Option<&'a str> {
        self.endpoint.queue_group.or(service)
    }

    fn answers(&self) -> &'static str {
        let codec = self.endpoint.codec.as_ref();
        codec.map_or("_R_.>", |codec| codec.answers())
    }

    fn check(&self, problems: &mut Vec<String>) {
        let Endpoint { name, subject, .. } = &self.endpoint;
        queue_group(name, &self.endpoint.queue_group, problems);
        match Template::parse(subject) {
            Err(problem) => problems.push(format!("function {name:?}: {problem}")),
            Ok(template) => path(name, &template, &self.call.needs, problems),
        }
        if self.endpoint.max_in_flight == 0 {
            problems.push(format!(
                "function {name:?}: max_in_flight must be at least 1"
            ));
        }
        if self.endpoint.deadline.is_zero() {
            problems.push(format!("function {name:?}: deadline must be longer than 0"));
        }
        let limit = self.endpoint.rate_limit.as_ref();
        if let Some(problem) = limit.and_then(RateLimit::problem) {
            problems.push(format!("function {name:?}: {problem}"));
        }
        if self.endpoint.codec.is_some() && self.endpoint.rate_limit.is_some() {
            problems.push(format!(
                "function {name:?}: rate_limit counts by the caller, and a login has none yet; count by what the function is told of the client"
            ));
        }
    }

    fn start(&self, process: &mut Process<'_>) -> Result<Arc<dyn RunningFunction>, String> {
        let runtime = self.runtime(
            &process.service,
            Some(process.client.clone()),
            process.queue_group,
            process.database.clone(),
        )?;
        let subject = runtime.template.subject().to_owned();
        runtime.stats.listens_on(&process.unheard, subject);
        Ok(Arc::new(runtime))
    }
}

impl RunningFunction for EndpointRuntime {
    fn name(&self) -> &str {
        &self.endpoint.name
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        self.endpoint.metadata.clone()
    }

    fn data(&self) -> Value {
        json!({ "shed": self.stats.shed.load(Relaxed) })
    }

    fn subscription(self: Arc<Self>) -> Option<Subscription> {
        let subject = self.template.subject().to_owned();
        let group = self.group.clone();
        Some(Subscription::new(
            subject,
            group,
            move |message, arrived| {
                let runtime = self.clone();
                Stats::add(&runtime.stats.requests, 1);
                async move { runtime.handle(message, arrived).await }
            },
        ))
    }
}

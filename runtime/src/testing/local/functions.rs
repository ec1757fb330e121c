//! The functions of a service without a broker, and those that a test answers with.

use std::sync::{Arc, OnceLock};

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::function::context::Context;
use crate::function::database::Database;
use crate::function::event::Request;
use crate::function::reply::Response;
use crate::function::template::overlap;
use crate::nats::client::Client;
use crate::service::Definition;
use crate::service::endpoint::RequestTrigger;

/// Cloning is cheap.
#[derive(Clone)]
pub(super) struct Functions {
    pub(super) definition: Definition,
    pub(super) database: Option<Arc<dyn Database>>,
    /// What the test answers in the place of other services.
    pub(super) others: Vec<Arc<RequestTrigger>>,
    /// Set once the broker is there.
    pub(super) client: Arc<OnceLock<Client>>,
}

impl Functions {
    /// Whether one of them uses its connection.
    pub(super) fn use_a_client(&self) -> bool {
        let mut functions = self.definition.functions.iter();
        functions.any(|function| {
            let needs = function.needs();
            needs.client || !needs.buckets.is_empty()
        })
    }

    /// The answer of the first function that listens on this subject.
    pub(super) async fn answer(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Option<Result<Response>> {
        let others = self.others.iter().map(Arc::as_ref);
        let service = self.definition.name.as_str().into();
        for trigger in self.definition.triggers::<RequestTrigger>().chain(others) {
            let client = self.client.get().cloned();
            let runtime = match trigger.runtime(&service, client, None, self.database.clone()) {
                Ok(runtime) => runtime,
                Err(problem) => return Some(Err(Error::internal(problem))),
            };
            if !overlap(runtime.template.subject(), &subject) {
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
            return Some(answer);
        }
        None
    }
}

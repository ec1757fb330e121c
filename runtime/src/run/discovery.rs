//! Discovery by ADR-32: the verbs PING, INFO and STATS under `$SRV`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use async_nats::Message;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::error::reply::one_line;
use crate::nats::jetstream::{Nats, format_time};
use crate::service::trigger::{RunningFunction, Subscription, state_subject};

/// How long an answer waits for new counts.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(250);

const VERBS: [&str; 3] = ["PING", "INFO", "STATS"];

/// What discovery says of one instance of a service.
pub(crate) struct Discovery {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) started: SystemTime,
    /// In the order of registration. Two may share a name: each counts for itself.
    pub(crate) endpoints: Vec<Arc<Discovered>>,
}

/// What discovery says of one function.
pub(crate) struct Discovered {
    pub(crate) function: Arc<dyn RunningFunction>,
    subject: String,
    /// None is a plain subscription.
    pub(crate) queue_group: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Discovery {
    /// The nine subjects, to be subscribed without a queue group: each instance answers.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = (&'static str, String)> {
        VERBS.into_iter().flat_map(move |verb| {
            let (name, id) = (&self.name, &self.id);
            [
                (verb, format!("$SRV.{verb}")),
                (verb, format!("$SRV.{verb}.{name}")),
                (verb, format!("$SRV.{verb}.{name}.{id}")),
            ]
        })
    }

    /// Answers one question. It runs apart from every function, so no handler keeps it waiting.
    pub(crate) async fn answer(self: Arc<Self>, nats: Nats, verb: &'static str, message: Message) {
        let answer = match verb {
            "PING" => self.ping(),
            "INFO" => self.info(nats.max_payload()),
            _ => {
                refresh(&self.endpoints).await;
                self.stats(nats.max_payload())
            }
        };
        reply(&nats, &message, &answer).await;
    }

    fn base(&self, kind: &str) -> Value {
        json!({
            "type": format!("io.nats.micro.v1.{kind}_response"),
            "name": self.name,
            "id": self.id,
            "version": self.version,
            "metadata": self.metadata,
        })
    }

    fn ping(&self) -> Value {
        self.base("ping")
    }

    /// INFO within the server's `max_payload`: what is too long is left out, the answer comes.
    pub(crate) fn info(&self, limit: usize) -> Value {
        let endpoints = |metadata: bool| -> Vec<Value> {
            self.endpoints
                .iter()
                .map(|endpoint| {
                    let metadata = if metadata {
                        json!(endpoint.metadata)
                    } else {
                        json!({})
                    };
                    json!({
                        "name": endpoint.function.name(),
                        "subject": endpoint.subject,
                        "queue_group": endpoint.queue_group.as_deref().unwrap_or_default(),
                        "metadata": metadata,
                    })
                })
                .collect()
        };
        let mut info = self.base("info");
        info["description"] = json!(self.description);
        info["endpoints"] = json!(endpoints(true));
        if size(&info) > limit {
            info["endpoints"] = json!(endpoints(false));
        }
        self.truncate(info, limit)
    }

    /// STATS within the server's `max_payload`.
    pub(crate) fn stats(&self, limit: usize) -> Value {
        let endpoints: Vec<Value> = self
            .endpoints
            .iter()
            .map(|endpoint| endpoint.stats())
            .collect();
        let mut stats = self.base("stats");
        stats["started"] = json!(format_time(self.started));
        stats["endpoints"] = json!(endpoints);
        self.truncate(stats, limit)
    }

    /// Leaves out metadata and description first, then endpoints from the end.
    fn truncate(&self, mut answer: Value, limit: usize) -> Value {
        if size(&answer) > limit {
            answer["metadata"] = json!({});
            if answer.get("description").is_some() {
                answer["description"] = json!("");
            }
        }
        // Measured once: writing the whole again for every endpoint takes seconds for thousands.
        let mut excess = size(&answer).saturating_sub(limit);
        if let Some(endpoints) = answer["endpoints"].as_array_mut() {
            while excess > 0
                && let Some(last) = endpoints.pop()
            {
                // The comma before it goes too.
                excess = excess.saturating_sub(size(&last) + 1);
            }
        }
        answer
    }
}

impl Discovered {
    /// The entry of a function, and the subscription on which it answers requests, or else its state.
    pub(crate) fn new(
        function: Arc<dyn RunningFunction>,
        service: &str,
        group: Option<&str>,
        nats: &Nats,
    ) -> (Arc<Self>, Subscription) {
        let requests = function.clone().subscription();
        let (subject, queue_group) = match &requests {
            Some(requests) => (requests.subject.clone(), requests.group.clone()),
            None => (
                state_subject(service, function.name()),
                group.map(str::to_owned),
            ),
        };
        let discovered = Arc::new(Self {
            metadata: function.metadata(),
            function,
            subject,
            queue_group,
        });
        let subscription = requests.unwrap_or_else(|| discovered.clone().state(nats.clone()));
        (discovered, subscription)
    }

    fn state(self: Arc<Self>, nats: Nats) -> Subscription {
        let (subject, group) = (self.subject.clone(), self.queue_group.clone());
        Subscription::new(subject, group, move |message, _| {
            let (nats, function) = (nats.clone(), self.clone());
            async move {
                refresh(std::slice::from_ref(&function)).await;
                reply(&nats, &message, &function.data()).await;
            }
        })
    }

    fn stats(&self) -> Value {
        let stats = self.function.stats();
        let requests = stats.requests.load(Relaxed);
        let time = stats.processing_ns.load(Relaxed);
        json!({
            "name": self.function.name(),
            "subject": self.subject,
            "queue_group": self.queue_group.as_deref().unwrap_or_default(),
            "num_requests": requests,
            "num_errors": stats.errors.load(Relaxed),
            "last_error": stats.last_error(),
            "processing_time": time,
            "average_processing_time": time.checked_div(requests).unwrap_or(0),
            "data": self.data(),
        })
    }

    /// The field `data` of STATS: what ADR-32 has no field for.
    fn data(&self) -> Value {
        let stats = self.function.stats();
        let state = stats.state();
        let mut data = self.function.data();
        data["in_flight"] = json!(stats.in_flight.load(Relaxed));
        data["state"] = json!(state.name());
        if let Some(reason) = state.reason() {
            data["reason"] = json!(one_line(reason));
        }
        if let Some(data) = data.as_object_mut() {
            for (key, value) in stats.shown() {
                data.entry(key).or_insert(value);
            }
        }
        data
    }
}

/// Brings counts up to date; discovery answers also where JetStream does not.
async fn refresh(functions: &[Arc<Discovered>]) {
    let all = functions.iter().map(|one| one.function.refresh());
    let _ = timeout(REFRESH_TIMEOUT, join_all(all)).await;
}

fn size(answer: &Value) -> usize {
    answer.to_string().len()
}

async fn reply(nats: &Nats, message: &Message, answer: &Value) {
    let Some(reply) = &message.reply else { return };
    if reply.starts_with('$') {
        return;
    }
    // A publish that fails ends nothing: the next question is answered.
    if let Err(error) = nats.publish(reply.clone(), answer.to_string().into()).await {
        tracing::warn!(%error, "a discovery answer was not sent");
    }
}

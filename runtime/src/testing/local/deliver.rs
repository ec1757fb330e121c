//! Messages for a stream function without a broker.
//!
//! A call is production's own, [`Attempt::once`]. What production has around it needs a broker:
//! redelivery, evidence of earlier tries, waiting for a dependency. Only the halving is written twice.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::Local;
use crate::error::Policy;
use crate::function::event::{Entry, Message, StreamId};
use crate::function::invoke;
use crate::run::consumer::attempt::Attempt;
use crate::service::consumer::StreamTrigger;
use crate::telemetry::Source;
use crate::testing::outcome::{Outcome, outcome};

impl Local {
    /// Delivers messages to a stream function as one batch, in the way of the runtime: those that
    /// cannot be decoded apart, a failing batch halved until the bad one is alone. Each call counts its
    /// messages from 1: to an inbox, a second call is a redelivery.
    ///
    /// # Panics
    /// There is no such stream function.
    pub async fn deliver<T: Serialize>(
        &self,
        function: &str,
        items: impl IntoIterator<Item = T>,
    ) -> Vec<Outcome> {
        let consumer = &self.stream_function(function).consumer;
        let subject = match consumer.subjects().first() {
            Some(subject) => subject.replace(['*', '>'], "x"),
            None => String::new(),
        };
        let payload = |item| serde_json::to_vec(&item).unwrap_or_default().into();
        let messages = items
            .into_iter()
            .map(|item| (subject.as_str().into(), HeaderMap::new(), payload(item)));
        self.deliver_all(function, messages.collect()).await
    }

    /// Delivers one message with a subject, headers and bytes of its own.
    ///
    /// ```
    /// use natsfn::testing::{Outcome, local};
    /// use natsfn::{Bytes, Consumer, Error, HeaderMap, Headers, Path, Result, Service, Stream};
    ///
    /// async fn ship(Path(country): Path<String>, Headers(headers): Headers) -> Result<()> {
    ///     let carrier = headers.get("Carrier");
    ///     let carrier = carrier.ok_or_else(|| Error::bad_request("the header Carrier is missing"))?;
    ///     println!("to {country} with {carrier}");
    ///     Ok(())
    /// }
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let orders = Consumer::new("ship", Stream::new("ORDERS", ["orders.{country}"]));
    /// let shop = local(Service::new("shop", "1.0.0").consumer(orders, ship));
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("Carrier", "DHL");
    /// let shipped = shop.deliver_one("ship", "orders.it", headers, Bytes::new()).await;
    /// assert_eq!(shipped, Outcome::Acked);
    /// let refused = shop.deliver_one("ship", "orders.it", HeaderMap::new(), Bytes::new()).await;
    /// assert_eq!(refused, Outcome::DeadLetter);
    /// # });
    /// ```
    ///
    /// # Panics
    /// As [`Local::deliver`].
    pub async fn deliver_one(
        &self,
        function: &str,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Outcome {
        let message = (subject.into(), headers, payload);
        self.deliver_all(function, vec![message]).await[0]
    }

    fn stream_function(&self, name: &str) -> &StreamTrigger {
        let mut triggers = self.functions.definition.triggers::<StreamTrigger>();
        match triggers.find(|trigger| trigger.consumer.name == name) {
            Some(found) => found,
            None => panic!(
                "{} has no stream function {name:?}",
                self.functions.definition.name
            ),
        }
    }

    async fn deliver_all(
        &self,
        function: &str,
        messages: Vec<(Subject, HeaderMap, Bytes)>,
    ) -> Vec<Outcome> {
        self.connect().await;
        let StreamTrigger { consumer, call } = self.stream_function(function);
        let attempt = Attempt {
            service: self.functions.definition.name.as_str().into(),
            function: consumer.name.clone(),
            call: call.clone(),
            templates: consumer.templates().unwrap_or_default().into(),
            deadline: consumer.deadline,
            inbox: !consumer.natural_key,
            client: self.functions.client.get().cloned(),
            source: Source::default(),
            database: self.functions.database.clone(),
            stats: Arc::default(),
            failpoints: self.functions.definition.failpoints.clone(),
        };
        let stream = Arc::new(StreamId {
            name: consumer.stream.name().to_owned(),
            created: UNIX_EPOCH,
            ack_floor: 0,
        });
        let mut outcomes = vec![Outcome::DeadLetter; messages.len()];
        let mut entries = Vec::new();
        for (at, (subject, headers, payload)) in messages.into_iter().enumerate() {
            let mut entry = Entry {
                message: Message {
                    subject,
                    headers,
                    payload,
                    seq: at as u64 + 1,
                    time_ns: at as i64 + 1,
                    unreadable: None,
                },
                stream: stream.clone(),
                delivered: 1,
                decoded: None,
            };
            let decode = call.needs.decode;
            let decoded = decode.map(|decode| invoke::decode(decode, &entry));
            if let Ok(decoded) = decoded.transpose() {
                entry.decoded = decoded;
                entries.push(Arc::new(entry));
            }
        }
        let size = match call.needs.decode {
            Some(_) => entries.len().max(1),
            None => 1,
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
                    && matches!(error.policy(), Policy::DeadLetter | Policy::Attempt) =>
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

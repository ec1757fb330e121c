//! Messages for a stream function without a broker.
//!
//! A call is production's own, [`Attempt::once`]. What production has around it needs a broker:
//! redelivery, evidence of earlier tries, waiting for a dependency. Only the halving is written twice.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Local;
use super::delivered::Delivery;
use crate::error::Policy;
use crate::function::event::Entry;
use crate::function::invoke;
use crate::function::template::covers;
use crate::run::consumer::attempt::Attempt;
use crate::service::consumer::StreamTrigger;
use crate::telemetry::Source;
use crate::testing::message::TestMessage;
use crate::testing::outcome::{Outcome, outcome};

impl Local {
    /// Delivers messages to a stream function as one batch, in the way of the runtime: those that
    /// cannot be decoded apart, a failing batch halved until the bad one is alone. An item is a value, which is sent as
    /// JSON, or a [`TestMessage`].
    ///
    /// Each is a new message of the stream, also in a second call: its sequence follows the last one, and its time is
    /// now. [`Local::redeliver`] delivers the same ones again.
    ///
    /// # Panics
    /// There is no such stream function, none of its subjects is the message's, or an item is no JSON.
    pub async fn deliver<M: Into<TestMessage>>(
        &self,
        function: &str,
        items: impl IntoIterator<Item = M>,
    ) -> Vec<Outcome> {
        let messages = items.into_iter().map(Into::into).collect();
        let delivery = self.new_messages(function, messages);
        self.run_all(function, delivery).await
    }

    /// Delivers what the function was delivered last once more, as after a crash before the acknowledgement: the same
    /// messages with the same sequences and times. A function that takes `Tx` is not called for those that it has
    /// handled.
    ///
    /// ```
    /// use natsfn::testing::{Outcome, local};
    /// use natsfn::{Consumer, Json, Service, Stream};
    ///
    /// async fn ship(Json(_): Json<u32>) {}
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let orders = Consumer::new("ship", Stream::new("ORDERS", ["orders"]));
    /// let shop = local(Service::new("shop", "1.0.0").consumer(orders, ship));
    /// assert_eq!(shop.deliver("ship", [7, 8]).await, [Outcome::Acked, Outcome::Acked]);
    /// assert_eq!(shop.redeliver("ship").await, [Outcome::Acked, Outcome::Acked]);
    /// # });
    /// ```
    ///
    /// # Panics
    /// There is no such stream function, or it was delivered nothing yet.
    pub async fn redeliver(&self, function: &str) -> Vec<Outcome> {
        self.stream_function(function);
        let again = self.delivered.lock().again(function);
        match again {
            Some(delivery) => self.run_all(function, delivery).await,
            None => panic!("{function:?} was delivered nothing yet"),
        }
    }

    /// Delivers one message with a subject, headers and bytes of its own, as [`Local::deliver`] does with a
    /// [`TestMessage`].
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
        let mut message = TestMessage::new(payload).subject(subject);
        message.headers = headers;
        self.deliver(function, [message]).await[0]
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

    /// The messages as the function's stream stores them. What the runtime would never deliver to it is no test of it.
    fn new_messages(&self, function: &str, messages: Vec<TestMessage>) -> Delivery {
        let consumer = &self.stream_function(function).consumer;
        let subjects = consumer.subjects();
        let given = messages.iter().filter_map(|it| it.subject.as_deref());
        for subject in given {
            assert!(
                subjects.is_empty() || subjects.iter().any(|wide| covers(wide, subject)),
                "{function} is never delivered a message on {subject:?}: its subjects are {}",
                subjects.join(", ")
            );
        }
        let subject = match subjects.first() {
            Some(subject) => subject.replace(['*', '>'], "x"),
            None => String::new(),
        };
        let mut delivered = self.delivered.lock();
        delivered.new_messages(function, consumer.stream.name(), &subject, messages)
    }

    async fn run_all(&self, function: &str, delivery: Delivery) -> Vec<Outcome> {
        let Delivery {
            stream,
            messages,
            times,
        } = delivery;
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
        let first = messages.first().map_or(0, |message| message.seq);
        let mut outcomes = vec![Outcome::DeadLetter; messages.len()];
        let mut entries = Vec::new();
        for message in messages {
            let mut entry = Entry {
                message,
                stream: stream.clone(),
                delivered: times,
                decoded: None,
            };
            let decode = call.needs.decode;
            let decoded = decode.map(|decode| invoke::decode(decode, &entry));
            let its_key = consumer.by_key.as_ref().map(|by| by.of(&entry));
            if let (Ok(decoded), Ok(_)) = (decoded.transpose(), its_key.transpose()) {
                entry.decoded = decoded;
                entries.push(Arc::new(entry));
            }
        }
        let size = match call.needs.decode {
            Some(_) => entries.len().max(1),
            None => 1,
        };
        for part in entries.chunks(size) {
            run(&attempt, part.to_vec(), first, &mut outcomes).await;
        }
        outcomes
    }
}

/// `first` is the sequence of the first outcome.
fn run<'a>(
    attempt: &'a Attempt,
    entries: Vec<Arc<Entry>>,
    first: u64,
    outcomes: &'a mut Vec<Outcome>,
) -> BoxFuture<'a, ()> {
    async move {
        let mut set = |entry: &Entry, outcome| outcomes[(entry.seq() - first) as usize] = outcome;
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
                run(attempt, left.to_vec(), first, outcomes).await;
                run(attempt, right.to_vec(), first, outcomes).await;
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

//! The least that a user of NATS must be allowed to run functions, or a command: computed from what
//! the functions are and declare. `SERVICE permissions` prints it.
//!
//! ```
//! use natsfn::rights::Rights;
//! use natsfn::{Endpoint, Service};
//!
//! let pay = Endpoint::new("pay", "shop.pay.{order}").publishes("invoice.paid.{order}");
//! let shop = Service::new("shop", "1.0.0").endpoint(pay, async || {}).build()?;
//! let rights = Rights::of_functions(&shop, "_INBOX.s.shop");
//! assert_eq!(rights.subscribe[0].subject, "shop.pay.* q");
//! assert!(rights.publish.iter().any(|right| right.subject == "invoice.paid.*"));
//! # Ok::<_, natsfn::RunError>(())
//! ```

use super::dead_letter;
use crate::config::NatsConfig;
use crate::function::template::{Template, covers};
use crate::nats::client::access::Access;
use crate::nats::jetstream::calls::{self, Api};
use crate::service::consumer::Consumer;
use crate::service::consumer::start::Start;
use crate::service::definition::Definition;
use crate::service::stream::Stream;
use crate::service::trigger::state_subject;

/// What one user may subscribe and publish. Everything else is refused.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// What it may subscribe.
    pub subscribe: Vec<Right>,
    /// What it may publish.
    pub publish: Vec<Right>,
}

/// A subject as nats.conf has it: with a queue group after it where only that group may subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// The subject, with wildcards.
    pub subject: String,
    /// What it is for.
    pub purpose: String,
}

/// What is offered to other accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// Requests; with `stamped` the server must say who asks.
    Service {
        /// The subject, with wildcards.
        subject: String,
        /// Whether a function takes the [`Caller`](crate::Caller).
        stamped: bool,
    },
    /// Messages that a stream republishes.
    Stream {
        /// The subject, with wildcards.
        subject: String,
    },
}

impl Rights {
    /// To run the functions of a service.
    pub fn of_functions(service: &Definition, inbox: &str) -> Self {
        let mut rights = Self::default();
        let group = service.queue_group.or(Some("q"));
        for function in &service.functions {
            let name = function.name();
            match function.subject() {
                Some(subject) => {
                    let subject = with_group(&pattern(subject), function.queue_group(group));
                    rights.subscribe(subject, format!("requests of {name}"));
                    rights.publish(function.answers().to_owned(), "answers to other accounts");
                }
                None => {
                    let subject = with_group(&state_subject(&service.name, name), group);
                    rights.subscribe(subject, format!("the state of {name}"));
                }
            }
            if let Some(consumer) = function.consumer() {
                rights.consume(service, consumer);
            }
            rights.declared(name, &function.accesses());
        }
        for task in &service.tasks {
            rights.declared(&task.function, &task.uses);
        }
        rights.subscribe("$SRV.>".to_owned(), "discovery");
        rights.subscribe(format!("{inbox}.>"), "its own inbox");
        rights.publish("_INBOX.>".to_owned(), "answers; whether it is ready");
        rights
    }

    /// To run `setup` for a service.
    pub fn of_setup(service: &Definition, inbox: &str) -> Self {
        let mut rights = Self::of_command(inbox);
        rights.call(calls::LIST_STREAMS, "whether a stream captures requests");
        let letters = Stream::dead_letters();
        let mut streams = service.all_streams();
        if service.consumers().next().is_some() {
            streams.push(&letters);
        }
        for stream in streams {
            let (name, purpose) = (stream.name(), "the stream");
            rights.call(&calls::stream_info(name), purpose);
            if !stream.is_existing() {
                rights.call(&calls::create_stream(name), purpose);
                rights.call(&calls::update_stream(name), purpose);
            }
        }
        for consumer in service.consumers() {
            let (stream, durable) = (consumer.stream.name(), consumer.durable_name());
            let purpose = "the consumer";
            rights.call(&calls::consumer_info(stream, &durable), purpose);
            rights.look_for_former(consumer);
            if consumer.floor.is_some() || service.database.is_some() {
                rights.call(&calls::delete_consumer(stream, &durable), purpose);
            }
            rights.create(consumer, purpose);
            if consumer.starts() != Start::All && service.database.is_some() {
                rights.call(&calls::message(stream), "where the consumer begins");
            }
            if consumer.floor.is_some() {
                // It is asked up to where the service's own store is complete.
                let reads = consumer.uses.iter().filter(|access| access.is_read);
                reads.for_each(|access| rights.access(&consumer.name, access));
            }
        }
        rights
    }

    /// To run `dead` for a service.
    pub fn of_dead(service: &Definition, inbox: &str) -> Self {
        let mut rights = Self::of_command(inbox);
        let letters = dead_letter::STREAM;
        rights.call(&calls::stream_info(letters), "list, show");
        rights.call(&calls::message(letters), "list, show");
        rights.call(&calls::delete_message(letters), "drop, replay");
        for consumer in service.consumers() {
            for subject in consumer.subjects() {
                rights.publish(subject, "replay");
            }
        }
        rights
    }

    /// The same with the JetStream of `nats.domain` or `nats.api_prefix`; whoever looks at all streams, or at a consumer,
    /// looks at those of the server's own too.
    #[must_use]
    pub fn with_jetstream_of(mut self, config: &NatsConfig) -> Self {
        let api = Api::of(config);
        if api.is_own() {
            return self;
        }
        let asked = |right: &&Right| calls::is_asked_of_both(&right.subject);
        let mut beside: Vec<Right> = self.publish.iter().filter(asked).cloned().collect();
        for right in &mut beside {
            right.purpose = format!("the server's own JetStream: {}", right.purpose);
        }
        for right in &mut self.publish {
            right.subject = api.subject(&right.subject);
        }
        let info = api.subject(&calls::whole(calls::INFO));
        self.publish(info, format!("whether {api} is there"));
        self.publish.extend(beside);
        self
    }

    /// To get answers.
    fn of_command(inbox: &str) -> Self {
        let mut rights = Self::default();
        rights.subscribe(format!("{inbox}.>"), "its own inbox");
        rights
    }

    /// What a stream function does.
    fn consume(&mut self, service: &Definition, consumer: &Consumer) {
        let (stream, durable) = (consumer.stream.name(), consumer.durable_name());
        let name = &consumer.name;
        self.publish(calls::pull(stream, &durable), format!("{name} fetches"));
        self.call(
            &calls::consumer_info(stream, &durable),
            &format!("{name} fetches"),
        );
        self.look_for_former(consumer);
        for subject in calls::acks(stream, &durable) {
            self.publish(subject, format!("{name} acknowledges"));
        }
        self.create(
            consumer,
            &format!("{name} recreates its consumer, and notes crashes in it"),
        );
        if consumer.floor.is_some() {
            let delete = calls::delete_consumer(stream, &durable);
            self.call(&delete, &format!("{name} recreates its consumer"));
        }
        self.call(
            &calls::stream_info(stream),
            &format!("{name} looks at its stream"),
        );
        self.call(
            &calls::message(stream),
            &format!("{name} looks at single messages"),
        );
        let letters = format!("dead letters of {name}");
        self.call(&calls::stream_info(dead_letter::STREAM), &letters);
        self.publish(dead_letter::subjects(&service.name, name), letters);
    }

    fn look_for_former(&mut self, consumer: &Consumer) {
        if let Some(former) = consumer.former_name() {
            let info = calls::consumer_info(consumer.stream.name(), former);
            self.call(&info, "whether an earlier version's consumer is there");
        }
    }

    fn create(&mut self, consumer: &Consumer, purpose: &str) {
        let filters = consumer.filters();
        let filter = match filters.as_slice() {
            [one] => Some(one.as_str()),
            _ => None,
        };
        let (stream, durable) = (consumer.stream.name(), consumer.durable_name());
        self.call(&calls::create_consumer(stream, &durable, filter), purpose);
    }

    fn declared(&mut self, function: &str, uses: &[Access]) {
        uses.iter().for_each(|access| self.access(function, access));
    }

    fn access(&mut self, function: &str, access: &Access) {
        let purpose = format!("{function} {}", access.purpose);
        let rights = match access.subscribes {
            false => &mut self.publish,
            true => &mut self.subscribe,
        };
        for subject in &access.subjects {
            add(rights, pattern(subject), purpose.clone());
        }
    }

    fn call(&mut self, call: &str, purpose: &str) {
        self.publish(calls::whole(call), purpose);
    }

    fn publish(&mut self, subject: String, purpose: impl Into<String>) {
        add(&mut self.publish, subject, purpose.into());
    }

    fn subscribe(&mut self, subject: String, purpose: impl Into<String>) {
        add(&mut self.subscribe, subject, purpose.into());
    }
}

/// Each subject once, with everything that it is for; none that a wider one allows already.
fn add(rights: &mut Vec<Right>, subject: String, purpose: String) {
    // A queue group stands after its subject.
    let covers = |wide: &str, narrow: &str| {
        wide == narrow || (!narrow.contains(' ') && covers(wide, narrow))
    };
    let mut wider = rights.iter_mut();
    if let Some(right) = wider.find(|right| covers(&right.subject, &subject)) {
        if right.purpose.split("; ").all(|known| known != purpose) {
            right.purpose += "; ";
            right.purpose += &purpose;
        }
        return;
    }
    rights.retain(|right| !covers(&subject, &right.subject));
    rights.push(Right { subject, purpose });
}

/// What callers in another account need of the service.
pub fn exports(service: &Definition) -> Vec<Export> {
    let functions = service.functions.iter();
    let asked = functions.filter_map(|function| {
        // What the server itself asks ($SYS) stays in the account.
        let subject = function.subject().filter(|it| !it.starts_with('$'))?;
        Some(Export::Service {
            subject: pattern(subject),
            stamped: function.wants_caller(),
        })
    });
    let streams = service.all_streams().into_iter();
    let live = streams.filter_map(|stream| Some(stream.republished()?.to_owned()));
    let live = live.map(|subject| Export::Stream { subject });
    asked.chain(live).collect()
}

/// A subject's template with wildcards; checked when the service was built.
fn pattern(template: &str) -> String {
    Template::parse(template).map_or_else(|_| template.to_owned(), |it| it.subject().to_owned())
}

fn with_group(subject: &str, group: Option<&str>) -> String {
    group.map_or_else(|| subject.to_owned(), |group| format!("{subject} {group}"))
}

#[cfg(all(test, feature = "testing"))]
mod tests;

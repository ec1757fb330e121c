//! What a function does with its connection beyond what calls it: declared, so that its user's
//! permissions can be computed from it.

pub(crate) mod store;

use std::sync::Arc;

use super::Client;
use crate::error::{Error, Kind, Result};
use crate::function::template::{Template, covers};
use crate::nats::jetstream::calls;
use store::Store;

/// What a function does with [`Client`](crate::Client), one kind of it: declared on an
/// [`Endpoint`](crate::Endpoint), a [`Consumer`](crate::Consumer) or [`Work`](crate::Work), so that
/// `SERVICE permissions` knows what the function's user must be allowed.
///
/// ```
/// use natsfn::{Access, Endpoint};
///
/// let pay = Endpoint::new("pay", "shop.pay.{order}")
///     .publishes("invoice.paid.{order}")
///     .uses(Access::messages("ORDERS"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Subjects, or templates of subjects.
    pub(crate) subjects: Vec<String>,
    /// Whether it subscribes to them; else it publishes.
    pub(crate) subscribes: bool,
    /// What it is for, in a word.
    pub(crate) purpose: &'static str,
    /// Whether it only reads from JetStream.
    pub(crate) is_read: bool,
    /// The bucket or object store that the service must declare.
    pub(crate) store: Option<Store>,
    declaration: String,
}

impl Access {
    /// Publishes, appends or asks on these subjects; a token may be `{name}` or a wildcard.
    pub fn publish(subject: impl Into<String>) -> Self {
        let subject = subject.into();
        Self {
            declaration: format!(".publishes({subject:?})"),
            subjects: vec![subject],
            subscribes: false,
            purpose: "publishes",
            is_read: false,
            store: None,
        }
    }

    /// Hears what is published on these subjects, such as those to which a stream is republished
    /// ([`LiveTail`](crate::LiveTail)); a token may be `{name}` or a wildcard.
    pub fn hears(subject: impl Into<String>) -> Self {
        let subject = subject.into();
        Self {
            declaration: format!(".uses(Access::hears({subject:?}))"),
            subscribes: true,
            purpose: "hears",
            ..Self::publish(subject)
        }
    }

    /// Reads single messages of a stream: [`Client::message`](crate::Client::message),
    /// [`Client::last`](crate::Client::last), [`Client::next`](crate::Client::next).
    pub fn messages(stream: &str) -> Self {
        Self::call(
            "messages",
            &[stream],
            "reads messages",
            &calls::message(stream),
        )
    }

    /// Reads ranges of a stream: [`Client::range`](crate::Client::range).
    pub fn ranges(stream: &str) -> Self {
        Self {
            subjects: vec![calls::direct_get(stream)],
            ..Self::call("ranges", &[stream], "reads ranges", "")
        }
    }

    /// Reads a stream's state: [`Client::stream_info`](crate::Client::stream_info).
    pub fn stream_info(stream: &str) -> Self {
        let call = calls::stream_info(stream);
        Self::call("stream_info", &[stream], "reads the stream's state", &call)
    }

    /// Reads a consumer's state: [`Client::consumer_info`](crate::Client::consumer_info).
    pub fn consumer_info(stream: &str, consumer: &str) -> Self {
        let call = calls::consumer_info(stream, consumer);
        let of = [stream, consumer];
        Self::call("consumer_info", &of, "reads a consumer's state", &call)
    }

    /// Deletes the oldest messages of a stream:
    /// [`Client::purge_below`](crate::Client::purge_below).
    pub fn purge(stream: &str) -> Self {
        Self {
            is_read: false,
            ..Self::call("purge", &[stream], "purges", &calls::purge(stream))
        }
    }

    fn call(name: &str, of: &[&str], purpose: &'static str, call: &str) -> Self {
        let of: Vec<String> = of.iter().map(|name| format!("{name:?}")).collect();
        Self {
            subjects: vec![calls::whole(call)],
            subscribes: false,
            purpose,
            is_read: true,
            store: None,
            declaration: format!(".uses(Access::{name}({}))", of.join(", ")),
        }
    }

    /// Its subjects with wildcards.
    pub(crate) fn patterns(&self) -> std::result::Result<Vec<String>, String> {
        let templates = self.subjects.iter().map(|text| Template::parse(text));
        let patterns = templates.map(|it| it.map(|template| template.subject().to_owned()));
        patterns.collect()
    }
}

/// What a function's user may publish and subscribe. Checked in dev alone: elsewhere the server refuses the rest.
#[derive(Debug)]
pub(crate) struct Allowed {
    pub(crate) function: String,
    pub(crate) publish: Vec<String>,
    pub(crate) subscribe: Vec<String>,
}

impl Allowed {
    /// # Errors
    /// The function does not declare this access: a sentence that says how it would.
    pub(crate) fn check(&self, access: &Access) -> Result<()> {
        let Access {
            subjects,
            subscribes,
            declaration,
            ..
        } = access;
        let (does, allowed) = match subscribes {
            false => ("publishes", &self.publish),
            true => ("subscribes", &self.subscribe),
        };
        let is_allowed = |subject: &str| allowed.iter().any(|it| covers(it, subject));
        let Some(subject) = subjects.iter().find(|subject| !is_allowed(subject)) else {
            return Ok(());
        };
        let function = &self.function;
        Err(Error::new(
            Kind::Halt,
            format!(
                "the function {function} {does} to {subject} and does not declare it, so in production its user may not: add {declaration} to the definition of {function}, or a pattern that covers it"
            ),
        ))
    }
}

impl Client {
    /// The same connection for a function that may publish only this.
    pub(crate) fn only(self, allowed: Option<Arc<Allowed>>) -> Self {
        Self { allowed, ..self }
    }

    /// # Errors
    /// The function does not declare this, and somebody checks that.
    pub(crate) fn check(&self, access: impl FnOnce() -> Access) -> Result<()> {
        match &self.allowed {
            Some(allowed) => allowed.check(&access()),
            None => Ok(()),
        }
    }
}

/// The methods with which a function declares what it does by hand.
macro_rules! declares {
    () => {
        /// Declares that the function publishes, appends or asks on these subjects; a token may be
        /// `{name}` or a wildcard. In dev everything else is refused.
        #[must_use]
        pub fn publishes(self, subject: impl Into<String>) -> Self {
            self.uses(Access::publish(subject))
        }

        /// Declares what else the function does with its connection.
        #[must_use]
        pub fn uses(mut self, access: Access) -> Self {
            self.uses.push(access);
            self
        }
    };
}
pub(crate) use declares;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_declared_with_all_that_is_done_with_it() {
        let bucket = Access::bucket("rates");
        let allowed = Allowed {
            function: "pay".to_owned(),
            publish: bucket.patterns().unwrap(),
            subscribe: Vec::new(),
        };
        assert!(allowed.check(&bucket).is_ok());
        assert!(allowed.check(&Access::publish("$KV.rates.eur")).is_ok());
        let refused = allowed.check(&Access::bucket("others")).unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.contains(".uses(Access::bucket(\"others\"))"),
            "{refused}"
        );
    }

    #[test]
    fn what_a_function_does_not_declare_is_refused_with_what_to_declare() {
        let allowed = Allowed {
            function: "pay".to_owned(),
            publish: vec!["invoice.paid.*".to_owned()],
            subscribe: Vec::new(),
        };
        assert!(allowed.check(&Access::publish("invoice.paid.7")).is_ok());
        for (access, declaration) in [
            (Access::publish("invoice.7"), ".publishes(\"invoice.7\")"),
            (Access::messages("LOG"), ".uses(Access::messages(\"LOG\"))"),
            (Access::ranges("LOG"), ".uses(Access::ranges(\"LOG\"))"),
            (
                Access::consumer_info("LOG", "store"),
                ".uses(Access::consumer_info(\"LOG\", \"store\"))",
            ),
        ] {
            let refused = allowed.check(&access).unwrap_err().to_string();
            assert!(refused.contains(declaration), "{refused}");
        }
    }
}

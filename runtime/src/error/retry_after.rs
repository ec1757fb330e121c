//! Errors that concern their message alone: when the function wants to see it again, and what that changes.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Error, Kind, Policy};

/// The key in an error's details that tells a caller, and the runtime, when to try again.
const RETRY_AFTER: &str = "retry_after_ms";

impl Error {
    /// Adds machine-readable JSON. The caller sees it if the kind shows its message. A number
    /// `retry_after_ms` in it is as [`Self::retry_in`], except in a kind that makes a message a dead letter at
    /// once: what another service's reply says of its caller must not change that.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        let wait = details[RETRY_AFTER].as_f64();
        let wait = wait.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
        self.details = Some(details);
        match (wait, self.retry_after) {
            (None, Some(wait)) => self.show(wait),
            (Some(_), None) if self.kind.policy() == Policy::DeadLetter => {}
            (wait, _) => self.retry_after = wait,
        }
        self
    }

    /// Lets this message come again, with the growing pauses of its consumer's [`Retry`](crate::Retry) and
    /// whatever the error's kind, but [`Kind::Halt`](crate::Kind): this message alone, as where one customer's
    /// receiver is down. Others go on, and are not judged by it. It becomes a dead letter after the attempts or
    /// the time of its `Retry`, also while no other message succeeds: say it of the receiver's error alone, and
    /// not around what every message needs, such as the database.
    ///
    /// Where the error is of a whole batch, the batch is halved until each of these messages is alone: name them
    /// in [`Outcomes`](crate::Outcomes), which saves the calls. A caller of a request sees nothing of it.
    ///
    /// ```
    /// use natsfn::{Error, Result};
    ///
    /// async fn post(receiver: &str) -> Result<()> {
    ///     let sent = tokio::net::TcpStream::connect(receiver).await;
    ///     sent.map_err(|error| Error::from(error).retry_later())?;
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.is_of_message = true;
        self.retry_later = true;
        self
    }

    /// Lets the message come again after this time, or up to a quarter later, instead of after the wait of
    /// [`Consumer::retry`](crate::Consumer::retry): this message alone, as others are not held for it. It waits
    /// at least a second, or the first wait of `Consumer::retry` where that is less, and at most as long as
    /// [`Retry::within`](crate::Retry::within), an hour by default.
    ///
    /// With it, a message is tried again whatever the error's kind, but [`Kind::Halt`](crate::Kind):
    /// one that would be a dead letter at once is given up after [`Retry::attempts`](crate::Retry::attempts) or
    /// `Retry::within`, as [`Kind::Internal`](crate::Kind::Internal) is, and
    /// [`Kind::Unavailable`](crate::Kind::Unavailable) and
    /// [`Kind::TooManyRequests`](crate::Kind::TooManyRequests) after `Retry::within`: also while no other message
    /// succeeds, since it concerns this message alone. With one of the last two for a whole batch, every message of
    /// the batch waits: name those that must in [`Outcomes`](crate::Outcomes).
    ///
    /// A caller finds the time as `retry_after_ms` in the details, if the kind shows them.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use natsfn::{Error, Json, Kind, Result};
    ///
    /// async fn ship(Json(order): Json<u64>) -> Result<()> {
    ///     if paid(order) {
    ///         return Ok(());
    ///     }
    ///     let error = Error::new(Kind::Conflict, "not paid yet");
    ///     Err(error.retry_in(Duration::from_secs(300)))
    /// }
    /// # fn paid(order: u64) -> bool { order > 7 }
    /// ```
    #[must_use]
    pub fn retry_in(mut self, wait: Duration) -> Self {
        self.is_of_message = true;
        self.retry_after = Some(wait);
        self.show(wait);
        self
    }

    /// When the message is to come again, if the error says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the function has said that it concerns its message alone, so that it is no evidence about others nor
    /// they about it. A kind, or details that came from another service, do not say so: a quota may be everybody's.
    pub(crate) fn is_of_message(&self) -> bool {
        self.is_of_message && self.kind != Kind::Halt
    }

    /// What is done with a message that failed with this.
    pub(crate) fn policy(&self) -> Policy {
        match self.kind.policy() {
            Policy::Halt => Policy::Halt,
            _ if self.retry_later => Policy::Attempt,
            Policy::DeadLetter if self.retry_after.is_some() => Policy::Attempt,
            // It is not tried beside others first, as it says when.
            Policy::RetryAlone if self.is_of_message => Policy::Attempt,
            Policy::Hold if self.retry_after.is_some() => Policy::Retry,
            policy => policy,
        }
    }

    /// Puts the time into the details, unless they are no JSON object.
    fn show(&mut self, wait: Duration) {
        let details = self
            .details
            .get_or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(details) = details {
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            details.insert(RETRY_AFTER.to_owned(), millis.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WAIT: Duration = Duration::from_millis(1500);

    #[test]
    fn time_is_told_in_the_details_beside_what_else_they_say() {
        let error = || Error::new(Kind::TooManyRequests, "slow down");
        let details = json!({ "limit": 3 });
        let both = json!({ "limit": 3, "retry_after_ms": 1500 });
        for error in [
            error().with_details(details.clone()).retry_in(WAIT),
            error().retry_in(WAIT).with_details(details.clone()),
            error().with_details(both.clone()),
            error().retry_in(Duration::ZERO).with_details(both.clone()),
        ] {
            assert_eq!(error.public_details(), Some(&both));
            assert_eq!(error.retry_after(), Some(WAIT));
        }
        let list = error().with_details(json!([3])).retry_in(WAIT);
        assert_eq!(list.details(), Some(&json!([3])));
        assert_eq!(list.retry_after(), Some(WAIT));
        assert_eq!(error().with_details(details).retry_after(), None);
    }

    #[test]
    fn message_is_tried_again_alone_whatever_the_kind() {
        let policy = |kind| Error::new(kind, "").retry_in(WAIT).policy();
        assert_eq!(policy(Kind::Conflict), Policy::Attempt);
        assert_eq!(policy(Kind::Timeout), Policy::Attempt);
        assert_eq!(policy(Kind::Unavailable), Policy::Retry);
        assert_eq!(policy(Kind::TooManyRequests), Policy::Retry);
        assert_eq!(policy(Kind::Halt), Policy::Halt);
        assert_eq!(Error::bad_request("").policy(), Policy::DeadLetter);
        for kind in [Kind::Conflict, Kind::Unavailable, Kind::TooManyRequests] {
            let error = Error::new(kind, "").retry_later();
            assert_eq!(error.policy(), Policy::Attempt);
            assert!(error.is_of_message() && error.copy().is_of_message());
            assert_eq!(error.retry_after(), None);
        }
        let halt = Error::new(Kind::Halt, "").retry_later().retry_in(WAIT);
        assert_eq!((halt.policy(), halt.is_of_message()), (Policy::Halt, false));
    }

    #[test]
    fn details_say_when_to_try_again_and_not_whether() {
        let details =
            |kind, millis: Value| Error::new(kind, "").with_details(json!({ RETRY_AFTER: millis }));
        let error = details(Kind::NotFound, 1500.into());
        assert_eq!(error.policy(), Policy::DeadLetter);
        for kind in [Kind::Unavailable, Kind::TooManyRequests, Kind::Timeout] {
            assert!(!details(kind, 1500.into()).is_of_message());
        }
        assert_eq!(error.retry_in(WAIT).policy(), Policy::Attempt);
        let wait = |millis| details(Kind::TooManyRequests, millis).retry_after();
        assert_eq!(wait(1500.0.into()), Some(WAIT));
        for none in [json!(-1), json!(1e300), json!("1500")] {
            assert_eq!(wait(none), None);
        }
    }
}

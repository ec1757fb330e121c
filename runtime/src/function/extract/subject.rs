//! The subject, as an argument.

use super::{FromEvent, Needs};
use crate::error::Result;
use crate::function::event::{Delivery, Request};

/// The concrete subject of a request or of a single message.
///
/// ```
/// async fn log(natsfn::Subject(subject): natsfn::Subject) {
///     println!("{subject}"); // "orders.bob" of "orders.*"
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint(natsfn::Endpoint::new("log", "orders.*"), log);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub String);

impl<S> FromEvent<Request, S> for Subject {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        Ok(Self(request.subject.to_string()))
    }
}

impl<S> FromEvent<Delivery, S> for Subject {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        Ok(Self(delivery.single()?.subject.to_string()))
    }

    fn needs(needs: &mut Needs) {
        needs.single = true;
    }
}

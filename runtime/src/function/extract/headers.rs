//! The headers, as an argument.

use async_nats::HeaderMap;

use super::{FromEvent, Needs};
use crate::error::Result;
use crate::function::event::{Delivery, Request};

/// The headers of a request or of a single message; empty where there are none. Their names are
/// case-sensitive, as everywhere in NATS: `tenant` is another header than `Tenant`.
///
/// ```
/// use natsfn::Headers;
///
/// async fn greet(Headers(headers): Headers) -> String {
///     let language = headers.get("Accept-Language").map(|value| value.as_str());
///     let greeting = if language == Some("de") { "Hallo" } else { "Hello" };
///     greeting.to_owned()
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("greet", greet);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Headers(pub HeaderMap);

impl<S> FromEvent<Request, S> for Headers {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        Ok(Self(request.headers.clone()))
    }
}

impl<S> FromEvent<Delivery, S> for Headers {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        Ok(Self(delivery.single()?.headers.clone()))
    }

    fn needs(needs: &mut Needs) {
        needs.single = true;
    }
}

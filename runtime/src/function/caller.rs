//! The caller of a request, as the server names it.

use serde::Deserialize;

use super::event::Request;
use super::extract::{FromEvent, Needs};
use crate::error::{Error, Kind, Result};

/// The header that nats-server itself writes on a request that comes through an account import with
/// `share: true`. The server overwrites a forged one.
const STAMP: &str = "Nats-Request-Info";

/// The caller, as the server stamped the request. A request without the stamp is refused with 401: it
/// came from inside the service's own account, where the server names no caller.
///
/// ```
/// use natsfn::{Caller, Error, Json, Kind, Result};
///
/// async fn refund(caller: Caller, Json(order): Json<u64>) -> Result<String> {
///     if caller.account != "STAFF" {
///         return Err(Error::new(Kind::Forbidden, "only staff may refund"));
///     }
///     Ok(format!("{} refunds order {order}", caller.user))
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("refund", refund);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Caller {
    /// The user's name in the caller's account.
    pub user: String,
    /// The caller's account.
    #[serde(rename = "acc")]
    pub account: String,
}

impl<S> FromEvent<Request, S> for Caller {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        Self::of(request)
    }

    fn needs(needs: &mut Needs) {
        needs.caller = true;
    }
}

impl Caller {
    /// The server removes a client's own stamp and appends its own. But the server and async-nats split
    /// lines differently: a hostile header block can hold a second stamp, or hide the server's in
    /// another header's value. So the whole block must contain exactly one.
    pub(crate) fn of(request: &Request) -> Result<Self> {
        let mut stamps = request.headers.iter().flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            let exact = name == STAMP;
            let inside = usize::from(!exact && contains(name));
            let values = values.iter().map(move |value| (exact, value.as_str()));
            std::iter::repeat_n((false, STAMP), inside)
                .chain(values.filter(|(exact, value)| *exact || contains(value)))
        });
        match (stamps.next(), stamps.next()) {
            (Some((true, stamp)), None) if !contains(stamp) => serde_json::from_str(stamp).ok(),
            _ => None,
        }
        .ok_or_else(|| {
            Error::new(
                Kind::Unauthorized,
                "the request names no caller: this function answers requests that come through an account import with `share: true`",
            )
        })
    }
}

/// Whether a text contains the stamp's name.
fn contains(text: &str) -> bool {
    text.to_ascii_lowercase()
        .contains(&STAMP.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_nats::HeaderMap;

    use super::*;
    use crate::function::context::Context;
    use crate::function::template::Template;

    const BOB: &str = r#"{"acc":"PEOPLE","user":"bob","rtt":1}"#;
    const ALICE: &str = r#"{"acc":"PEOPLE","user":"alice"}"#;

    fn caller(headers: &[(&str, &str)]) -> Result<Caller> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, *value);
        }
        Caller::of(&Request {
            subject: "a".into(),
            headers: map,
            payload: Vec::new().into(),
            template: Arc::new(Template::parse("a").unwrap()),
            context: Context::default(),
        })
    }

    #[test]
    fn exactly_one_stamp_names_the_caller() {
        assert_eq!(caller(&[("X", "a"), (STAMP, BOB)]).unwrap().user, "bob");
    }

    #[test]
    fn a_second_or_a_hidden_stamp_makes_it_nobody() {
        let hidden = format!("abcd{STAMP}: {BOB}");
        let cases: [&[(&str, &str)]; 5] = [
            &[],
            &[(STAMP, ALICE), (STAMP, BOB)],
            &[(STAMP, ALICE), ("X", &hidden)],
            &[(STAMP, BOB), ("nats-request-info", ALICE)],
            &[(STAMP, "no json")],
        ];
        for headers in cases {
            assert_eq!(
                caller(headers).unwrap_err().kind(),
                Kind::Unauthorized,
                "{headers:?}"
            );
        }
    }
}

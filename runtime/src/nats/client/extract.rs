//! The connection as an argument of a function.

use async_nats::HeaderMap;

use super::Client;
use crate::error::{Error, Result};
use crate::function::context::Context;
use crate::function::event::{Delivery, Request};
use crate::function::extract::{FromEvent, Needs};

impl<S> FromEvent<Request, S> for Client {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        connected(&request.context, &request.headers)
    }

    fn needs(needs: &mut Needs) {
        needs.client = true;
    }
}

impl<S> FromEvent<Delivery, S> for Client {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        // A batch has many origins; only a single message's trace context can be continued.
        match delivery.entries.as_slice() {
            [entry] => connected(&delivery.context, &entry.headers),
            _ => connected(&delivery.context, &HeaderMap::new()),
        }
    }

    fn needs(needs: &mut Needs) {
        needs.client = true;
    }
}

fn connected(context: &Context, headers: &HeaderMap) -> Result<Client> {
    context
        .get::<Client>()
        .map(|client| client.continuing(headers))
        .ok_or_else(|| {
            Error::internal("this function needs a Client, and there is no connection here: an extractor of your own that has one passes on its `needs`")
        })
}

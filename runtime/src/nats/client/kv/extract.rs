//! A bucket as an argument of a function.

use super::{Client, Kv, KvValue};
use crate::error::Result;
use crate::function::event::{Delivery, Request};
use crate::function::extract::{FromEvent, Needs};

impl<T: KvValue, S> FromEvent<Request, S> for Kv<T> {
    fn from_event(request: &mut Request, state: &S) -> Result<Self> {
        Client::from_event(request, state).map(|client| client.kv())
    }

    fn needs(needs: &mut Needs) {
        needs.buckets.push(T::BUCKET);
    }
}

impl<T: KvValue, S> FromEvent<Delivery, S> for Kv<T> {
    fn from_event(delivery: &mut Delivery, state: &S) -> Result<Self> {
        Client::from_event(delivery, state).map(|client| client.kv())
    }

    fn needs(needs: &mut Needs) {
        needs.buckets.push(T::BUCKET);
    }
}

//! The transaction as an argument of a function.

use super::Tx;
use crate::error::{Error, Result};
use crate::function::context::Context;
use crate::function::event::{Delivery, Request};
use crate::function::extract::{FromEvent, Needs};

impl<S> FromEvent<Request, S> for Tx {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        lent(&request.context)
    }

    fn needs(needs: &mut Needs) {
        needs.transaction = true;
    }
}

impl<S> FromEvent<Delivery, S> for Tx {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        lent(&delivery.context)
    }

    fn needs(needs: &mut Needs) {
        needs.transaction = true;
    }
}

fn lent(context: &Context) -> Result<Tx> {
    context.get::<Tx>().cloned().ok_or_else(|| {
        Error::internal("this function needs a Tx, and there is no transaction here")
    })
}

//! The core: any `async fn` whose arguments can be extracted is a handler.

pub(crate) mod layer;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::event::Event;
use super::extract::{FromEvent, Needs};
use super::reply::IntoReply;
use crate::error::Result;
use layer::{Answering, Layer, Start, around};

/// An `async fn` that takes up to four extractors and returns what can be a reply.
///
/// It is implemented for functions and closures; nobody implements it by hand. `A` is the tuple
/// of arguments, inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that natsfn can call for a `{E}`",
    label = "not a handler",
    note = "a handler is an `async fn` with at most four arguments, each an extractor for `{E}`: one that the docs of `natsfn::FromEvent` list, or your own `FromEvent`",
    note = "State<T> needs T to be the service's state; Caller belongs to requests, Batch<T> to streams",
    note = "it returns (), Json<T>, Bytes, Response or Outcomes, or a Result of one with an error that implements IntoError, and its future must be Send"
)]
pub trait Handler<E: Event, S, A>: Clone + Send + Sync + 'static {
    /// What the arguments need from the runtime.
    fn needs() -> Needs;

    /// Extracts the arguments, then returns the function's future.
    ///
    /// # Errors
    /// The first extractor's error, usually [`crate::Kind::BadRequest`].
    fn call(&self, event: &mut E, state: &S) -> Result<BoxFuture<'static, Result<E::Answer>>>;
}

macro_rules! handler {
    ($($argument:ident),*) => {
        #[allow(non_snake_case, unused_variables)]
        impl<E, S, F, Fut, R, $($argument),*> Handler<E, S, ($($argument,)*)> for F
        where
            E: Event,
            F: Fn($($argument),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoReply<E>,
            $($argument: FromEvent<E, S>,)*
        {
            fn needs() -> Needs {
                #[allow(unused_mut)]
                let mut needs = Needs::default();
                $(<$argument as FromEvent<E, S>>::needs(&mut needs);)*
                needs
            }

            fn call(
                &self,
                event: &mut E,
                state: &S,
            ) -> Result<BoxFuture<'static, Result<E::Answer>>> {
                $(let $argument = $argument::from_event(event, state)?;)*
                let future = self($($argument),*);
                Ok(Box::pin(async move { future.await.into_reply() }))
            }
        }
    };
}

handler!();
handler!(A1);
handler!(A1, A2);
handler!(A1, A2, A3);
handler!(A1, A2, A3, A4);

/// A handler with its state, types erased: boxed once, at registration.
pub(crate) struct Call<E: Event> {
    call: Arc<Start<E>>,
    layers: Arc<[Layer<E>]>,
    pub(crate) needs: Needs,
}

impl<E: Event> Clone for Call<E> {
    fn clone(&self) -> Self {
        Self {
            call: self.call.clone(),
            layers: self.layers.clone(),
            needs: self.needs.clone(),
        }
    }
}

impl<E: Event> Call<E> {
    pub(crate) fn new<S, A, H>(handler: H, state: S) -> Self
    where
        S: Send + Sync + 'static,
        H: Handler<E, S, A>,
    {
        Self {
            call: Arc::new(move |event| handler.call(event, &state)),
            layers: Arc::default(),
            needs: H::needs(),
        }
    }

    /// Puts layers around it, the first one outermost.
    pub(crate) fn surround(&mut self, layers: impl IntoIterator<Item = Layer<E>>) {
        self.layers = layers.into_iter().collect();
    }

    /// Extracts and starts; only `invoke.rs` calls this, inside its guards.
    pub(crate) fn start(&self, mut event: E) -> Result<Answering<E>> {
        if self.layers.is_empty() {
            return (self.call)(&mut event);
        }
        Ok(around(&self.layers, &self.call, event))
    }
}

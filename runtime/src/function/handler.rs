//! The core: any `async fn` whose arguments can be extracted is a handler.

pub(crate) mod layer;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::event::Event;
use super::extract::{FromEvent, Needs};
use super::reply::IntoReply;
use crate::error::Result;
use layer::{Answering, Layer, Start, around};

/// An `async fn` that takes up to eight extractors and returns what can be a reply.
///
/// It is implemented for functions and closures; nobody implements it by hand. `A` is the tuple
/// of arguments, inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that natsfn can call for a `{E}`",
    label = "not a handler",
    note = "a handler is an `async fn` with at most eight arguments, each an extractor for `{E}`: one that the docs of `natsfn::FromEvent` list, or your own `FromEvent`"
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

// One implementation for all: so the compiler tells which of these does not hold, and why. Of several it would only
// say that none fits.
impl<E, S, F, A> Handler<E, S, A> for F
where
    E: Event,
    F: Function<A> + Clone + Send + Sync + 'static,
    F::Future: Future<Output: IntoReply<E>> + Send + 'static,
    A: Arguments<E, S>,
{
    fn needs() -> Needs {
        let mut needs = Needs::default();
        A::needs(&mut needs);
        needs
    }

    fn call(&self, event: &mut E, state: &S) -> Result<BoxFuture<'static, Result<E::Answer>>> {
        let future = self.apply(A::from_event(event, state)?);
        Ok(Box::pin(async move { future.await.into_reply() }))
    }
}

/// A function of up to eight arguments, which `A` is the tuple of.
pub trait Function<A> {
    /// What it returns: an `async fn` a future.
    type Future;

    /// Calls it.
    fn apply(&self, arguments: A) -> Self::Future;
}

/// The arguments of a function, extracted from an event one after the other.
pub trait Arguments<E, S>: Sized {
    /// Makes them.
    fn from_event(event: &mut E, state: &S) -> Result<Self>;

    /// Declares what they need.
    fn needs(needs: &mut Needs);
}

macro_rules! arguments {
    ($($argument:ident),*) => {
        #[allow(non_snake_case, reason = "an argument is named as its type")]
        impl<F, R, $($argument),*> Function<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R,
        {
            type Future = R;

            fn apply(&self, ($($argument,)*): ($($argument,)*)) -> R {
                self($($argument),*)
            }
        }

        #[allow(unused_variables, reason = "a function may have no arguments")]
        impl<E, S, $($argument: FromEvent<E, S>),*> Arguments<E, S> for ($($argument,)*) {
            fn from_event(event: &mut E, state: &S) -> Result<Self> {
                Ok(($($argument::from_event(event, state)?,)*))
            }

            fn needs(needs: &mut Needs) {
                $(<$argument as FromEvent<E, S>>::needs(needs);)*
            }
        }
    };
}

arguments!();
arguments!(A1);
arguments!(A1, A2);
arguments!(A1, A2, A3);
arguments!(A1, A2, A3, A4);
arguments!(A1, A2, A3, A4, A5);
arguments!(A1, A2, A3, A4, A5, A6);
arguments!(A1, A2, A3, A4, A5, A6, A7);
arguments!(A1, A2, A3, A4, A5, A6, A7, A8);

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

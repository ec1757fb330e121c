//! Layers: code around functions, for what many of them have in common.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::error::{Error, Result};
use crate::function::event::{Delivery, Event, Request};
use crate::function::extract::FromEvent;

/// The future of a call; it resolves to the answer.
pub(super) type Answering<E> = BoxFuture<'static, Result<<E as Event>::Answer>>;

/// Extracts the arguments and starts the function.
pub(super) type Start<E> = dyn Fn(&mut E) -> Result<Answering<E>> + Send + Sync;

/// What a layer is around: the layers inside it, and the function.
pub struct Next<E: Event> {
    layers: Arc<[Layer<E>]>,
    at: usize,
    function: Arc<Start<E>>,
}

impl<E: Event> Next<E> {
    /// Calls what is inside, and returns its answer, or its error.
    ///
    /// # Errors
    /// Those of the function, of its extractors, and of the layers in between.
    pub async fn run(mut self, mut event: E) -> Result<E::Answer> {
        match self.layers.get(self.at).cloned() {
            Some(layer) => {
                self.at += 1;
                (layer.0)(event, self).await
            }
            None => {
                let answering = (self.function)(&mut event)?;
                // The event's handles, such as that of a transaction, go with it.
                drop(event);
                answering.await
            }
        }
    }
}

type Around<E> = dyn Fn(E, Next<E>) -> Answering<E> + Send + Sync;

/// A layer whose type is forgotten.
pub struct Layer<E: Event>(Arc<Around<E>>);

impl<E: Event> Layer<E> {
    pub(crate) fn new<F, Fut>(layer: F) -> Self
    where
        F: Fn(E, Next<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<E::Answer>> + Send + 'static,
    {
        Self(Arc::new(move |event, next| layer(event, next).boxed()))
    }
}

impl<E: Event> Clone for Layer<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Event> fmt::Debug for Layer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layer")
    }
}

/// Calls a function through its layers, the first one outermost.
pub(super) fn around<E: Event>(
    layers: &Arc<[Layer<E>]>,
    function: &Arc<Start<E>>,
    event: E,
) -> Answering<E> {
    let next = Next {
        layers: layers.clone(),
        at: 0,
        function: function.clone(),
    };
    next.run(event).boxed()
}

/// The layers of a service, for its functions of either kind.
#[derive(Clone, Default)]
pub struct Layers {
    pub(crate) requests: Vec<Layer<Request>>,
    pub(crate) deliveries: Vec<Layer<Delivery>>,
}

/// An event whose functions may have layers: every one.
pub trait Layered: Event + Sized {
    #[doc(hidden)]
    fn layers(of: &mut Layers) -> &mut Vec<Layer<Self>>;
}

impl Layered for Request {
    fn layers(of: &mut Layers) -> &mut Vec<Layer<Self>> {
        &mut of.requests
    }
}

impl Layered for Delivery {
    fn layers(of: &mut Layers) -> &mut Vec<Layer<Self>> {
        &mut of.deliveries
    }
}

/// A value that a layer has put into the event ([`Request::insert`], [`Delivery::insert`]), as an argument.
///
/// ```
/// use natsfn::{Endpoint, Error, Extension, Kind, Next, Request, Response, Result, Service};
///
/// /// Whom a token belongs to.
/// #[derive(Clone)]
/// struct Who(String);
///
/// /// Lets nobody in without a token that we know.
/// async fn known(mut request: Request, next: Next<Request>) -> Result<Response> {
///     let token = request.headers().get("Token").map(|token| token.as_str());
///     let who = match token {
///         Some("open sesame") => Who("ali".to_owned()),
///         _ => return Err(Error::new(Kind::Unauthorized, "who are you?")),
///     };
///     request.insert(who);
///     next.run(request).await
/// }
///
/// async fn hello(Extension(Who(name)): Extension<Who>) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let service = Service::new("cave", "1.0.0").layer(known).endpoint("hello", hello);
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let cave = natsfn::testing::local(service);
/// let stranger = cave.request::<String>("hello", &()).await;
/// assert_eq!(stranger.unwrap_err().code, 401);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<T>(pub T);

/// Told from the runtime's own values by its type.
struct Inserted<T>(T);

impl<T: Clone + Send + Sync + 'static, S> FromEvent<Request, S> for Extension<T> {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        inserted(request.context.get())
    }
}

impl<T: Clone + Send + Sync + 'static, S> FromEvent<Delivery, S> for Extension<T> {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        inserted(delivery.context.get())
    }
}

fn inserted<T: Clone + Any>(value: Option<&Inserted<T>>) -> Result<Extension<T>> {
    let value = value.ok_or_else(|| {
        Error::internal(format!(
            "no layer has put in a {}",
            std::any::type_name::<T>()
        ))
    })?;
    Ok(Extension(value.0.clone()))
}

impl Request {
    /// Puts a value in, which [`Extension<T>`] extracts; of two of one type the later counts.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        self.context.insert(Arc::new(Inserted(value)));
    }
}

impl Delivery {
    /// Puts a value in, which [`Extension<T>`] extracts; of two of one type the later counts.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        self.context.insert(Arc::new(Inserted(value)));
    }
}

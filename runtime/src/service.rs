//! A service: functions with one name and one version.

#[cfg_attr(
    not(feature = "sea-orm"),
    expect(
        dead_code,
        reason = "the database is handed out by `db()`, which SQL brings"
    )
)]
pub(crate) mod background;
pub(crate) mod consumer;
pub(crate) mod definition;
pub(crate) mod dev_listener;
mod difference;
pub(crate) mod endpoint;
mod name;
pub(crate) mod rate_limit;
pub(crate) mod stream;
pub(crate) mod trigger;
pub(crate) mod validate;

#[cfg(feature = "testing")]
pub mod failpoint;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::error::Result;
use crate::error::run_error::RunError;
use crate::function::event::{Delivery, Request};
use crate::function::handler::layer::{Layer, Layered, Next};
use crate::function::handler::{Call, Handler};
use background::{Background, Work};
use consumer::{Consumer, StreamTrigger};
use endpoint::queue_group::QueueGroup;
use endpoint::{Endpoint, RequestTrigger};
use stream::Stream;

pub use definition::Definition;
pub(crate) use definition::Task;

/// A service under construction: a name, a version, a state that every function may extract, and
/// functions. `S` is the state's type.
///
/// ```
/// use natsfn::{Endpoint, Json, Path, Service, State};
///
/// #[derive(Clone)]
/// struct Shop {
///     currency: &'static str,
/// }
///
/// async fn price(State(shop): State<Shop>, Path(sku): Path<String>) -> Json<String> {
///     Json(format!("{sku}: 350 {}", shop.currency))
/// }
///
/// let shop = Service::new("shop", "1.0.0")
///     .state(Shop { currency: "EUR" })
///     .endpoint(Endpoint::new("price", "shop.price.{sku}"), price);
/// // `natsfn::main(|| shop)` makes a program of it. Without the command line:
/// let definition = shop.build()?;
/// # Ok::<_, natsfn::RunError>(())
/// ```
#[must_use = "a service does nothing until natsfn::main or start runs it"]
pub struct Service<S = ()> {
    pub(crate) definition: Definition,
    pub(crate) state: S,
}

impl Service<()> {
    /// A service without state. The name matches `^[A-Za-z0-9_-]+$`, the version is a full SemVer
    /// version; both are checked before anything starts.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        let definition = Definition {
            name: name.into(),
            version: version.into(),
            ..Definition::default()
        };
        Self {
            definition,
            state: (),
        }
    }

    /// Gives the service its state, which `State<S>` extracts: cheap to clone, an `Arc` inside
    /// where it is large. It comes before the functions that use it.
    pub fn state<S: Clone + Send + Sync + 'static>(self, state: S) -> Service<S> {
        Service {
            definition: self.definition,
            state,
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Service<S> {
    /// Says in discovery what the service is for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.definition.description = description.into();
        self
    }

    /// Adds to the service's metadata in discovery.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.definition.metadata.insert(key.into(), value.into());
        self
    }

    /// The queue group of every endpoint that has none of its own, instead of `q`.
    pub fn queue_group(mut self, name: impl Into<String>) -> Self {
        self.definition.queue_group = QueueGroup::Named(name.into());
        self
    }

    /// No queue group: every instance answers every request, except where an endpoint has one.
    pub fn no_queue_group(mut self) -> Self {
        self.definition.queue_group = QueueGroup::Off;
        self
    }

    /// Refuses a nats-server older than this (the runtime itself warns below 2.14.0).
    pub fn min_server(mut self, major: u64, minor: u64, patch: u64) -> Self {
        self.definition.min_server = Some(semver::Version::new(major, minor, patch));
        self
    }

    /// How long what is in flight may take when the process is told to stop (8 s by default; the key
    /// `drain` overrides it). What is unfinished then is given back, and begins again elsewhere: for a
    /// job of a minute say more than that, an hour at most. Whoever stops the process must wait 7 s longer: Docker
    /// kills after 10 s, Kubernetes after 30 s, unless told otherwise.
    ///
    /// ```
    /// use natsfn::Service;
    /// use std::time::Duration;
    ///
    /// let reports = Service::new("reports", "1.0.0").drain(Duration::from_secs(90));
    /// # let _: Service = reports;
    /// ```
    pub fn drain(mut self, drain: Duration) -> Self {
        self.definition.drain = Some(drain);
        self
    }

    /// A function that answers requests. `what` is an [`Endpoint`], or a name that is the subject
    /// too.
    pub fn endpoint<A, H>(mut self, what: impl Into<Endpoint>, handler: H) -> Self
    where
        H: Handler<Request, S, A>,
    {
        let endpoint = what.into();
        let call = Call::new(handler, self.state.clone());
        let trigger = RequestTrigger { endpoint, call };
        self.definition.functions.push(Arc::new(trigger));
        self
    }

    /// A function that a stream feeds.
    pub fn consumer<A, H>(mut self, mut what: Consumer, handler: H) -> Self
    where
        H: Handler<Delivery, S, A>,
    {
        what.belong_to(&self.definition.name);
        let (consumer, call) = (what, Call::new(handler, self.state.clone()));
        let trigger = StreamTrigger { consumer, call };
        self.definition.functions.push(Arc::new(trigger));
        self
    }

    /// Puts a layer around all functions of the service that are called with the same kind of event: a [`Request`] or
    /// a [`Delivery`]. It may look at the event, refuse it, answer itself, put a value in for
    /// [`Extension`](crate::Extension), and see the answer. The first layer is outermost, and those of an endpoint or
    /// a consumer are inside. It runs behind the rate limit, within the function's deadline and, where the function
    /// has one, its transaction. A layer that panics is a function that panics.
    ///
    /// What a layer returns is what counts: where it returns `Ok` although the function has failed, a `Tx` is committed
    /// and the messages are acknowledged. It is around an endpoint of NATS's auth callout too. It may run twice for one
    /// request, as the function does whose transaction is begun again.
    ///
    /// ```
    /// use natsfn::{Delivery, Next, Outcomes, Request, Response, Result, Service};
    ///
    /// /// Counts what fails.
    /// async fn audit(request: Request, next: Next<Request>) -> Result<Response> {
    ///     let subject = request.subject().to_owned();
    ///     let answer = next.run(request).await;
    ///     if let Err(error) = &answer {
    ///         println!("{subject}: {error}");
    ///     }
    ///     answer
    /// }
    ///
    /// let shop = Service::new("shop", "1.0.0")
    ///     .layer(audit)
    ///     .layer(|delivery: Delivery, next: Next<Delivery>| async move {
    ///         println!("{} messages", delivery.messages().count());
    ///         next.run(delivery).await
    ///     });
    /// # let _: Service = shop;
    /// ```
    pub fn layer<E, F, Fut>(mut self, layer: F) -> Self
    where
        E: Layered,
        F: Fn(E, Next<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<E::Answer>> + Send + 'static,
    {
        E::layers(&mut self.definition.layers).push(Layer::new(layer));
        self
    }

    /// A stream that the service publishes to and does not consume; `setup` makes it.
    pub fn stream(mut self, stream: Stream) -> Self {
        self.definition.streams.push(stream);
        self
    }

    /// Background work that starts, runs and drains with a function, which `what` names. Where no other function has
    /// that name, the work is a function by itself: it is served, or left out, by its name, and
    /// discovery does not tell it.
    ///
    /// It gets the connection, the database and the word to stop; it returns soon after that word.
    /// An error is logged, and the work begins again after a pause.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use natsfn::{Background, HeaderMap, Result, Service};
    ///
    /// /// Publishes a sign of life a minute, until the process stops.
    /// async fn beat(mut background: Background, _state: ()) -> Result<()> {
    ///     let minute = Duration::from_secs(60);
    ///     while tokio::time::timeout(minute, background.stopped()).await.is_err() {
    ///         let client = background.client();
    ///         client.publish("shop.beat", HeaderMap::new(), "".into()).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let shop = Service::new("shop", "1.0.0").task("beat", beat);
    /// ```
    pub fn task<F, Fut>(mut self, what: impl Into<Work>, work: F) -> Self
    where
        F: Fn(Background, S) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let state = self.state.clone();
        let run = Arc::new(move |background| work(background, state.clone()).boxed());
        let Work { function, uses } = what.into();
        self.definition.tasks.push(Task {
            function,
            uses,
            run,
        });
        self
    }

    /// Puts another service into the same program: `dev`, `serve`, `setup` and `invoke` know the
    /// functions of both, and each is started on connections of its own. A service logs in with
    /// `credentials.<its name>` where the configuration has that, else with `nats`, so the two may
    /// be different users in different accounts.
    ///
    /// ```
    /// use natsfn::{Json, Service};
    ///
    /// # async fn price(Json(sku): Json<String>) -> Json<u32> { Json(sku.len() as u32) }
    /// # async fn check(Json(token): Json<String>) -> Json<bool> { Json(token == "open") }
    /// let door = Service::new("door", "1.0.0").endpoint("check", check);
    /// let shop = Service::new("shop", "1.0.0").endpoint("price", price).beside(door);
    /// // `natsfn::main(|| shop)` makes one program of them. Without the command line:
    /// let services = shop.build()?.into_services();
    /// assert_eq!(services.len(), 2);
    /// # Ok::<_, natsfn::RunError>(())
    /// ```
    pub fn beside<T>(mut self, other: Service<T>) -> Self {
        self.definition.beside.push(other.definition);
        self
    }

    /// Switches failpoints on: faults at the steps of a consumer's path, for tests.
    #[cfg(feature = "testing")]
    pub fn failpoints(mut self, failpoints: failpoint::Failpoints) -> Self {
        self.definition.failpoints = failpoints;
        self
    }

    /// Forgets the types, checks the definition.
    ///
    /// # Errors
    /// Every mistake in it at once, each a sentence.
    pub fn build(mut self) -> std::result::Result<Definition, RunError> {
        self.definition.surround();
        let problems = validate::problems(&self.definition);
        if problems.is_empty() {
            Ok(self.definition)
        } else {
            Err(RunError::misuse(problems))
        }
    }
}

//! A service: functions with one name and one version.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::background::Background;
use crate::consumer::Consumer;
use crate::dev_page::DevPage;
use crate::effect::DatabaseDefinition;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::event::{Delivery, Request};
use crate::handler::{Call, Handler};
use crate::stream::Stream;
use crate::validate;

/// A service under construction: a name, a version, a state that every function may extract, and
/// functions. `S` is the state's type.
#[must_use = "a service does nothing until natsfn::main or start runs it"]
pub struct Service<S = ()> {
    pub(crate) definition: Definition,
    state: S,
}

/// A service whose types are forgotten: what the runtime runs.
#[derive(Clone, Default)]
pub struct Definition {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) queue_group: QueueGroup,
    pub(crate) functions: Vec<Function>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) database: Option<Arc<dyn DatabaseDefinition>>,
    pub(crate) dev_page: Option<Arc<DevPage>>,
    pub(crate) min_server: Option<semver::Version>,
    #[cfg(feature = "testing")]
    pub(crate) failpoints: crate::failpoint::Failpoints,
}

/// A function: a name in discovery, and what calls it.
#[derive(Clone)]
pub(crate) enum Function {
    Endpoint(Endpoint, Call<Request>),
    Consumer(Box<Consumer>, Call<Delivery>),
}

impl Function {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Endpoint(endpoint, _) => &endpoint.name,
            Self::Consumer(consumer, _) => &consumer.name,
        }
    }
}

/// Background work that runs and drains with a function.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) function: String,
    pub(crate) run: Arc<dyn Fn(Background) -> BoxFuture<'static, Result<()>> + Send + Sync>,
}

/// The queue group of an endpoint: its own, else the service's, else `q`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueueGroup {
    #[default]
    Inherit,
    Named(String),
    Off,
}

impl QueueGroup {
    /// What this level says, with what the level above it resolved to. `None` is a plain
    /// subscription: every instance gets every request.
    pub(crate) fn or<'a>(&'a self, above: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::Inherit => above,
            Self::Named(name) => Some(name),
            Self::Off => None,
        }
    }
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

    /// A function that answers requests. `what` is an [`Endpoint`], or a name that is the subject
    /// too.
    pub fn endpoint<A, H>(mut self, what: impl Into<Endpoint>, handler: H) -> Self
    where
        H: Handler<Request, S, A>,
    {
        let call = Call::new(handler, self.state.clone());
        self.definition
            .functions
            .push(Function::Endpoint(what.into(), call));
        self
    }

    /// A function that a stream feeds.
    pub fn consumer<A, H>(mut self, what: Consumer, handler: H) -> Self
    where
        H: Handler<Delivery, S, A>,
    {
        let call = Call::new(handler, self.state.clone());
        self.definition
            .functions
            .push(Function::Consumer(Box::new(what), call));
        self
    }

    /// A stream that the service publishes to and does not consume; `setup` makes it.
    pub fn stream(mut self, stream: Stream) -> Self {
        self.definition.streams.push(stream);
        self
    }

    /// Background work that starts, runs and drains with `function`. Where no other function has
    /// that name, the work is a function by itself: it is served, or left out, by its name, and
    /// discovery does not tell it.
    ///
    /// It gets the connection, the database and the word to stop; it returns soon after that word.
    /// An error is logged, and the work begins again after a pause.
    pub fn task<F, Fut>(mut self, function: impl Into<String>, work: F) -> Self
    where
        F: Fn(Background, S) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let state = self.state.clone();
        let run = Arc::new(move |background| work(background, state.clone()).boxed());
        self.definition.tasks.push(Task {
            function: function.into(),
            run,
        });
        self
    }

    /// Switches failpoints on: faults at the steps of a consumer's path, for tests.
    #[cfg(feature = "testing")]
    pub fn failpoints(mut self, failpoints: crate::failpoint::Failpoints) -> Self {
        self.definition.failpoints = failpoints;
        self
    }

    /// Forgets the types, checks the definition.
    ///
    /// # Errors
    /// Every mistake in it at once, each a sentence.
    pub fn build(self) -> std::result::Result<Definition, crate::RunError> {
        let problems = validate::problems(&self.definition);
        if problems.is_empty() {
            Ok(self.definition)
        } else {
            Err(crate::RunError::misuse(problems))
        }
    }
}

impl Definition {
    /// Keeps the named functions only.
    ///
    /// # Errors
    /// The names that are none, with those that there are.
    pub fn only(mut self, names: &[String]) -> std::result::Result<Self, crate::RunError> {
        if names.is_empty() {
            return Ok(self);
        }
        let unknown: Vec<String> = names
            .iter()
            .filter(|name| self.function_names().all(|known| known != *name))
            .map(|name| {
                let known: Vec<&str> = self.function_names().collect();
                format!(
                    "{} has no function {name:?}; it has: {}",
                    self.name,
                    known.join(", ")
                )
            })
            .collect();
        if !unknown.is_empty() {
            return Err(crate::RunError::misuse(unknown));
        }
        self.retain(|name| names.iter().any(|kept| kept == name));
        Ok(self)
    }

    /// Leaves the named functions out.
    #[cfg(feature = "cli")]
    pub(crate) fn without(&mut self, names: &[String]) {
        self.retain(|name| names.iter().all(|left| left != name));
    }

    /// Keeps functions and background work by their names. The streams of the others stay known: what is kept may
    /// publish to them, and its spans go by their subjects.
    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        for function in std::mem::take(&mut self.functions) {
            if keep(function.name()) {
                self.functions.push(function);
            } else if let Function::Consumer(consumer, _) = function {
                self.streams.push(consumer.stream);
            }
        }
        self.tasks.retain(|task| keep(&task.function));
    }

    /// The names of the functions, in the order of their registration; then those that are
    /// background work only.
    pub fn function_names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.functions.iter().map(Function::name).collect();
        for task in &self.tasks {
            if !names.contains(&task.function.as_str()) {
                names.push(&task.function);
            }
        }
        names.into_iter()
    }

    /// Whether one of the functions cannot do without the service's database. Background work by
    /// itself does not say, and may do without.
    pub(crate) fn needs_database(&self) -> bool {
        let needs = |function: &Function| match function {
            Function::Endpoint(endpoint, call) => {
                let mut tasks = self.tasks.iter();
                let has_task = tasks.any(|task| task.function == endpoint.name);
                call.needs.database || call.needs.transaction || has_task
            }
            Function::Consumer(..) => true,
        };
        self.database.is_some() && self.functions.iter().any(needs)
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The service's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Every stream that the service needs, those of its consumers included, each once.
    pub(crate) fn all_streams(&self) -> Vec<&Stream> {
        let mut streams: Vec<&Stream> = Vec::new();
        let consumed = self.functions.iter().filter_map(|function| match function {
            Function::Consumer(consumer, _) => Some(&consumer.stream),
            Function::Endpoint(..) => None,
        });
        for stream in consumed.chain(&self.streams) {
            if streams.iter().all(|known| known.name() != stream.name()) {
                streams.push(stream);
            }
        }
        streams
    }

    pub(crate) fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.functions.iter().filter_map(|function| match function {
            Function::Consumer(consumer, _) => Some(&**consumer),
            Function::Endpoint(..) => None,
        })
    }
}

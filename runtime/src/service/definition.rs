//! A service whose types are forgotten.

#[cfg(feature = "testing")]
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::background::Background;
use super::consumer::Consumer;
use super::dev_listener::DevListener;
use super::endpoint::queue_group::QueueGroup;
#[cfg(feature = "testing")]
use super::failpoint;
use super::stream::Stream;
use super::trigger::Trigger;
use crate::config::PoolSizes;
use crate::error::Result;
use crate::error::run_error::RunError;
use crate::function::database::{DatabaseDefinition, Tables};
use crate::function::handler::layer::Layers;
use crate::function::template::Template;
use crate::nats::client::access::Access;

/// A service whose types are forgotten: what the runtime runs.
#[derive(Clone, Default)]
pub struct Definition {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) queue_group: QueueGroup,
    pub(crate) functions: Vec<Arc<dyn Trigger>>,
    /// Around the functions.
    pub(crate) layers: Layers,
    pub(crate) tasks: Vec<Task>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) database: Option<Arc<dyn DatabaseDefinition>>,
    pub(crate) tables: Tables,
    pub(crate) pool_sizes: PoolSizes,
    pub(crate) dev_listener: Option<Arc<DevListener>>,
    pub(crate) min_server: Option<semver::Version>,
    /// How long what is in flight may take at a stop.
    pub(crate) drain: Option<Duration>,
    /// The services beside it in the same program.
    pub(crate) beside: Vec<Definition>,
    /// Whether functions may publish only what they declare.
    pub(crate) checks_access: bool,
    #[cfg(feature = "testing")]
    pub(crate) failpoints: failpoint::Failpoints,
}

/// Background work that runs and drains with a function.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) function: String,
    pub(crate) uses: Vec<Access>,
    pub(crate) run: Arc<dyn Fn(Background) -> BoxFuture<'static, Result<()>> + Send + Sync>,
}

impl Definition {
    /// Puts the layers of each service around its functions, which nobody else has yet.
    pub(super) fn surround(&mut self) {
        for function in &mut self.functions {
            let Some(function) = Arc::get_mut(function) else {
                unreachable!("a service under construction is nobody else's")
            };
            function.surround(&self.layers);
        }
        self.beside.iter_mut().for_each(Self::surround);
    }

    /// Keeps the named functions only.
    ///
    /// # Errors
    /// The names that are none, with those that there are.
    pub fn only(mut self, names: &[String]) -> std::result::Result<Self, RunError> {
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
            return Err(RunError::misuse(unknown));
        }
        self.keep(|name| names.iter().any(|kept| kept == name));
        Ok(self)
    }

    /// Keeps functions and background work by their names. The streams of the others stay known: what is kept may
    /// publish to them, and its spans go by their subjects.
    pub(crate) fn keep(&mut self, keep: impl Fn(&str) -> bool) {
        for function in std::mem::take(&mut self.functions) {
            if keep(function.name()) {
                self.functions.push(function);
            } else if let Some(consumer) = function.consumer() {
                self.streams.push(consumer.stream.clone());
            }
        }
        self.tasks.retain(|task| keep(&task.function));
    }

    /// A service with one of its functions alone.
    pub(crate) fn alone(&self, name: &str) -> Self {
        let mut alone = self.clone();
        alone.keep(|other| other == name);
        alone
    }

    /// The names of the functions, in the order of their registration; then those that are
    /// background work only.
    pub fn function_names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.functions.iter().map(|it| it.name()).collect();
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
        let mut functions = self.functions.iter();
        functions.any(|function| self.needs_database_for(&**function))
    }

    /// Whether this one cannot.
    pub(crate) fn needs_database_for(&self, function: &dyn Trigger) -> bool {
        let (needs, mut tasks) = (function.needs(), self.tasks.iter());
        self.database.is_some()
            // A consumer's inbox lies in it.
            && (function.consumer().is_some()
                || needs.database
                || needs.transaction
                || tasks.any(|task| task.function == function.name()))
    }

    /// The subjects of its functions and streams, as they were written.
    pub(crate) fn templates(&self) -> Vec<Template> {
        let asked = self.functions.iter().filter_map(|it| it.subject());
        let streams = self.all_streams();
        let stored = streams.iter().flat_map(|stream| stream.templates());
        let stored = stored.map(String::as_str);
        asked
            .chain(stored)
            .filter_map(|text| Template::parse(text).ok())
            .collect()
    }

    /// This service and those beside it ([`Service::beside`](crate::Service::beside)), each as a
    /// definition of its own, this one first.
    pub fn into_services(mut self) -> Vec<Self> {
        let beside = std::mem::take(&mut self.beside);
        let beside = beside.into_iter().flat_map(Self::into_services);
        std::iter::once(self).chain(beside).collect()
    }

    /// Whether it or a service beside it has a database.
    #[cfg(feature = "cli")]
    pub(crate) fn any_has_database(&self) -> bool {
        self.database.is_some() || self.beside.iter().any(Self::any_has_database)
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
        for stream in self.described_streams() {
            if streams.iter().all(|known| known.name() != stream.name()) {
                streams.push(stream);
            }
        }
        streams
    }

    /// The same, each as often as it is described.
    pub(crate) fn described_streams(&self) -> impl Iterator<Item = &Stream> {
        let consumed = self.consumers().map(|consumer| &consumer.stream);
        consumed.chain(&self.streams)
    }

    /// What functions and background work do with their connection, by their names.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (&str, Access)> {
        let functions = self.functions.iter();
        let functions = functions.flat_map(|it| {
            let accesses = it.accesses().into_iter();
            accesses.map(|access| (it.name(), access))
        });
        let tasks = self.tasks.iter();
        let tasks =
            tasks.flat_map(|it| it.uses.iter().map(|access| (&*it.function, access.clone())));
        functions.chain(tasks)
    }

    pub(crate) fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.functions.iter().filter_map(|it| it.consumer())
    }

    /// Whether the consumer's function takes the transaction in which its inbox notes what is done.
    pub(crate) fn has_inbox(&self, consumer: &Consumer) -> bool {
        let is_it = |it: &Consumer| it.name == consumer.name && !it.natural_key;
        let mut functions = self.functions.iter();
        functions.any(|it| it.consumer().is_some_and(is_it) && it.needs().transaction)
    }

    /// The functions that one kind of trigger calls.
    #[cfg(feature = "testing")]
    pub(crate) fn triggers<T: Trigger>(&self) -> impl Iterator<Item = &T> {
        let functions = self.functions.iter();
        functions.filter_map(|it| (&**it as &dyn Any).downcast_ref())
    }
}

//! What can make a service.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::Source;
use crate::error::run_error::RunError;
use crate::service::{Definition, Service};

/// What can make a service: a closure `|| Service`, or an `async fn` that takes a configuration and
/// returns a `Result<Service<S>, E>`, whose error goes into a `Box<dyn Error + Send + Sync>`.
///
/// It is implemented for both; nobody implements it by hand. `K` tells them apart, inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not make a service",
    label = "neither a closure that returns a Service nor an async fn from a configuration to one",
    note = "a closure: `natsfn::main(|| Service::new(\"hello\", \"0.1.0\").endpoint(\"hello\", hello))`",
    note = "a function: `async fn shop(config: Config) -> natsfn::Result<Service<Shop>>`, where Config implements serde::Deserialize"
)]
pub trait MakeService<K> {
    /// The configuration that it takes.
    type Config: DeserializeOwned;

    /// Erases the types.
    fn into_make(self) -> Make<Self::Config>;
}

/// Makes a service from a configuration; the service's types are erased.
pub struct Make<C> {
    /// The service's name and version, if they are known without a configuration.
    pub(in crate::cli) identity: Option<(String, String)>,
    /// Whether the service is known to keep data in a database.
    pub(in crate::cli) has_database: bool,
    pub(in crate::cli) make: Box<dyn FnOnce(C) -> Making>,
}

/// A service that is being made.
type Making = LocalBoxFuture<'static, Result<Definition, RunError>>;

/// Marks a closure that makes a service.
pub struct Plain<S>(std::marker::PhantomData<S>);

/// Marks a function that makes a service from a configuration.
pub struct Configured<C>(std::marker::PhantomData<C>);

/// The configuration of a service that has no keys of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoKeys {}

impl<F, S> MakeService<Plain<S>> for F
where
    F: FnOnce() -> Service<S>,
    S: Clone + Send + Sync + 'static,
{
    type Config = NoKeys;

    fn into_make(self) -> Make<NoKeys> {
        let service = self();
        let identity = (
            service.definition.name.clone(),
            service.definition.version.clone(),
        );
        let has_database = service.definition.any_has_database();
        let built = service.build();

        Make {
            identity: Some(identity),
            has_database,
            make: Box::new(|_| std::future::ready(built).boxed_local()),
        }
    }
}

impl<F, C, Fut, S, E> MakeService<Configured<C>> for F
where
    F: FnOnce(C) -> Fut + 'static,
    C: DeserializeOwned + 'static,
    Fut: Future<Output = Result<Service<S>, E>> + 'static,
    E: Into<Source>,
    S: Clone + Send + Sync + 'static,
{
    type Config = C;

    fn into_make(self) -> Make<C> {
        let make = async |config| match self(config).await {
            Ok(service) => service.build(),
            Err(error) => Err(RunError::from(error.into())),
        };
        let make = |config: C| make(config).boxed_local();
        Make {
            identity: None,
            has_database: false,
            make: Box::new(make),
        }
    }
}

//! The services of a program: the one that was made, and those beside it.

pub(super) mod make;

use crate::config::{NatsConfig, RuntimeConfig};
use crate::error::run_error::RunError;
use crate::service::Definition;

/// The services of a program, its own first. Their functions have different names.
pub(super) struct Program {
    services: Vec<Definition>,
}

impl Program {
    pub(super) fn new(definition: Definition, config: &RuntimeConfig) -> Self {
        let mut services = definition.into_services();
        for service in &mut services {
            service.pool_sizes = config.pool_sizes(service.pool_sizes);
        }
        Self { services }
    }

    /// The service that gives the program its version, and answers for it.
    pub(super) fn main(&self) -> &Definition {
        &self.services[0]
    }

    pub(super) fn services(&self) -> &[Definition] {
        &self.services
    }

    pub(super) fn services_mut(&mut self) -> &mut [Definition] {
        &mut self.services
    }

    /// # Errors
    /// The program has no service of this name.
    pub(super) fn named(&self, name: &str) -> Result<&Definition, RunError> {
        let mut services = self.services.iter();
        services
            .find(|service| service.name() == name)
            .ok_or_else(|| {
                let names: Vec<&str> = self.services.iter().map(Definition::name).collect();
                RunError::misuse([format!(
                    "there is no service {name:?}; there are: {}",
                    names.join(", ")
                )])
            })
    }

    pub(super) fn function_names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().flat_map(Definition::function_names)
    }

    /// The functions that are served, for a person.
    pub(super) fn served(&self) -> String {
        match self.function_names().collect::<Vec<_>>().as_slice() {
            [] => "nothing".to_owned(),
            served => served.join(", "),
        }
    }

    /// The service that has such a function.
    pub(super) fn service_of(&self, function: &str) -> Option<&Definition> {
        let has = |service: &&Definition| service.function_names().any(|name| name == function);
        self.services.iter().find(has)
    }

    /// Whether a service keeps data in a database; one alone may.
    pub(super) fn has_database(&self) -> bool {
        self.services
            .iter()
            .any(|service| service.database.is_some())
    }

    pub(super) fn needs_database(&self) -> bool {
        self.services.iter().any(Definition::needs_database)
    }

    /// Keeps the named functions, or all if none is named.
    ///
    /// # Errors
    /// The unknown names, and the valid ones.
    pub(super) fn only(&mut self, names: &[String]) -> Result<(), RunError> {
        self.check_names(names)?;
        if !names.is_empty() {
            for service in &mut self.services {
                service.keep(|name| names.iter().any(|kept| kept == name));
            }
        }
        Ok(())
    }

    /// Leaves the named functions out.
    pub(super) fn without(&mut self, names: &[String]) {
        for service in &mut self.services {
            service.keep(|name| names.iter().all(|left_out| left_out != name));
        }
    }

    /// # Errors
    /// The unknown names, and the valid ones.
    pub(super) fn check_names(&self, names: &[String]) -> Result<(), RunError> {
        let unknown = names.iter().filter(|name| self.service_of(name).is_none());
        let lines: Vec<String> = unknown
            .map(|name| {
                let known: Vec<&str> = self.function_names().collect();
                let name_of_program = self.main().name();
                format!(
                    "{name_of_program} has no function {name:?}; it has: {}",
                    known.join(", ")
                )
            })
            .collect();
        if lines.is_empty() {
            Ok(())
        } else {
            Err(RunError::misuse(lines))
        }
    }

    /// The services of which something is served; the program's own where nothing is.
    pub(super) fn into_served(self) -> Vec<Definition> {
        let is_served = |service: &Definition| service.function_names().next().is_some();
        let nothing = self.function_names().next().is_none();
        let services = self.services.into_iter().enumerate();
        let served = services.filter(|(at, service)| is_served(service) || (nothing && *at == 0));
        served.map(|(_, service)| service).collect()
    }

    /// Those that have something to set up, and the program's own.
    pub(super) fn to_set_up(&self) -> impl Iterator<Item = &Definition> {
        let services = self.services.iter().enumerate();
        let has_something =
            |service: &Definition| service.database.is_some() || !service.all_streams().is_empty();
        let found = services.filter(move |(at, service)| *at == 0 || has_something(service));
        found.map(|(_, service)| service)
    }

    /// The login with which a command works for a service, and the section that it stands in.
    pub(super) fn login(
        &self,
        config: &RuntimeConfig,
        command: &str,
        service: &Definition,
    ) -> (NatsConfig, String) {
        let name = service.name();
        if name == self.main().name() {
            config.first_of(&[command, name])
        } else {
            config.first_of(&[&format!("{name}-{command}"), name, command])
        }
    }
}

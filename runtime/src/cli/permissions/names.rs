//! What the users of a program are called. nats-server knows a user by its name alone, and the variable
//! of its password has no more than letters, digits and `_`: both differ from those of every other user.

use std::collections::{BTreeMap, BTreeSet};

use super::Program;
use crate::service::Definition;

/// The names of all users of a program.
#[derive(Default)]
pub(super) struct Names {
    taken: Taken,
    /// By service, and which of its users.
    names: BTreeMap<(String, User), String>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum User {
    Setup,
    Dead,
    Function(String),
    /// Serves several functions, or all.
    Several,
}

impl Names {
    /// Commands come first: their users are known to operators by these names. Functions give way.
    pub(super) fn of(program: &Program) -> Self {
        let mut names = Self::default();
        for service in program.to_set_up() {
            names.command(program, service, User::Setup, "setup");
        }
        for service in program.services() {
            if service.consumers().next().is_some() {
                names.command(program, service, User::Dead, "dead");
            }
        }
        for service in program.services() {
            for function in service.function_names() {
                names.add(service, User::Function(function.to_owned()), function);
            }
        }
        for service in program.services() {
            let name = service.name();
            let free = names.taken.one(name, [format!("{name}-all")]);
            names.names.insert((name.to_owned(), User::Several), free);
        }
        names
    }

    fn command(&mut self, program: &Program, service: &Definition, user: User, command: &str) {
        let is_main = service.name() == program.main().name();
        let name = match is_main {
            true => command.to_owned(),
            false => format!("{}-{command}", service.name()),
        };
        self.add(service, user, &name);
    }

    fn add(&mut self, service: &Definition, user: User, name: &str) {
        let longer = format!("{}-{name}", service.name());
        let free = self.taken.one(name, [longer]);
        self.names.insert((service.name().to_owned(), user), free);
    }

    /// None where there is no such user.
    pub(super) fn get(&self, service: &Definition, user: User) -> Option<&str> {
        let found = self.names.get(&(service.name().to_owned(), user));
        found.map(String::as_str)
    }
}

/// The variables of the names that are taken.
#[derive(Default)]
pub(super) struct Taken(BTreeSet<String>);

impl Taken {
    /// Takes the name, or the first of others that is free.
    pub(super) fn one(&mut self, name: &str, others: impl IntoIterator<Item = String>) -> String {
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let mut all = std::iter::once(name.to_owned())
            .chain(others)
            .chain(numbered);
        all.find(|name| self.0.insert(variable(name)))
            .unwrap_or_default()
    }
}

/// The variable of a user's password.
pub(super) fn variable(user: &str) -> String {
    format!("PASSWORD_{}", user.to_uppercase().replace('-', "_"))
}

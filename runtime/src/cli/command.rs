//! A program's own subcommands, beside those that every service has.

mod execute;
mod traced;

use std::fmt::Display;

use clap::ArgMatches;
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, TryFutureExt};

use super::say;
use crate::config::Loaded;
use crate::error::Source;
use crate::error::run_error::RunError;
use crate::nats::connect::connect_as;
use crate::nats::jetstream::Nats;

/// What one of a program's own commands works with. See [`App::command`](super::App::command).
pub struct CommandContext<C> {
    pub(super) name: String,
    pub(super) loaded: Result<Loaded<C>, RunError>,
}

impl<C> CommandContext<C> {
    /// The configuration. A command that does not ask for it works where it is incomplete or wrong.
    ///
    /// # Errors
    /// Every mistake in it; exit code 2.
    pub fn config(&self) -> Result<&Loaded<C>, RunError> {
        self.loaded.as_ref().map_err(RunError::clone)
    }

    /// Connects with these `credentials`, or with the login of `nats` where there are none. It does
    /// not wait for a server that is away.
    ///
    /// # Errors
    /// As [`CommandContext::config`]; the server is away, or refuses the login.
    pub async fn connect(&self, credentials: &str) -> Result<Nats, RunError> {
        let (nats, section) = self.config()?.runtime.first_of(&[credentials]);
        let name = format!("{} {credentials}", self.name);
        Ok(connect_as(&nats, &name, &section).await?.0)
    }

    /// Prints a line. Where stdout cannot be written, the program ends with exit code 1; a reader
    /// that has closed it is no failure.
    pub fn say(&self, line: impl Display) {
        say(line);
    }
}

/// A command: what it may be given, and what it does.
pub(super) struct OwnCommand<C> {
    pub(super) definition: clap::Command,
    pub(super) run: Box<Run<C>>,
}

type Run<C> = dyn FnOnce(&ArgMatches, CommandContext<C>) -> Running;
type Running = LocalBoxFuture<'static, Result<(), RunError>>;

impl<C: 'static> OwnCommand<C> {
    pub(super) fn new<A, F, Fut, E>(name: String, run: F) -> Self
    where
        A: clap::Args,
        F: FnOnce(A, CommandContext<C>) -> Fut + 'static,
        Fut: Future<Output = Result<(), E>> + 'static,
        E: Into<Source>,
    {
        let run = |matches: &ArgMatches, context| match A::from_arg_matches(matches) {
            Ok(arguments) => {
                let done = run(arguments, context);
                done.map_err(|error| RunError::from(error.into()))
                    .boxed_local()
            }
            // clap has matched them by the same definition.
            Err(error) => {
                let error = RunError::misuse([error.to_string()]);
                std::future::ready(Err(error)).boxed_local()
            }
        };
        Self {
            definition: A::augment_args(clap::Command::new(name)),
            run: Box::new(run),
        }
    }
}

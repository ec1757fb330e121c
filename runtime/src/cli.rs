//! The command line that every service gets: `dev`, `serve`, `health`, `setup`, `dead`, `invoke`; and a
//! program's own commands.

mod arguments;
mod command;
mod dead;
mod dev;
mod health;
mod host;
mod invoke;
mod output;
mod permissions;
mod program;
mod serve;
mod setup;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::config::RuntimeConfig;
use crate::error::Source;
use crate::error::run_error::RunError;
use command::OwnCommand;
use host::board::Board;
use output::{complain, say};
use program::Program;

pub use clap;
pub use command::CommandContext;
pub use dev::{DevDirectory, Plan};
pub use output::exit::Exit;
pub use program::make::{Make, MakeService};

/// Runs the command line for a service: a closure that makes the service, or an `async fn` that makes
/// it from a configuration.
///
/// The configuration is any type that serde can read. Its keys come from the file `./<name>.toml` and
/// from variables `<NAME>_...`. The name is the service's, or the program's if the service is made from
/// the configuration.
pub fn main<K, M: MakeService<K>>(make: M) -> Exit {
    App::new(make).run()
}

/// A program of one service, and those [beside](crate::Service::beside) it: as [`main`], with more options.
///
/// ```no_run
/// use natsfn::cli::App;
/// use natsfn::Service;
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     greeting: Option<String>, // the key `greeting`, the variable `SHOP_GREETING`
/// }
///
/// async fn shop(config: Config) -> natsfn::Result<Service> {
///     let greeting = config.greeting.unwrap_or_default();
///     Ok(Service::new("shop", "1.0.0").description(greeting))
/// }
///
/// fn main() -> natsfn::Exit {
///     App::new(shop).name("shop", "1.0.0").data_directory(".shop").run()
/// }
/// ```
#[must_use = "an app does nothing until it is run"]
pub struct App<C> {
    make: Make<C>,
    name: String,
    version: String,
    data: PathBuf,
    plan: Box<dev::MakePlan>,
    commands: Vec<OwnCommand<C>>,
}

impl<C: DeserializeOwned> App<C> {
    /// A program of the service that `make` makes. `make` runs in most commands, and with `dev --watch` in the
    /// process that watches too, so it must have no effects: those belong in functions and background work.
    pub fn new<K, M: MakeService<K, Config = C>>(make: M) -> Self {
        let make = make.into_make();
        let (name, version) = make.identity.clone().unwrap_or_else(|| {
            (
                program_name(),
                format!("(natsfn {})", env!("CARGO_PKG_VERSION")),
            )
        });
        Self {
            make,
            name,
            version,
            data: PathBuf::from(".natsfn"),
            plan: Box::new(|dev| Ok(Plan::new(dev.server()))),
            commands: Vec::new(),
        }
    }

    /// The name of the configuration's file and variables, and the program's version.
    pub fn name(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.name = name.into();
        self.version = version.into();
        self
    }

    /// Where `dev` keeps its data unless `--data` says otherwise: `.natsfn` by default.
    pub fn data_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = directory.into();
        self
    }

    /// What the service needs of `dev`: a configuration of nats-server with users, logins, more keys
    /// for `dev.json`.
    pub fn dev(mut self, plan: impl Fn(&DevDirectory) -> Result<Plan, RunError> + 'static) -> Self {
        self.plan = Box::new(plan);
        self
    }

    /// Declares that the service keeps data in a database, if only its configuration shows that. A
    /// missing address is then reported together with the other mistakes of the configuration.
    pub fn database(mut self) -> Self {
        self.make.has_database = true;
        self
    }

    /// A command of the program's own, beside `dev` and `serve`. Its arguments are any type that
    /// derives `clap::Args`, by the crate `clap` that is [re-exported](clap) here; that type's
    /// documentation is what `--help` says.
    ///
    /// An error is printed as those of the other commands are, and the exit code is the same: 2
    /// where it is [`RunError::misuse`], else 1. It may be any error that goes into a
    /// `Box<dyn Error + Send + Sync>`.
    ///
    /// ```no_run
    /// use natsfn::cli::{App, CommandContext, clap};
    /// use natsfn::{Result, Service};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Config {
    ///     greeting: String,
    /// }
    ///
    /// /// Greet somebody
    /// #[derive(clap::Args)]
    /// struct Greet {
    ///     /// Whom
    ///     name: String,
    /// }
    ///
    /// async fn greet(arguments: Greet, context: CommandContext<Config>) -> Result<()> {
    ///     let greeting = &context.config()?.own.greeting;
    ///     context.say(format_args!("{greeting}, {}!", arguments.name));
    ///     Ok(())
    /// }
    ///
    /// async fn shop(_: Config) -> Result<Service> {
    ///     Ok(Service::new("shop", "1.0.0"))
    /// }
    ///
    /// fn main() -> natsfn::Exit {
    ///     App::new(shop).name("shop", "1.0.0").command("greet", greet).run() // shop greet Bob
    /// }
    /// ```
    pub fn command<A, F, Fut, E>(mut self, name: impl Into<String>, run: F) -> Self
    where
        A: clap::Args,
        F: FnOnce(A, CommandContext<C>) -> Fut + 'static,
        Fut: Future<Output = Result<(), E>> + 'static,
        E: Into<Source>,
        C: 'static,
    {
        self.commands.push(OwnCommand::new(name.into(), run));
        self
    }

    /// Runs the command that the command line names.
    pub fn run(self) -> Exit {
        output::checked(self.run_command())
    }
}

/// What a command works on.
struct Job {
    program: Program,
    config: RuntimeConfig,
    /// The program's name, for messages and files.
    name: String,
    /// Where its services say how they are.
    board: Arc<Board>,
}

impl Job {
    /// The database's address; an error if it is missing and the service has a database.
    fn database_url(&self) -> Result<Option<&str>, RunError> {
        let url = self.config.database_url();
        if self.program.has_database() && url.is_none() {
            return Err(RunError::misuse([format!(
                "database.url: is missing, and {} keeps its data in a database",
                self.name
            )]));
        }
        Ok(url)
    }
}
fn program_name() -> String {
    let program = std::env::args_os().next().map(PathBuf::from);
    let stem = program.as_deref().and_then(Path::file_stem);
    stem.map_or_else(
        || "natsfn".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

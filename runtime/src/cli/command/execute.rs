//! Runs the command that the command line names, with the configuration that it needs.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ArgMatches;
use serde::de::DeserializeOwned;

use super::CommandContext;
use super::traced::{self, Traced};
use crate::cli::arguments::{self, Arguments, Command, Said};
use crate::cli::dev::Joined;
use crate::cli::host::board::Board;
use crate::cli::host::listener::HealthListener;
use crate::cli::output::complain;
use crate::cli::program::Program;
use crate::cli::{App, Exit, Job, dead, dev, health, invoke, permissions, serve, setup};
use crate::config::{Loaded, Purpose, load_for};
use crate::error::run_error::{Reason, RunError};

impl<C: DeserializeOwned> App<C> {
    pub(in crate::cli) fn run_command(self) -> Exit {
        let own = self.commands.iter().map(|own| &own.definition);
        let said = match arguments::parse(&self.name, &self.version, &self.data, own) {
            Ok(said) => said,
            Err(exit) => return exit,
        };
        let name = self.name.clone();
        let passed_over = self.passed_over(&said);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let ran = runtime.map_err(RunError::from).and_then(|runtime| {
            let ran = runtime.block_on(async {
                match said {
                    Said::Usual(arguments) => self.execute(arguments).await,
                    Said::Own {
                        config,
                        name,
                        matches,
                    } => self.execute_own(config, &name, &matches).await,
                }
            });
            // Do not wait for work that a function has left behind.
            runtime.shutdown_background();
            ran
        });
        match ran {
            Ok(exit) => exit,
            Err(mut error) => {
                if let Some(file) = passed_over.filter(|_| error.reason() == Reason::Unreached) {
                    let file = file.display();
                    error = error.and(format!("the NATS of `dev` is taken with --config {file}"));
                }
                for line in error.lines() {
                    complain(format_args!("{name}: {line}"));
                }
                Exit::new(error.exit_code())
            }
        }
    }

    async fn execute(self, arguments: Arguments) -> Result<Exit, RunError> {
        let is_dev = matches!(arguments.command, Command::Dev(_) | Command::DevInstance(_));
        let file = self.configuration_file(arguments.config.as_ref(), is_dev);
        let check = checked();
        let joined = match &arguments.command {
            Command::DevInstance(instance) => Some(Joined::read(&instance.joined)?),
            _ => None,
        };
        let purpose = match &arguments.command {
            // Whether the named functions need it is known once the service is made.
            Command::Serve { functions } if !functions.is_empty() => check,
            Command::Serve { .. } | Command::Setup(_) => Purpose {
                needs_database: self.make.has_database,
                ..check
            },
            Command::Dev(_) => Purpose {
                database_variable: Some(dev::DATABASE_URL),
                ..check
            },
            Command::DevInstance(_) => Purpose {
                defaults: joined
                    .as_ref()
                    .map(|it| it.values.clone())
                    .unwrap_or_default(),
                ..check
            },
            Command::Dead { .. }
            | Command::Health
            | Command::Invoke(_)
            | Command::Permissions(_) => check,
        };
        let load = |purpose| load_for::<C>(&self.name, file.as_deref(), purpose);
        let (mut loaded, wanted) = RunError::both(load(purpose.clone()), traced::wanted())?;
        if matches!(arguments.command, Command::Health) {
            return health::health(&loaded.runtime).await;
        }
        let mut prepared = None;
        if let Command::Dev(dev) = &arguments.command {
            let config = arguments.config.as_deref();
            let it = dev::Prepared::new(dev, config, &self.data, &*self.plan)?;
            // Once more, with what the plan says.
            let defaults = it.values();
            loaded = load(Purpose {
                defaults,
                ..purpose
            })?;
            prepared = Some(it);
        }
        if let Some(joined) = joined {
            joined.override_in(&mut loaded.runtime);
        }
        let log = loaded.runtime.log.format;
        let listens = match &arguments.command {
            Command::Serve { .. } => true,
            // Two instances at once cannot have it.
            Command::Dev(dev) => !dev.watch,
            _ => false,
        };
        let listen = loaded.runtime.health.listen.filter(|_| listens);
        let telemetry = Traced::start(wanted, &self.name, &self.version, log, listen.is_some())?;
        let board = Arc::<Board>::default();
        // From before the service is made, until telemetry has stopped.
        let _listener = listen
            .map(|at| HealthListener::open(at, board.clone(), telemetry.metrics()))
            .transpose()?;
        let ran = self.usual(arguments, loaded, prepared, board).await;
        // Last, so that it also sends what the shutdown records.
        telemetry.stop().await;
        ran
    }

    /// One of the program's own, which may do without a configuration that is right.
    async fn execute_own(
        mut self,
        config: Option<PathBuf>,
        name: &str,
        matches: &ArgMatches,
    ) -> Result<Exit, RunError> {
        let file = self.configuration_file(config.as_ref(), false);
        let loaded = load_for::<C>(&self.name, file.as_deref(), checked());
        let log = loaded.as_ref().map(|loaded| loaded.runtime.log.format);
        let telemetry = Traced::start(
            traced::wanted()?,
            &self.name,
            &self.version,
            log.unwrap_or_default(),
            false,
        )?;
        let context = CommandContext {
            name: self.name,
            loaded,
        };
        self.commands
            .retain(|own| own.definition.get_name() == name);
        let ran = match self.commands.pop() {
            Some(own) => (own.run)(matches, context).await,
            None => Err(RunError::new(format!("there is no command {name}"))),
        };
        telemetry.stop().await;
        ran.map(|()| Exit::SUCCESS)
    }

    /// The file that the command line names, else the one in this directory, else the one that `dev`
    /// wrote; `dev` itself does not read that one.
    fn configuration_file(&self, said: Option<&PathBuf>, is_dev: bool) -> Option<PathBuf> {
        if said.is_some() {
            return said.cloned();
        }
        let [own, of_dev] = self.usual_files();
        [Some(own), Some(of_dev).filter(|_| !is_dev)]
            .into_iter()
            .flatten()
            // Also what cannot be read: a folder, which Docker makes where the file to be mounted is missing, or a
            // link to nowhere.
            .find(|file| file.symlink_metadata().is_ok())
    }

    /// The file in this directory, and the one that `dev` writes.
    fn usual_files(&self) -> [PathBuf; 2] {
        let file = format!("{}.toml", self.name);
        let of_dev = self.data.join(&file);
        [PathBuf::from(file), of_dev]
    }

    /// The file that `dev` wrote, where the one in this directory is taken instead.
    fn passed_over(&self, said: &Said) -> Option<PathBuf> {
        let (Said::Usual(Arguments { config, .. }) | Said::Own { config, .. }) = said;
        let [own, of_dev] = self.usual_files();
        (config.is_none() && own.is_file() && of_dev.is_file()).then_some(of_dev)
    }

    async fn usual(
        self,
        arguments: Arguments,
        loaded: Loaded<C>,
        prepared: Option<dev::Prepared>,
        board: Arc<Board>,
    ) -> Result<Exit, RunError> {
        let definition = (self.make.make)(loaded.own).await?;
        let job = Job {
            program: Program::new(definition, &loaded.runtime),
            config: loaded.runtime,
            name: self.name,
            board,
        };
        if let Some(prepared) = prepared {
            return Box::pin(dev::dev(job, prepared, &loaded.own_values)).await;
        }
        match arguments.command {
            Command::Dev(_) | Command::Health => unreachable!("it was handled"),
            Command::DevInstance(instance) => Box::pin(dev::instance(job, &instance)).await,
            Command::Serve { functions } => serve::serve(job, &functions).await,
            Command::Setup(arguments) => Box::pin(setup::setup(job, arguments)).await,
            Command::Dead { service, command } => {
                dead::dead(job, service.as_deref(), command).await
            }
            Command::Invoke(invoke) => invoke::invoke(job, invoke).await,
            Command::Permissions(arguments) => permissions::permissions(job, &arguments),
        }
    }
}

/// What every command checks in a configuration.
fn checked() -> Purpose {
    Purpose {
        #[cfg(feature = "sea-orm")]
        check_database: Some(crate::sql::check_address),
        ..Purpose::default()
    }
}

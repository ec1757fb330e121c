//! The arguments of the command line.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use async_nats::{HeaderName, HeaderValue};
use clap::{ArgGroup, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::Exit;
use super::output::{complain, printed};

#[derive(Parser)]
#[command(disable_help_subcommand = true)]
pub(super) struct Arguments {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Everything on one machine: nats-server, database, every function
    ///
    /// DATABASE_URL, or else database.url of the configuration, names a database to use instead of a
    /// SQLite file; NATS_SERVER names the nats-server to start instead of the one on PATH.
    Dev(Dev),
    /// One instance of the program, as `dev --watch` starts it
    #[command(hide = true)]
    DevInstance(DevInstance),
    /// Serve the named functions, or all
    Serve {
        /// Names as `nats micro info` shows them
        #[arg(value_name = "FUNCTION")]
        functions: Vec<String>,
    },
    /// Ask the service that runs with this configuration whether it is ready, at its health.listen
    ///
    /// Exit code 0: it is. 1: it is not, or nobody answers. For the health check of a container.
    Health,
    /// Make what this version needs: schema, streams, consumers
    Setup(Setup),
    /// The dead letters: messages that could not be handled
    Dead {
        /// A service beside the program's own
        #[arg(long, global = true, value_name = "NAME")]
        service: Option<String>,
        #[command(subcommand)]
        command: Dead,
    },
    /// One request, or one message for a stream's function
    Invoke(Invoke),
    /// The least that the users of NATS need, for nats-server's configuration
    ///
    /// Without names: a user for each function, one for all of them, and those of `setup` and `dead`.
    /// With names: the user of a process that serves them.
    Permissions(Permissions),
}

#[derive(Args)]
pub(super) struct Setup {
    /// Only say what would be done
    #[arg(long)]
    pub(super) plan: bool,
    /// Make a stream or a consumer this service's own, whoever made it
    #[arg(long, value_name = "NAME")]
    pub(super) take_over: Vec<String>,
    /// Let a stream lose subjects, limits become shorter and replicas fewer
    #[arg(long, value_name = "STREAM")]
    pub(super) shrink: Vec<String>,
    /// For how long to try to reach NATS; with 0 it is tried once
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(super) wait: u32,
}

#[derive(Args)]
pub(super) struct Permissions {
    /// Names as `nats micro info` shows them
    #[arg(value_name = "FUNCTION")]
    pub(super) functions: Vec<String>,
    /// What the user of these functions is called
    #[arg(long, value_name = "NAME", requires = "functions")]
    pub(super) user: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct Dev {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// The port on which a task listens, 3000 if there is none; with 0 every port is a free one
    #[arg(long, value_name = "N")]
    pub(super) port: Option<u16>,
    /// A function to leave out, because you serve it yourself
    #[arg(long, value_name = "FUNCTION")]
    pub(super) without: Vec<String>,
    /// Fetch nats-server without a question where there is none
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Build again when the sources change, and swap the program without losing a request
    ///
    /// A change of the configuration's file starts the same program anew. nats-server and the database stay. A
    /// build that fails, and a program that does not start, leave the one before at work; what its setup changed
    /// in the database and the streams stays. `health.listen` is not listened on. What the program plans for
    /// `dev` itself, such as the configuration of nats-server, needs a new start.
    #[arg(long)]
    pub(super) watch: bool,
    /// More arguments for `cargo build`: those that `cargo run` was given, such as '--features F'
    #[arg(
        long,
        value_name = "ARGUMENTS",
        requires = "watch",
        allow_hyphen_values = true
    )]
    pub(super) cargo: Option<String>,
}

#[derive(Args)]
pub(super) struct DevInstance {
    /// What `dev` says of NATS and the database
    #[arg(long, value_name = "FILE")]
    pub(super) joined: PathBuf,
    /// Where `dev` is told that this serves; it has ended when that connection does
    #[arg(long, value_name = "ADDRESS")]
    pub(super) parent: SocketAddr,
    #[arg(long, value_name = "FUNCTION")]
    pub(super) without: Vec<String>,
    /// The task whose listener is stdin
    #[arg(long, value_name = "TASK")]
    pub(super) listener: Option<String>,
    /// NATS for browsers
    #[arg(long, value_name = "URL")]
    pub(super) websocket: Option<String>,
}

#[derive(Subcommand)]
pub(super) enum Dead {
    /// List them, one line each
    List,
    /// Show one in full, as JSON
    Show {
        /// As `dead list` shows it
        #[arg(value_name = "ID")]
        id: u64,
    },
    /// Publish again under the original subject, for the function that failed
    #[command(group(ArgGroup::new("which").args(["ids", "all"]).required(true)))]
    Replay {
        /// As `dead list` shows them
        #[arg(value_name = "ID")]
        ids: Vec<u64>,
        /// Every dead letter of the service
        #[arg(long)]
        all: bool,
        /// Call every function of the stream, also those that have handled it
        #[arg(long)]
        to_all: bool,
    },
    /// Delete for good
    Drop {
        /// As `dead list` shows them
        #[arg(value_name = "ID", required = true)]
        ids: Vec<u64>,
    },
}

#[derive(Args)]
pub(super) struct Invoke {
    /// The credentials to use
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// A header of the request or message; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = header)]
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// A function whose subject has no {...}, or a subject
    #[arg(value_name = "FUNCTION|SUBJECT")]
    pub(super) what: String,
    /// The payload; empty by default
    #[arg(value_name = "JSON")]
    pub(super) json: Option<String>,
}

/// A header as the `nats` command line takes it, too.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => (name.trim(), value.trim()),
        _ => return Err("a header is NAME:VALUE".to_owned()),
    };
    let name = name
        .parse()
        .map_err(|_| format!("{name:?} is no name of a header: it needs ASCII without spaces"))?;
    let value = value
        .parse()
        .map_err(|_| "a value of a header is one line".to_owned())?;
    Ok((name, value))
}

/// What the command line says.
pub(super) enum Said {
    /// A command that every service has.
    Usual(Arguments),
    /// One of the program's own.
    Own {
        config: Option<PathBuf>,
        name: String,
        matches: ArgMatches,
    },
}

/// Reads the command line, or prints clap's error or help.
pub(super) fn parse<'a>(
    name: &str,
    version: &str,
    data: &Path,
    own: impl IntoIterator<Item = &'a clap::Command>,
) -> Result<Said, Exit> {
    let data = format!("The data directory [default: {}]", data.display());
    let config = format!("The configuration [default: ./{name}.toml, else the one that dev wrote]");
    let mut command = Arguments::command()
        .name(name.to_owned())
        .version(version.to_owned())
        .mut_arg("config", |argument| argument.help(config))
        .mut_subcommand("dev", |dev| {
            dev.mut_arg("data", |argument| argument.help(data))
        });
    let mut names = Vec::new();
    for own in own {
        if command.find_subcommand(own.get_name()).is_some() {
            let own = own.get_name();
            complain(format_args!("{name}: the command {own} is there already"));
            return Err(Exit::new(2));
        }
        names.push(own.get_name());
        command = command.subcommand(own.clone());
    }
    let said = command.try_get_matches().and_then(|mut matches| {
        let config = matches.get_one("config").cloned();
        if matches
            .subcommand_name()
            .is_some_and(|said| names.contains(&said))
            && let Some((name, matches)) = matches.remove_subcommand()
        {
            return Ok(Said::Own {
                config,
                name,
                matches,
            });
        }
        Arguments::from_arg_matches(&matches).map(Said::Usual)
    });
    said.map_err(|error| {
        printed(error.print().and_then(|()| io::stdout().flush()));
        Exit::new(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

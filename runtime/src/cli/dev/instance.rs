//! One instance of the program, as `dev --watch` starts it: in a process of its own, whose parent has nats-server and
//! the database, and the listener of a task.

use std::fmt::Display;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::pin;
use std::thread;

use figment::value::{Dict, Value};

use super::{as_served, set_up, words};
use crate::cli::arguments::DevInstance;
use crate::cli::host::stop::Stop;
use crate::cli::{Exit, Job, host};
use crate::config::{Database, RuntimeConfig};
use crate::error::run_error::RunError;
use crate::service::dev_listener::DevListener;

/// What the parent says: the values of its plan, which are defaults, and how to reach NATS and the database.
pub(in crate::cli) struct Joined {
    pub(in crate::cli) values: Dict,
    runtime: RuntimeConfig,
}

impl Joined {
    pub(in crate::cli) fn read(file: &Path) -> Result<Self, RunError> {
        let failed = |error: &dyn Display| RunError::while_doing(file.display(), error);
        let text = fs::read_to_string(file).map_err(|error| failed(&error))?;
        let mut values: Dict = toml::from_str(&text).map_err(|error| failed(&error))?;
        let mut runtime = Dict::new();
        for key in RuntimeConfig::KEYS {
            runtime.extend(values.remove_entry(key));
        }
        let runtime = Value::from(runtime).deserialize();
        let runtime = runtime.map_err(|error| failed(&error))?;
        Ok(Self { values, runtime })
    }

    /// Puts in what the parent says; the rest of the program's own configuration holds.
    pub(in crate::cli) fn override_in(self, config: &mut RuntimeConfig) {
        let RuntimeConfig {
            nats,
            database,
            credentials,
            invoke,
            ..
        } = self.runtime;
        config.nats = nats;
        config.database = Database {
            url: database.url,
            ..config.database.clone()
        };
        config.credentials = credentials;
        config.invoke = invoke;
    }
}

/// Sets up, serves, and tells the parent.
pub(in crate::cli) async fn instance(job: Job, arguments: &DevInstance) -> Result<Exit, RunError> {
    let mut parent = TcpStream::connect(arguments.parent)?;
    end_with(parent.try_clone()?);
    let mut stop = pin!(Stop::listen()?.requested());
    tokio::select! {
        set_up = set_up(&job, &job.config) => set_up?,
        () = &mut stop => return Ok(Exit::SUCCESS),
    }
    let listener = arguments.listener.as_deref();
    let open = listener
        .map(|task| inherited(task, arguments.websocket.clone()))
        .transpose()?;
    let program = as_served(job.program, &arguments.without, open);
    let words = words(&job.name, &program);
    let drains = program.services().iter();
    let drain = drains.map(|service| job.config.drain(service.drain)).max();
    let drain = drain.unwrap_or_default().as_secs_f64();
    let served = host::serve(program, &job.config, &job.board, stop, || {
        writeln!(parent, "{drain} {words}")?;
        Ok(())
    });
    served.await.map(|()| Exit::SUCCESS)
}

/// Ends this process when the parent does, of whatever it dies: it takes nats-server with it.
fn end_with(mut parent: TcpStream) {
    thread::spawn(move || {
        // The parent says nothing.
        let _ = parent.read(&mut [0]);
        std::process::exit(1);
    });
}

/// The parent's listener of a task. The instance before and the next one have the same, so no connection is refused.
fn inherited(task: &str, websocket: Option<String>) -> io::Result<DevListener> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(DevListener {
        task: task.to_owned(),
        port: listener.local_addr()?.port(),
        listener,
        websocket,
    })
}

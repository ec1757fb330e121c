//! The data directory of `dev`: for one run at a time, private to its owner, with its secrets.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::listener;
use super::private::write_private;
use crate::config::Secret;
use crate::error::run_error::RunError;
use crate::server::{Ports, ServerConfig};
use crate::service::dev_listener::DevListener;

const SECRETS: &str = "secrets.json";

/// Where a run of `dev` keeps its data. While this lives, another run on it is refused.
pub struct DevDirectory {
    path: PathBuf,
    ports: Ports,
    listener_port: u16,
    _lock: File,
}

impl DevDirectory {
    /// Creates the directory if it is missing, and locks it.
    pub(super) fn open(path: &Path, ports: Ports, listener_port: u16) -> Result<Self, RunError> {
        let unwritable = |error: io::Error| {
            let path = path.display();
            RunError::new(format!(
                "the data directory {path} cannot be written: {error}; choose another with --data"
            ))
        };
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                // Its secrets do not belong into a repository.
                .and_then(|()| fs::write(path.join(".gitignore"), "*\n"))
                .map_err(unwritable)?;
        }
        let path_found = path.canonicalize().map_err(unwritable)?;
        let lock_file = path_found.join("lock");
        let mut options = File::options();
        let mut lock = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock_file)
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                let _ = lock.read_to_string(&mut process);
                return Err(RunError::new(format!(
                    "another dev uses {} (process {}): stop it, or choose another directory with --data",
                    path.display(),
                    process.trim()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .map_err(unwritable)?;
        writeln!(lock, "{}", std::process::id()).map_err(unwritable)?;
        Ok(Self {
            path: path_found,
            ports,
            listener_port,
            _lock: lock,
        })
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a listener for a task, on the port from the command line or a free one. `dev.json` has its
    /// URL under the task's name.
    ///
    /// # Errors
    /// Another program has the port.
    pub fn listener(&self, task: &str) -> Result<DevListener, RunError> {
        listener::open(task, self.listener_port)
    }

    /// A nats-server with its data here and the ports that the command line asks for.
    pub fn server(&self) -> ServerConfig {
        ServerConfig::new(&self.path).ports(self.ports)
    }

    /// A random secret, made once for each directory and name.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn secret(&self, name: &str) -> Result<Secret, RunError> {
        self.secret_made_by(name, || Ok(Secret::random()?.expose().to_owned()))
    }

    /// A secret of another form, such as a key, made once for each directory and name.
    ///
    /// # Errors
    /// It cannot be made, or the directory cannot be read or written.
    pub fn secret_made_by(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<String>,
    ) -> Result<Secret, RunError> {
        let file = self.path.join(SECRETS);
        let failed = |error: &dyn std::fmt::Display| {
            RunError::new(format!(
                "the secrets in {} cannot be kept: {error}",
                file.display()
            ))
        };
        let mut secrets: BTreeMap<String, String> = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(&error)),
        };
        if let Some(secret) = secrets.get(name) {
            return Ok(secret.as_str().into());
        }
        let secret = make().map_err(|error| failed(&error))?;
        secrets.insert(name.to_owned(), secret.clone());
        let bytes = serde_json::to_vec_pretty(&secrets)?;
        write_private(&file, &bytes).map_err(|error| failed(&error))?;
        Ok(secret.into())
    }

    /// The address of a SQLite database here.
    pub(super) fn sqlite(&self, name: &str) -> String {
        let file = self
            .path
            .join(format!("{name}.db"))
            .to_string_lossy()
            .into_owned();
        // These have a meaning of their own in a URL.
        let file = file
            .replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23");
        format!("sqlite://{file}?mode=rwc")
    }
}

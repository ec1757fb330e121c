//! The directories that PostgreSQL works in, and its programs where its account can run them.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use crate::account::{self, Account};
use crate::{Result, workspace};

/// A directory for one server. The lock shows that it is in use.
pub(crate) struct ServerDirectory {
    pub(crate) path: PathBuf,
    pub(crate) lock: File,
    /// The directory of PostgreSQL's programs, where the account may run them.
    pub(crate) programs: PathBuf,
    is_fresh: bool,
}

impl ServerDirectory {
    /// A fresh directory. Removes what earlier, killed runs have left behind.
    pub(crate) fn fresh(account: Account, postgres: &Path) -> Result<Self> {
        let base = Base::open(account)?;
        base.sweep()?;
        let directory = base.directory.join(format!("test-{}", process::id()));
        base.claim(account, directory, postgres, true)
    }

    /// The directory of this name, the same each time.
    pub(crate) fn lasting(account: Account, name: &str, postgres: &Path) -> Result<Self> {
        let base = Base::open(account)?;
        let directory = base.directory.join(name);
        base.claim(account, directory, postgres, false)
    }
}

impl Drop for ServerDirectory {
    fn drop(&mut self) {
        if self.is_fresh {
            // The next run removes what is left.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The directory that holds the servers' directories, while no other xtask makes or removes any.
struct Base {
    directory: PathBuf,
    _lock: File,
}

impl Base {
    fn open(account: Account) -> Result<Self> {
        let mut directory = workspace::target("xtask");
        fs::create_dir_all(&directory)?;
        if !account.may_use(&directory)? {
            directory = env::temp_dir().join("natsfn-xtask");
            create_own(&directory)?;
        }
        let lock = File::create(directory.join(".lock"))?;
        lock.lock()?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    /// Removes the fresh directories whose server is gone.
    fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let is_fresh = entry.file_name().to_string_lossy().starts_with("test-");
            // The server holds the lock too: it may end a little later than its xtask.
            let in_use =
                || File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_err());
            if is_fresh && !in_use() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn claim(
        &self,
        account: Account,
        directory: PathBuf,
        postgres: &Path,
        is_fresh: bool,
    ) -> Result<ServerDirectory> {
        let programs = self.programs(account, postgres)?;
        fs::create_dir_all(&directory)?;
        let lock = File::create(directory.join("lock"))?;
        if lock.try_lock().is_err() {
            return Err(format!(
                "{} is in use by another PostgreSQL: stop that one first",
                directory.display()
            )
            .into());
        }
        account.own(&directory)?;
        Ok(ServerDirectory {
            path: directory,
            lock,
            programs,
            is_fresh,
        })
    }

    /// The directory of the programs or, if the account cannot enter a fetched package, of a copy of it.
    fn programs(&self, account: Account, postgres: &Path) -> Result<PathBuf> {
        let mut program = postgres.canonicalize()?;
        if !account.may_use(&program)? {
            let store = workspace::target("tools/store").canonicalize()?;
            let inside = program.strip_prefix(&store).map_err(|_| {
                format!(
                    "the user that PostgreSQL runs as cannot reach {}: move it to where all users can",
                    program.display()
                )
            })?;
            let package = inside.iter().next().unwrap_or_default();
            self.copy(&store.join(package), &self.directory.join(package))?;
            program = self.directory.join(inside);
        }
        let programs = program
            .parent()
            .ok_or("PostgreSQL's programs are in no directory")?;
        Ok(programs.to_owned())
    }

    fn copy(&self, package: &Path, copy: &Path) -> Result<()> {
        if copy.exists() {
            return Ok(());
        }
        let aside = self.directory.join(".aside");
        let script = r#"rm -rf "$2" && cp -r "$1" "$2" && chmod -R a+rX "$2""#;
        let status = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(package)
            .arg(&aside)
            .status()?;
        if !status.success() {
            return Err(format!(
                "{} cannot be copied to {}",
                package.display(),
                copy.display()
            )
            .into());
        }
        Ok(fs::rename(&aside, copy)?)
    }
}

/// Creates a directory in a shared one. It must be our own, or another user could put anything in it.
fn create_own(directory: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        outcome => return Ok(outcome?),
    }
    let found = fs::symlink_metadata(directory)?;
    if found.is_dir() && found.uid() == account::user_id()? {
        return Ok(());
    }
    Err(format!(
        "{} belongs to somebody else: remove it",
        directory.display()
    )
    .into())
}

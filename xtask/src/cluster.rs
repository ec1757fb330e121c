//! A database cluster: the files of a PostgreSQL server, and the password of its superuser.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::Result;
use crate::account::Account;
use crate::server_directory::ServerDirectory;

/// A cluster in a server's directory.
pub(crate) struct Cluster {
    pub(crate) data: PathBuf,
    pub(crate) password: String,
}

impl Cluster {
    /// Creates the cluster if it does not exist. One that `lasts` is synced to disk.
    pub(crate) fn open(directory: &ServerDirectory, account: Account, lasts: bool) -> Result<Self> {
        let data = directory.path.join("data");
        let password_file = directory.path.join("password");
        if !data.exists() {
            // Created under another name: a killed `initdb` leaves what looks like a complete cluster.
            let aside = directory.path.join("data.aside");
            for leftover in [fs::remove_dir_all(&aside), fs::remove_file(&password_file)] {
                leftover.or_else(|error| match error.kind() {
                    ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
            write_password(&password_file)?;
            account.own(&password_file)?;
            let mut initdb = account.command(directory.programs.join("initdb"));
            initdb.args(["--username=postgres", "--auth=scram-sha-256"]);
            initdb.args(["--encoding=UTF8", "--locale=C"]);
            initdb.args((!lasts).then_some("--no-sync"));
            initdb.arg("--pgdata").arg(&aside);
            initdb.arg("--pwfile").arg(&password_file);
            initdb.current_dir(&directory.path).stdin(Stdio::null());
            let output = initdb.output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("initdb failed:\n{said}").into());
            }
            fs::rename(&aside, &data)?;
        }
        let password = fs::read_to_string(&password_file)?;
        Ok(Self { data, password })
    }
}

/// A random password: every user of the machine can reach the port.
fn write_password(path: &Path) -> Result<()> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(password.as_bytes())?)
}

//! The account that PostgreSQL runs as: it refuses to run as root, which tests in a container usually do.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// The current account, or, instead of root, `postgres` or `nobody`.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    instead_of_root: Option<(u32, u32)>,
}

impl Account {
    /// Chooses the account for PostgreSQL.
    pub(crate) fn choose() -> Result<Self> {
        if user_id()? != 0 {
            return Ok(Self {
                instead_of_root: None,
            });
        }
        let passwd = fs::read_to_string("/etc/passwd")?;
        let account = ids(&passwd, "postgres").or_else(|| ids(&passwd, "nobody"));
        let account = account.ok_or(
            "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`: \
             create one, or run this as an ordinary user",
        )?;
        Ok(Self {
            instead_of_root: Some(account),
        })
    }

    /// A command that runs as this account. It stops when this process ends, even if this process is killed.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((user, group)) = self.instead_of_root {
            command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".into(),
            ]);
        }
        // On SIGINT, PostgreSQL closes its connections and shuts down cleanly.
        command.arg("--pdeathsig=INT").arg("--").arg(program);
        command
    }

    /// Makes the account the owner of a file or a directory.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        match self.instead_of_root {
            Some((user, group)) => Ok(chown(path, Some(user), Some(group))?),
            None => Ok(()),
        }
    }

    /// Whether the account may enter a directory or run a program: only root can enter a clone below `/root`.
    pub(crate) fn may_use(self, path: &Path) -> Result<bool> {
        let mut test = self.command("test");
        let status = test
            .arg("-x")
            .arg(path)
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let status = status
            .map_err(|error| format!("setpriv does not run (Debian: util-linux): {error}"))?;
        Ok(status.success())
    }
}

/// The id of the current user. The standard library has no function for it, but every Unix has `id`.
pub(crate) fn user_id() -> Result<u32> {
    let output = Command::new("id").arg("-u").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

/// The ids of a user and of its group, as `/etc/passwd` has them.
fn ids(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let mut entries = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entries.find(|entry| entry[0] == name)?;
    Some((entry.get(2)?.parse().ok()?, entry.get(3)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn ids_are_those_of_exactly_this_user() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:P,,,:/v:/bin/sh\n";
        assert_eq!(ids(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids(passwd, "nobody"), None);
    }
}

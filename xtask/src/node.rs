//! Node.js and npm, which build and test the page.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::toolbox::NODE;
use crate::{Result, workspace};

/// Node.js, and the npm that belongs to it.
pub(crate) struct Node {
    program: PathBuf,
    npm: PathBuf,
}

impl Node {
    /// The Node.js that `NODE_BIN` names, else the one on PATH.
    pub(crate) fn find() -> Result<Self> {
        let program = NODE.provide().map_err(|error| {
            format!("{error} Debian 13 has it as nodejs and npm, https://nodejs.org for others.")
        })?;
        let beside = program.with_file_name("npm");
        let on_path = || {
            let path = env::var_os("PATH").unwrap_or_default();
            let mut programs = env::split_paths(&path).map(|directory| directory.join("npm"));
            programs.find(|program| program.is_file())
        };
        let npm = Some(beside).filter(|npm| npm.is_file()).or_else(on_path);
        let npm = npm.ok_or("npm is missing, which comes with Node.js (Debian: npm)")?;
        Ok(Self { program, npm })
    }

    /// A command of npm on the page's package.
    pub(crate) fn npm(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut npm = Command::new(&self.npm);
        npm.arg("--prefix").arg(workspace::root().join("web"));
        npm.args(arguments).stdin(Stdio::null());
        npm.env("PATH", self.path());
        npm
    }

    /// A command that runs a program of an installed package. It ends with the thread that starts it.
    pub(crate) fn package(&self, script: &str) -> Command {
        let web = workspace::root().join("web");
        let mut node = Command::new("setpriv");
        node.args(["--pdeathsig", "TERM", "--"]).arg(&self.program);
        node.arg(web.join("node_modules").join(script));
        node.current_dir(web).stdin(Stdio::null());
        node.env("PATH", self.path());
        node
    }

    /// Its version, which the built page depends on.
    pub(crate) fn version(&self) -> Result<String> {
        Ok(NODE.check(&self.program)?.to_string())
    }

    /// PATH with this `node` first, so that packages start it and no other.
    fn path(&self) -> OsString {
        let path = env::var_os("PATH").unwrap_or_default();
        let own = self.program.parent().map(PathBuf::from);
        let all = own.into_iter().chain(env::split_paths(&path));
        env::join_paths(all).unwrap_or(path)
    }
}

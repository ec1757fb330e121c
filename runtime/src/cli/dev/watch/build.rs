//! How cargo builds the running program again.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::cargo::{Message, Workspace, cargo, lines, paths};
use super::sources::Sources;
use crate::cli::output::complain;
use crate::config::variable;
use crate::error::run_error::RunError;

/// Builds a program with cargo.
pub(in crate::cli::dev) struct Build {
    /// The arguments of cargo.
    arguments: Vec<OsString>,
    sources: Sources,
    program: PathBuf,
    /// The configuration's file, which need not be there.
    configuration: PathBuf,
    /// Which program was handed on last, and its configuration: the file is another one after each build.
    handed_on: [Option<Identity>; 2],
}

/// What a build made.
pub(super) struct Built {
    pub(super) program: PathBuf,
    /// Whether it or its configuration is another than the last.
    pub(super) is_new: bool,
}

/// A file's number, and when it was written.
type Identity = (u64, i64, i64);

impl Build {
    /// Builds the running program as `cargo run` has, which takes a moment where nothing has changed. `more` are the
    /// arguments of `cargo build` that cannot be known here. The `configuration` is watched as the sources are.
    ///
    /// # Errors
    /// It is no program of a package here, or cannot be built with these arguments.
    pub(in crate::cli::dev) async fn of_this_program(
        more: Option<&str>,
        configuration: &Path,
    ) -> Result<Self, RunError> {
        let running = std::env::current_exe()?;
        let package = variable("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let manifest = package.map(|package| package.join("Cargo.toml"));
        let metadata = ["metadata", "--no-deps", "--format-version", "1"].map(OsString::from);
        let of_package = manifest
            .iter()
            .flat_map(|manifest| ["--manifest-path".into(), manifest.into()]);
        let (said, _) = cargo(metadata.into_iter().chain(of_package)).await?;
        let workspace: Workspace = lines(&said)
            .next()
            .ok_or_else(|| RunError::new("--watch needs a package: `cargo metadata` failed"))?;
        let mut arguments = workspace
            .arguments(&running, manifest.as_deref())
            .ok_or_else(|| {
                let (running, root) = (running.display(), workspace.workspace_root.display());
                RunError::new(format!(
                    "--watch builds the program with cargo, and {running} is of no package in {root}: start it there \
                     with `cargo run -- dev --watch`"
                ))
            })?;
        let more = more.into_iter().flat_map(str::split_whitespace);
        arguments.extend(more.map(OsString::from));
        let mut sources = Sources::new(workspace.target_directory);
        for file in ["Cargo.toml", "Cargo.lock"] {
            sources.file(workspace.workspace_root.join(file));
        }
        let configuration = std::path::absolute(configuration)?;
        sources.file(&configuration);
        let before = identity(&running);
        let mut build = Self {
            arguments,
            sources,
            handed_on: [before, identity(&configuration)],
            program: running,
            configuration,
        };
        build.build().await.map_err(|error| {
            RunError::new(format!(
                "{error}: name in --cargo what `cargo run` was given, as in --cargo '--features F'"
            ))
        })?;
        let built = identity(&build.program);
        if before != built {
            complain(
                "cargo built another program than this one: name in --cargo what `cargo run` was given, as in \
                 --cargo '--features F'",
            );
        }
        build.handed_on[0] = built;
        Ok(build)
    }

    /// What was built last.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Builds whenever the sources have changed, and hands on the program, or why there is none.
    pub(super) async fn again_and_again(mut self, programs: mpsc::Sender<Result<Built, RunError>>) {
        loop {
            self.sources.changed().await;
            let configuration = identity(&self.configuration);
            let built = self.build().await.map(|()| {
                let now = [identity(&self.program), configuration];
                let is_new = std::mem::replace(&mut self.handed_on, now) != now;
                self.sources.handed_on(is_new);
                Built {
                    program: self.program.clone(),
                    is_new,
                }
            });
            if programs.send(built).await.is_err() {
                return;
            }
        }
    }

    async fn build(&mut self) -> Result<(), RunError> {
        let began = SystemTime::now();
        let (said, is_built) = cargo(&self.arguments).await?;
        for message in lines::<Message>(&said) {
            let package = message.manifest_path.parent().unwrap_or(Path::new(""));
            if message.package_id.contains("path+file://") {
                self.sources.file(&message.manifest_path);
                if message.target.is("custom-build") {
                    self.sources.file(&message.target.src_path);
                } else {
                    self.sources.folder_of(&message.target.src_path, package);
                }
            }
            if let Some(program) = message.executable {
                self.program = program;
            }
        }
        // What else it is made of, such as the files of `include_str!`.
        let dependencies = fs::read_to_string(self.program.with_extension("d"));
        for file in paths(&dependencies.unwrap_or_default()) {
            self.sources.file(file);
        }
        self.sources.built(began);
        if is_built {
            Ok(())
        } else {
            Err(RunError::new("`cargo build` failed"))
        }
    }
}

fn identity(program: &Path) -> Option<Identity> {
    let metadata = fs::metadata(program).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

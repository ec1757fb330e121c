//! A Docker engine: the machine's, or one that is unpacked for the suite alone.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::account::user_id;
use crate::suite::run;
use crate::{Result, workspace};

/// Its own project, so that what a developer runs by the same file stays as it is.
const PROJECT: &str = "chat-test";

/// The shipped file, and what the tests need beside it.
const FILES: [&str; 2] = ["docker-compose.yml", "xtask/compose/override.yml"];

/// On an engine of our own builds use the machine's network as it is.
const BUILD: &str = "xtask/compose/build.yml";

/// What runs containers.
pub(crate) struct Engine {
    /// The directory of an engine of our own.
    ours: Option<PathBuf>,
}

/// A running engine. What the suite has begun ends when this is dropped, or this process ends in whatever way.
pub(crate) struct Running {
    guard: Child,
    alive: Option<ChildStdin>,
}

impl Engine {
    /// The machine's engine, else one of our own.
    ///
    /// # Errors
    /// There is none, and this is not root on Debian.
    pub(crate) fn find() -> Result<Self> {
        let version = Command::new("docker")
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if version.is_ok_and(|status| status.success()) {
            return Ok(Self { ours: None });
        }
        let is_debian = Path::new("/etc/apt/sources.list.d/debian.sources").exists();
        if user_id()? != 0 || !is_debian {
            return Err(
                "there is no Docker engine: start one, or run this as root on Debian 12, where one is unpacked \
                 for this suite alone"
                    .into(),
            );
        }
        let directory = workspace::target("compose");
        run(script("engine.sh").arg(directory.join("engine")))?;
        run(script("base.sh").arg(directory.join("bookworm.tar")))?;
        Ok(Self {
            ours: Some(directory),
        })
    }

    /// Whether it is of our own, which reaches no registry of images.
    pub(crate) fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// The root file system that the stand-ins begin with.
    pub(crate) fn base(&self) -> Option<PathBuf> {
        Some(self.ours.as_ref()?.join("bookworm.tar"))
    }

    /// Starts it, or takes the machine's. In a namespace nothing leads out of this machine.
    pub(crate) fn start(&self, namespace: Option<&str>) -> Result<Running> {
        let mut guard = match &self.ours {
            Some(directory) => {
                let mut daemon = script("daemon.sh");
                daemon.arg(directory).args(namespace);
                daemon
            }
            None => script("down.sh"),
        };
        self.equip(&mut guard);
        let mut guard = guard.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let running = Running {
            alive: guard.stdin.take(),
            guard,
        };
        if line.trim() == "ready" {
            return Ok(running);
        }
        Err("dockerd does not start; target/compose/dockerd.log says why".into())
    }

    /// A command of Compose, on the suite's own project.
    pub(crate) fn compose(&self) -> Command {
        let mut compose = self.docker();
        compose.arg("compose");
        compose
    }

    /// A command of Docker.
    pub(crate) fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        self.equip(&mut docker);
        docker
    }

    /// The same command, where it reaches the published ports.
    pub(crate) fn within(&self, namespace: &str, command: &Command) -> Command {
        let mut within = match self.ours {
            Some(_) => {
                let mut within = Command::new("ip");
                within.args(["netns", "exec", namespace]);
                within.arg(command.get_program());
                within
            }
            None => Command::new(command.get_program()),
        };
        within.args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                within.env(name, value);
            }
        }
        self.equip(&mut within);
        within
    }

    fn equip(&self, command: &mut Command) {
        let root = workspace::root();
        let build = self.ours.as_ref().map(|_| BUILD);
        let files = FILES.into_iter().chain(build);
        let files: Vec<_> = files
            .map(|file| root.join(file).display().to_string())
            .collect();
        command
            .env("COMPOSE_PROJECT_NAME", PROJECT)
            .env("COMPOSE_FILE", files.join(":"));
        let Some(directory) = &self.ours else {
            return;
        };
        let set = command
            .get_envs()
            .find_map(|(name, value)| (name == "PATH").then_some(value?.to_owned()));
        let path = set.or_else(|| env::var_os("PATH")).unwrap_or_default();
        let own = [directory.join("engine/bin")];
        let all = own.into_iter().chain(env::split_paths(&path));
        command
            .env("PATH", env::join_paths(all).unwrap_or(path))
            .env("DOCKER_CONFIG", directory.join("engine/config"))
            .env(
                "DOCKER_HOST",
                format!("unix://{}", directory.join("run/docker.sock").display()),
            );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The guard takes down everything once its standard input ends.
        self.alive = None;
        let _ = self.guard.wait();
    }
}

/// A script of this suite.
fn script(name: &str) -> Command {
    let mut script = Command::new("bash");
    script.arg(workspace::root().join("xtask/compose").join(name));
    script
}

//! The program `chat` as a process.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::wait::within;

/// A directory in which `chat` runs.
pub(crate) struct Place {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What a run that has ended said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that goes on until it is told to stop.
pub(crate) struct Lasting {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Place {
    /// One whose `dev` keeps its messages in SQLite.
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// One whose `dev` keeps its messages in the database of this URL.
    pub(crate) fn with_database(url: &str) -> Self {
        Self::new().variable("DATABASE_URL", url)
    }

    /// The same with a variable of the environment.
    pub(crate) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// The same with no variable more.
    pub(crate) fn without_variables(mut self) -> Self {
        self.variables.clear();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Nothing of our environment that `chat` might read.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for name in ["NATS_URL", "NATS_CREDS", "DATABASE_URL", "RUST_LOG"] {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        let output = within(self.command(arguments).output()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Starts a command that lasts, and waits for words that it says.
    pub(crate) async fn start(&self, arguments: &[&str], words: &str) -> Lasting {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lasting = Lasting { child, lines };
        lasting.says(words).await;
        lasting
    }

    /// Starts `dev` on free ports, with more arguments, and waits until it is ready.
    pub(crate) async fn dev(&self, arguments: &[&str]) -> Lasting {
        self.start(&[&["dev", "--port", "0"], arguments].concat(), "is ready")
            .await
    }

    /// What `dev` has written for other programs.
    pub(crate) fn addresses(&self) -> Value {
        let text = std::fs::read(self.path().join(".chat/dev.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

impl Said {
    /// The output as JSON, of a run that went well.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl Lasting {
    async fn says(&mut self, words: &str) {
        within(async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(words) {
                    return;
                }
            }
            panic!("it ended and never said {words:?}")
        })
        .await;
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ctrl-C; returns the exit code.
    pub(crate) async fn interrupt(mut self) -> Option<i32> {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .await
                .unwrap()
                .success()
        );
        within(self.child.wait()).await.unwrap().code()
    }
}

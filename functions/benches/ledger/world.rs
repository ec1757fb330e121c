//! chat as processes: `dev` without `persist`, and as many `persist` as a scenario wants.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use serde_json::Value;
use tempfile::TempDir;

use crate::Failure;

/// A running chat, in a directory of its own.
pub(crate) struct World {
    pub(crate) persists: Vec<Process>,
    pub(crate) dev: Process,
    addresses: Value,
    // Last, so that it is removed after the processes in it have ended.
    directory: TempDir,
}

impl World {
    pub(crate) async fn start(database: Option<&str>) -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("data");
        let mut dev = Process::start(
            Command::new(env!("CARGO_BIN_EXE_chat"))
                .args(["dev", "--port", "0", "--without", "persist", "--data"])
                .arg(&data)
                .envs(database.map(|url| ("DATABASE_URL", url))),
            &directory.path().join("dev.log"),
        )?;
        let addresses = addresses(&data, &mut dev).await?;
        Ok(Self {
            persists: Vec::new(),
            dev,
            addresses,
            directory,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Keeps the directory, so that a failure can be examined.
    pub(crate) fn keep(self) -> PathBuf {
        self.directory.keep()
    }

    pub(crate) fn database(&self) -> Result<&str, Failure> {
        self.addresses["database"]
            .as_str()
            .ok_or_else(|| "dev.json names no database".into())
    }

    /// Starts one more `persist`.
    pub(crate) fn serve_persist(&mut self) -> Result<(), Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .arg("--config")
            .arg(self.path().join("data/chat.toml"))
            .args(["serve", "persist"]);
        let persist = Process::start(&mut command, &self.path().join("persist.log"))?;
        self.persists.push(persist);
        Ok(())
    }

    /// Sends a signal to nats-server.
    pub(crate) fn signal_server(&self, signal: &str) -> Result<(), Failure> {
        let pid = std::fs::read_to_string(self.path().join("data/nats-server.pid"))?;
        send(signal, pid.trim())
    }

    /// Connects as a person, or as the trusted back end.
    pub(crate) async fn connect(&self, who: &str) -> Result<Client, Failure> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let login = match &self.addresses["users"][who] {
            Value::Null => &self.addresses[who],
            login => login,
        };
        let options = ConnectOptions::with_user_and_password(who.into(), text(&login["password"]))
            .custom_inbox_prefix(text(&login["inbox_prefix"]))
            .reconnect_delay_callback(|_| Duration::from_millis(50));
        Ok(options.connect(text(&self.addresses["nats"])).await?)
    }
}

async fn addresses(data: &Path, dev: &mut Process) -> Result<Value, Failure> {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        if let Ok(text) = std::fs::read_to_string(data.join("dev.json")) {
            return Ok(serde_json::from_str(&text)?);
        }
        if dev.child.try_wait()?.is_some() {
            return Err(std::fs::read_to_string(&dev.log)?.into());
        }
    }
}

/// A process that is killed (SIGKILL) when this is dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            // One person does what many do.
            .env("CHAT_SEND__RATE", "1000000")
            .env("CHAT_SEND__BURST", "1000000")
            .env("CHAT_HISTORY__RATE", "1000000")
            .env("CHAT_HISTORY__BURST", "1000000")
            .env("CHAT_HISTORY__IN_FLIGHT", "1000000")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    pub(crate) fn signal(&self, signal: &str) -> Result<(), Failure> {
        send(signal, &self.child.id().to_string())
    }

    /// Waits until the process ends.
    pub(crate) fn wait(&mut self) -> Result<(), Failure> {
        self.child.wait()?;
        Ok(())
    }

    /// The process's peak memory, in MiB, on a system with Linux's `/proc`.
    pub(crate) fn peak_mib(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// The memory that it has now, in MiB.
    pub(crate) fn mib(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(signal: &str, pid: &str) -> Result<(), Failure> {
    Command::new("kill").args([signal, pid]).status()?;
    Ok(())
}

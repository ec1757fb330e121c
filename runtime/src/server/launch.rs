//! Starts the process once and learns where it listens.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use super::config::{Ports, ServerConfig, quoted};
use super::{binary, stale};
use crate::error::run_error::{Reason, RunError};

/// Where a server listens, as URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients, `nats://...`.
    pub nats: String,
    /// For browsers, `ws://...`, where the configuration has that.
    pub websocket: Option<String>,
    /// For monitoring, `http://...`, where the configuration has that.
    pub monitor: Option<String>,
}

/// Everything that a start needs.
pub(super) struct Launcher {
    binary: PathBuf,
    data: PathBuf,
    variables: Vec<(String, String)>,
    ports: Ports,
    has_setpriv: bool,
}

/// The file that a server with this directory logs to.
pub(super) fn log_file(data: &Path) -> PathBuf {
    data.join("nats-server.log")
}

const HOST: &str = "127.0.0.1";

impl Launcher {
    /// Finds the program, writes the configuration, sees that the ports are free, and ends what a
    /// killed parent has left behind.
    pub(super) fn prepare(config: ServerConfig) -> Result<Self, RunError> {
        let binary = match &config.binary {
            Some(binary) => binary::check(binary)?,
            None => binary::find()?,
        };
        let unwritable = |error: io::Error| {
            let data = config.data.display();
            RunError::new(format!("the directory {data} cannot be written: {error}"))
        };
        fs::create_dir_all(&config.data).map_err(unwritable)?;
        let data = config.data.canonicalize().map_err(unwritable)?;
        fs::write(conf_file(&data), &config.text).map_err(unwritable)?;
        File::create(log_file(&data)).map_err(unwritable)?;
        stale::end(&pid_file(&data), &conf_file(&data));
        are_free(config.ports)?;
        let has_setpriv = binary::has_setpriv();
        Ok(Self {
            binary,
            data,
            variables: config.variables,
            ports: config.ports,
            has_setpriv,
        })
    }

    /// Starts the process. The thread that calls this must live as long as the process shall:
    /// `setpriv` ties the child to it.
    pub(super) fn spawn(&self) -> Result<Launch, String> {
        let failed = |error: io::Error| format!("nats-server cannot be started: {error}");
        // A file of an earlier process with the same id would be taken for this one's.
        let _ = fs::remove_dir_all(self.ports_directory());
        fs::create_dir_all(self.ports_directory()).map_err(failed)?;
        let mut log = File::options()
            .append(true)
            .open(log_file(&self.data))
            .map_err(failed)?;
        let log_start = log.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut command = if self.has_setpriv {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(&self.binary);
            command
        } else {
            Command::new(&self.binary)
        };
        command.arg("--config").arg(conf_file(&self.data));
        command.arg("--pid").arg(pid_file(&self.data));
        command.arg("--ports_file_dir").arg(self.ports_directory());
        command.envs(self.environment());
        // Ctrl-C in a terminal goes to the whole process group; the server has to outlive the
        // functions that drain.
        command.process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        let child = command.spawn().map_err(failed)?;
        let process = child.id();
        Ok(Launch {
            child,
            report: Report {
                ports_directory: self.ports_directory(),
                process,
                log: log_file(&self.data),
                log_start,
            },
        })
    }

    /// Ends a server that is no child of this process.
    pub(super) fn end_other(&self) {
        stale::end(&pid_file(&self.data), &conf_file(&self.data));
    }

    /// The program, for a person.
    pub(super) fn program(&self) -> std::path::Display<'_> {
        self.binary.display()
    }

    /// Keeps the ports that the first process has chosen for those that follow.
    pub(super) fn keep_ports(&mut self, addresses: &Addresses) {
        let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse().ok());
        let of = |url: &Option<String>| url.as_deref().and_then(port).unwrap_or_default();
        self.ports = Ports {
            client: port(&addresses.nats).unwrap_or_default(),
            websocket: of(&addresses.websocket),
            monitor: of(&addresses.monitor),
        };
    }

    fn ports_directory(&self) -> PathBuf {
        self.data.join("ports")
    }

    fn environment(&self) -> Vec<(String, String)> {
        let port = |port: u16| {
            if port == 0 {
                "-1".to_owned()
            } else {
                port.to_string()
            }
        };
        let mut variables = self.variables.clone();
        variables.extend(
            [
                ("HOST", quoted(HOST)),
                ("PORT", port(self.ports.client)),
                ("WEBSOCKET_PORT", port(self.ports.websocket)),
                ("MONITOR_PORT", port(self.ports.monitor)),
                ("STORE_DIR", quoted(&self.data.to_string_lossy())),
            ]
            .map(|(name, value)| (format!("NATS_CONF_{name}"), value)),
        );
        variables
    }
}

/// Puts another configuration in the place of the one that the process was started with.
pub(super) fn write_configuration(data: &Path, text: &str) -> io::Result<()> {
    fs::write(conf_file(data), text)
}

fn conf_file(data: &Path) -> PathBuf {
    data.join("nats.conf")
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("nats-server.pid")
}

/// Names every port that somebody else listens on.
fn are_free(ports: Ports) -> Result<(), RunError> {
    let uses = [
        (ports.client, "clients"),
        (ports.websocket, "WebSocket"),
        (ports.monitor, "monitoring"),
    ];
    let mut reason = Reason::Other;
    let mut busy = Vec::new();
    for (port, what) in uses.into_iter().filter(|(port, _)| *port != 0) {
        busy.extend(match TcpListener::bind((HOST, port)) {
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                reason = Reason::PortInUse;
                Some(format!("port {port} (NATS, {what}) is in use"))
            }
            Err(error) => Some(format!("port {port} (NATS, {what}) cannot be had: {error}")),
        });
    }
    if busy.is_empty() {
        Ok(())
    } else {
        Err(RunError::of(reason, busy.join("; ")))
    }
}

/// A process that was started and may not be ready yet.
pub(super) struct Launch {
    pub(super) child: Child,
    pub(super) report: Report,
}

/// Where a process says where it listens, or why it ended.
pub(super) struct Report {
    /// Made for this process.
    ports_directory: PathBuf,
    process: u32,
    log: PathBuf,
    log_start: u64,
}

#[derive(Deserialize)]
struct PortsFile {
    nats: Vec<String>,
    #[serde(default)]
    monitoring: Vec<String>,
    #[serde(default)]
    websocket: Vec<String>,
}

impl Report {
    /// Whether another process than the one that was started is the server.
    pub(super) fn is_of_another(&self) -> bool {
        self.ports_file()
            .is_some_and(|(_, process)| process != self.process)
    }

    /// The file `PROGRAM_PROCESS.ports`, and the process.
    fn ports_file(&self) -> Option<(PathBuf, u32)> {
        let mut files = fs::read_dir(&self.ports_directory).ok()?.flatten();
        files.find_map(|file| {
            let name = file.file_name().into_string().ok()?;
            let (_, process) = name.strip_suffix(".ports")?.rsplit_once('_')?;
            Some((file.path(), process.parse().ok()?))
        })
    }

    /// Where the server listens, once it does.
    pub(super) fn addresses(&self) -> Option<Addresses> {
        // The file may be there and not be whole yet.
        let (file, process) = self.ports_file()?;
        let ports: PortsFile = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        if process != self.process {
            return None;
        }
        let first = |urls: Vec<String>| urls.into_iter().next();
        Some(Addresses {
            nats: first(ports.nats)?,
            websocket: first(ports.websocket),
            monitor: first(ports.monitoring),
        })
    }

    /// What the process wrote last that says why it ended.
    pub(super) fn reason(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut log) = File::open(&self.log) {
            let _ = log
                .seek(SeekFrom::Start(self.log_start))
                .and_then(|_| log.read_to_end(&mut bytes));
        }
        let text = String::from_utf8_lossy(&bytes);
        let said = |mark: &str| text.lines().rfind(|line| line.contains(mark));
        let line = said("[FTL]")
            .or_else(|| said("nats-server: "))
            .or_else(|| text.lines().last());
        line.map_or("it said nothing", |line| {
            line.split("] ").last().unwrap_or(line)
        })
        .to_owned()
    }
}

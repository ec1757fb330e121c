//! A PostgreSQL server process: started, ready, stopped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::account::Account;
use crate::cluster::Cluster;
use crate::server_directory::ServerDirectory;

/// A server that listens on 127.0.0.1 only, asks for a password, and stops when this is dropped.
pub(crate) struct Server {
    /// The URL of the database `postgres`, as its superuser.
    pub(crate) url: String,
    /// The directory of the programs that it was started with.
    pub(crate) programs: PathBuf,
    account: Account,
    data: PathBuf,
    child: Child,
}

impl Server {
    /// Starts a server on a cluster and waits until it takes connections. Port 0 means any.
    /// The settings are PostgreSQL's own, as `name=value`.
    pub(crate) fn start(
        directory: &ServerDirectory,
        cluster: Cluster,
        account: Account,
        port: u16,
        settings: &[&str],
    ) -> Result<Self> {
        let Cluster { data, password } = cluster;
        let port = free(port)?;
        let log_file = directory.path.join("log");
        let log = File::create(&log_file)?;
        let mut postgres = account.command(directory.programs.join("postgres"));
        postgres
            .arg("-D")
            .arg(&data)
            .arg("-p")
            .arg(port.to_string());
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories="]
            .iter()
            .chain(settings)
        {
            postgres.arg("-c").arg(setting);
        }
        // The server inherits the lock, so its directory is in use until the server itself is gone.
        postgres
            .current_dir(&directory.path)
            .stdin(directory.lock.try_clone()?)
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut server = Self {
            url: format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres"),
            programs: directory.programs.clone(),
            account,
            child: postgres.spawn()?,
            data,
        };
        server.ready().map_err(|error| {
            format!(
                "PostgreSQL did not start: {error}\n{}",
                fs::read_to_string(&log_file).unwrap_or_default()
            )
        })?;
        Ok(server)
    }

    /// Waits until the server ends.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Waits until the server is ready. It writes its pid into the first line of a file and then `ready` into the
    /// eighth; `pg_ctl` waits for that too. The file of a killed server has another pid.
    fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let pid = self.child.id().to_string();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended ({status})").into());
            }
            let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
            let lines: Vec<&str> = file.lines().map(str::trim).collect();
            if lines.first() == Some(&pid.as_str()) && lines.get(7) == Some(&"ready") {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("it was not ready within a minute".into());
            }
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.account.command(self.programs.join("pg_ctl"));
        stop.args(["stop", "--silent", "--mode=fast", "--pgdata"])
            .arg(&self.data)
            .current_dir("/");
        let stopped = stop.stdin(Stdio::null()).stderr(Stdio::null()).status();
        if !stopped.is_ok_and(|status| status.success()) {
            // It has ended already, or it hangs.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The port, if it is free.
fn free(port: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
        format!("port {port} is not available ({error}): choose another with --port")
    })?;
    Ok(listener.local_addr()?.port())
}

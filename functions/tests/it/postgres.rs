//! A PostgreSQL of one test's own, to be torn down under it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait::until;

/// A server with a database `chat`. Dropping it kills it.
pub(crate) struct Postgres {
    pub(crate) url: String,
    programs: PathBuf,
    directory: TempDir,
    port: u16,
    /// Beyond those that every test has.
    settings: Vec<String>,
    server: Child,
}

impl Postgres {
    /// Makes a cluster and starts a server on it.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// As [`Postgres::start`], with settings such as `max_connections=10`.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|&it| it.to_owned()).collect();
        let programs = programs();
        let directory = tempfile::Builder::new()
            .prefix("chat-postgres")
            .tempdir()
            .unwrap();
        give(directory.path());
        let mut initdb = command(&programs.join("initdb"));
        initdb
            .args([
                "--username=postgres",
                "--auth=trust",
                "--no-sync",
                "--pgdata",
            ])
            .arg(directory.path().join("data"))
            .current_dir(directory.path())
            .stdout(Stdio::null());
        assert!(initdb.status().unwrap().success(), "initdb failed");
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = spawn(&programs, directory.path(), port, &settings);
        let postgres = Self {
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            programs,
            directory,
            port,
            settings,
            server,
        };
        postgres.ready().await;
        postgres
    }

    /// `pg_ctl stop -m immediate`: every connection is cut in whatever it was doing.
    pub(crate) fn crash(&mut self) {
        self.signal("QUIT");
        self.server.wait().unwrap();
    }

    /// Starts it again after a crash, and waits until it takes connections.
    pub(crate) async fn up(&mut self) {
        self.server = spawn(
            &self.programs,
            self.directory.path(),
            self.port,
            &self.settings,
        );
        self.ready().await;
    }

    /// A copy of its files, while it is down.
    pub(crate) fn copy(&self) -> PathBuf {
        let copy = self.directory.path().join("copy");
        copy_tree(&self.directory.path().join("data"), &copy);
        copy
    }

    /// Puts a copy in place of its files, while it is down.
    pub(crate) fn put_back(&self, copy: &Path) {
        let data = self.directory.path().join("data");
        std::fs::remove_dir_all(&data).unwrap();
        copy_tree(copy, &data);
    }

    /// Waits until it takes connections.
    async fn ready(&self) {
        let file = self.directory.path().join("data/postmaster.pid");
        let pid = self.server.id().to_string();
        until("PostgreSQL takes connections", async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            (lines.first() == Some(&&*pid) && lines.get(7) == Some(&"ready")).then_some(())
        })
        .await;
    }

    /// It stands still, with all its connections open.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
        self.signal_children("STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal_children("CONT");
        self.signal("CONT");
    }

    fn signal_children(&self, name: &str) {
        let pid = self.server.id().to_string();
        let sent = Command::new("pkill")
            .args([&format!("-{name}"), "--parent", &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    fn signal(&self, name: &str) {
        let pid = self.server.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What stands still would neither end nor notice that its parent has.
        let pid = self.server.id().to_string();
        let _ = Command::new("pkill")
            .args(["-CONT", "--parent", &pid])
            .status();
        let _ = Command::new("kill").args(["-CONT", &pid]).status();
        // A panic here would hide the one that ended the test.
        if std::thread::panicking() {
            let _ = self.server.kill();
        } else {
            self.signal("QUIT");
        }
        let _ = self.server.wait();
    }
}

/// With owners and rights.
fn copy_tree(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// The directory that POSTGRES_BIN names, Debian's newest, or that of `postgres` on PATH.
pub(crate) fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("POSTGRES_BIN") {
        return named.into();
    }
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let debian = debian.map(|version| version.unwrap().path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut found = debian
        .chain(path)
        .filter(|directory| directory.join("initdb").exists());
    found.next().expect(
        "POSTGRES_BIN must name the directory of PostgreSQL's programs: `cargo xtask test` sets it",
    )
}

fn spawn(programs: &Path, directory: &Path, port: u16, settings: &[String]) -> Child {
    let log = std::fs::File::create(directory.join("log")).unwrap();
    command(&programs.join("postgres"))
        .arg("-D")
        .arg(directory.join("data"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
        // A crash of the server alone loses nothing that it has written.
        .args(["-c", "unix_socket_directories=", "-c", "fsync=off"])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// PostgreSQL refuses to run as root: then another account runs it. It ends with this process.
fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(account) = instead_of_root() {
        command.args(["--reuid", account, "--regid", account, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
    command
}

fn give(directory: &Path) {
    if let Some(account) = instead_of_root() {
        let given = Command::new("chown").arg(account).arg(directory).status();
        assert!(given.unwrap().success());
    }
}

fn instead_of_root() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().unwrap();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let is_root = id.stdout.trim_ascii() == b"0";
    let has_postgres = passwd.lines().any(|line| line.starts_with("postgres:"));
    is_root.then_some(if has_postgres { "postgres" } else { "nobody" })
}

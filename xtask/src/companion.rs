//! A program beside `chat dev`.

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Result, workspace};

/// Starts a program and waits until it listens on this port. It ends with this process, which will become `chat dev`.
///
/// # Errors
/// It does not start, or not in time.
pub(crate) fn begin(name: &str, program: &Command, port: u16, timeout: Duration) -> Result<()> {
    let log = workspace::target(&format!("{}.log", name.to_lowercase()));
    // Ctrl-C reaches chat only. The program ends with the thread that starts it: the main thread, which becomes chat.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--"])
        .arg(program.get_program())
        .args(program.get_args())
        .envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .spawn()
        .map_err(|error| format!("setpriv does not run (Debian: util-linux): {error}"))?;
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let ended = child.try_wait()?;
        if ended.is_some() || started.elapsed() > timeout {
            return Err(format!("{name} does not start; {} says why", log.display()).into());
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

//! Ends a server that an earlier, killed process has left running.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Kills the process that the pid file names, if it still runs with this configuration.
pub(super) fn end(pid_file: &Path, configuration: &Path) {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else {
        return;
    };
    // Another process may have the id by now.
    if command_line(pid).contains(&*configuration.to_string_lossy())
        && kill_process(pid, Signal::KILL).is_ok()
    {
        tracing::warn!(
            pid = pid.as_raw_pid(),
            "ended a nats-server that was left behind"
        );
        // Its ports are free once it is gone.
        for _ in 0..200 {
            if test_kill_process(pid).is_err() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
    let _ = fs::remove_file(pid_file);
}

fn command_line(pid: Pid) -> String {
    let pid = pid.as_raw_pid().to_string();
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).or_else(|_| {
        let ps = Command::new("ps")
            .args(["-o", "args=", "-p", &pid])
            .output();
        ps.map(|output| output.stdout)
    });
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

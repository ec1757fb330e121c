//! A command whose output cannot be written says so, and fails; one whose reader has gone does not.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use crate::process::{Lasting, dev, hello};
use crate::world::within;

/// The exit code of a command, and what it says on stderr.
async fn outcome(directory: &Path, arguments: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let child = hello(directory, arguments)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = within(child.wait_with_output()).await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

/// A file that takes nothing, as one on a disk that is full.
fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// A pipe that nobody reads from any more.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[tokio::test]
async fn output_that_cannot_be_written_fails_and_a_reader_that_has_gone_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let _dev = dev(directory.path()).await;
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["dead", "--help"],
        &["setup"],
        &["invoke", "hello", r#""World""#],
    ] {
        let (code, stderr) = outcome(directory.path(), arguments, full()).await;
        assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("cannot be written"), "{stderr}");
        assert!(stderr.contains("No space left"), "{stderr}");

        let (code, stderr) = outcome(directory.path(), arguments, closed()).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn dev_says_that_nobody_can_read_what_it_announces_and_serves_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = hello(directory.path(), &["dev", "--port", "0"]);
    let mut child = command
        .stdout(full())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = Lasting::of(child.stderr.take().unwrap(), child);

    stderr.says("cannot be written: No space left").await;

    let answer = ["invoke", "hello", r#""World""#];
    let (code, said) = outcome(directory.path(), &answer, Stdio::null()).await;
    assert_eq!(code, Some(0), "{said}");
    stderr.signal("-INT").await;
    assert_eq!(stderr.exit_code().await, Some(1));
}

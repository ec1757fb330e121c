//! Maven, which fetches programs for Java.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::fetch::run;

/// The version decides only how the archive is fetched.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

/// Has Maven fetch a zip archive, checks it, and unpacks it into `aside/tree`.
pub(crate) fn unpack(artifact: &str, sha256: &str, aside: &Path, lock: &File) -> Result<()> {
    let temporary = aside.join("tmp");
    let mut maven = Command::new("mvn");
    // Interactive output would be a line for each kilobyte.
    maven
        .args(["--batch-mode", "--no-transfer-progress", "--quiet", COPY])
        .arg(format!("-Dartifact={artifact}"))
        .arg(format!("-DoutputDirectory={}", temporary.display()))
        // Else it looks for a pom.xml there.
        .current_dir(&temporary);
    run(&mut maven, lock).map_err(|error| format!("{error} (Debian: maven)"))?;

    let archive = only_file(&temporary)?;
    let sums = temporary.join("SHA256SUMS");
    fs::write(&sums, format!("{sha256}  {}\n", archive.display()))?;
    run(
        Command::new("sha256sum")
            .args(["--check", "--quiet"])
            .arg(&sums),
        lock,
    )?;

    let mut unzip = Command::new("unzip");
    unzip
        .arg("-q")
        .arg(&archive)
        .arg("-d")
        .arg(aside.join("tree"));
    run(&mut unzip, lock).map_err(|error| format!("{error} (Debian: unzip)").into())
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(directory)?;
    let entry = entries.next().ok_or("Maven has fetched nothing")??;
    Ok(entry.path())
}

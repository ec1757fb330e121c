//! What cargo is asked, and what it says.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::config::{variable, variables};
use crate::error::run_error::RunError;

/// Runs cargo, whose words for people go to stderr: what it says to programs, and whether it succeeded.
pub(super) async fn cargo(
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<(String, bool), RunError> {
    let mut cargo = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` has set these for this program, and build scripts read them: with other values than before, much
    // would be compiled again.
    for prefix in ["CARGO_PKG_", "CARGO_MANIFEST_"] {
        for (name, _) in variables(prefix) {
            cargo.env_remove(name);
        }
    }
    cargo.args(arguments).stdin(Stdio::null());
    let running = cargo.stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let failed = |error| RunError::while_doing("cargo cannot be started", error);
    let output = running.map_err(failed)?.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((said, output.status.success()))
}

/// The lines that are such a message.
pub(super) fn lines<T: DeserializeOwned>(said: &str) -> impl Iterator<Item = T> {
    said.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

/// What `cargo metadata` says.
#[derive(Deserialize)]
pub(super) struct Workspace {
    packages: Vec<Package>,
    pub(super) workspace_root: PathBuf,
    pub(super) target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
pub(super) struct Target {
    name: String,
    kind: Vec<String>,
    pub(super) src_path: PathBuf,
}

/// What `cargo build` says of something that it has compiled, now or before.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) package_id: String,
    pub(super) manifest_path: PathBuf,
    pub(super) target: Target,
    pub(super) executable: Option<PathBuf>,
}

impl Target {
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|its| its == kind)
    }
}

impl Workspace {
    /// The arguments that build a program at its place: `target/[TRIPLE/]PROFILE/[examples/]NAME`.
    pub(super) fn arguments(
        &self,
        program: &Path,
        manifest: Option<&Path>,
    ) -> Option<Vec<OsString>> {
        let target = self.target_directory.canonicalize().ok()?;
        let place = program.strip_prefix(target).ok()?;
        let name = place.file_name()?;
        let mut folders: Vec<&OsStr> = place.parent()?.iter().collect();
        let kind = match folders.pop_if(|last| *last == "examples") {
            Some(_) => "example",
            None => "bin",
        };
        let profile = match folders.pop()? {
            folder if folder == "debug" => OsStr::new("dev"),
            folder => folder,
        };
        let has_it = |package: &&Package| {
            let mut targets = package.targets.iter();
            let is_it = |it: &Target| *it.name == *name && it.is(kind);
            manifest.is_none_or(|manifest| package.manifest_path == manifest) && targets.any(is_it)
        };
        let package = self.packages.iter().find(has_it)?;
        let mut arguments: Vec<OsString> = vec![
            "build".into(),
            "--message-format=json-render-diagnostics".into(),
            "--manifest-path".into(),
            (&package.manifest_path).into(),
            format!("--{kind}").into(),
            name.into(),
            "--profile".into(),
            profile.into(),
        ];
        if let Some(triple) = folders.pop() {
            arguments.extend(["--target".into(), triple.into()]);
        }
        folders.is_empty().then_some(arguments)
    }
}

/// The files behind the colon of a rule of make, as cargo writes it beside a program.
pub(super) fn paths(rule: &str) -> impl Iterator<Item = PathBuf> {
    let (_, files) = rule.split_once(": ").unwrap_or_default();
    let files = files.replace("\\ ", "\0");
    let files: Vec<PathBuf> = files
        .split_whitespace()
        .map(|file| file.replace('\0', " ").into())
        .collect();
    files.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> (tempfile::TempDir, Workspace) {
        let directory = tempfile::tempdir().unwrap();
        let target = |name: &str, kind: &str| Target {
            name: name.to_owned(),
            kind: vec![kind.to_owned()],
            src_path: PathBuf::new(),
        };
        let package = |name: &str| Package {
            manifest_path: format!("/{name}/Cargo.toml").into(),
            targets: vec![target("shop", "bin"), target(name, "example")],
        };
        let workspace = Workspace {
            packages: vec![package("one"), package("two")],
            workspace_root: "/".into(),
            target_directory: directory.path().canonicalize().unwrap(),
        };
        (directory, workspace)
    }

    #[test]
    fn a_program_is_built_again_for_the_place_where_it_lies() {
        let (_directory, workspace) = workspace();
        let words = |place: &str, manifest: Option<&str>| {
            let program = workspace.target_directory.join(place);
            let found = workspace.arguments(&program, manifest.map(Path::new))?;
            let words: Vec<_> = found
                .iter()
                .skip(3)
                .map(|it| it.to_str().unwrap())
                .collect();
            Some(words.join(" "))
        };
        for (place, manifest, expected) in [
            (
                "debug/shop",
                None,
                Some("/one/Cargo.toml --bin shop --profile dev"),
            ),
            (
                "release/shop",
                Some("/two/Cargo.toml"),
                Some("/two/Cargo.toml --bin shop --profile release"),
            ),
            (
                "arm/small/examples/two",
                None,
                Some("/two/Cargo.toml --example two --profile small --target arm"),
            ),
            ("debug/two", None, None),
            ("debug/examples/two", Some("/one/Cargo.toml"), None),
            ("a/b/debug/shop", None, None),
            ("shop", None, None),
        ] {
            assert_eq!(words(place, manifest).as_deref(), expected, "{place}");
        }
        assert!(
            workspace
                .arguments(Path::new("/usr/bin/shop"), None)
                .is_none()
        );
    }

    #[test]
    fn files_of_a_rule_may_have_spaces() {
        let rule = "/t/debug/shop: /a/b.rs /a/c\\ d.sql\n";
        let found: Vec<_> = paths(rule).collect();
        assert_eq!(found, [Path::new("/a/b.rs"), Path::new("/a/c d.sql")]);
    }
}

//! Go's package client, which builds the tools that no other registry has.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::fetch::run;

/// Has Go build the package's program into `aside/tree/bin`. Go's caches, which are larger than the program, are
/// below `aside` too and so are removed with it.
pub(crate) fn install(go: &Path, package: &str, aside: &Path, lock: &File) -> Result<()> {
    eprintln!("  this takes a minute or more ...");
    run(command(go, aside).args(["install", package]), lock)
}

/// Has Go build a program into `aside/tree/bin`, in a copy of its module and so by the module's own `go.sum`.
pub(crate) fn build(
    go: &Path,
    module: &str,
    program: &str,
    flags: &[&str],
    aside: &Path,
    lock: &File,
) -> Result<()> {
    eprintln!("  this takes two minutes or more ...");
    run(command(go, aside).args(["mod", "download", module]), lock)?;
    // Go unpacks it by version; the flag below makes it writable.
    let source = aside.join("tmp/modules").join(module);
    let mut build = command(go, aside);
    build
        .current_dir(source)
        .args(["build", "-trimpath"])
        .args(flags)
        .arg("-o")
        .arg(aside.join("tree/bin/"))
        .arg(program);
    fs::create_dir_all(aside.join("tree/bin"))?;
    run(&mut build, lock)
}

/// Has OpenTelemetry's builder of this version make a collector of the listed parts, at `aside/tree/bin/otelcol`.
pub(crate) fn assemble(
    go: &Path,
    version: &str,
    parts: &Path,
    aside: &Path,
    lock: &File,
) -> Result<()> {
    let builder = format!("go.opentelemetry.io/collector/cmd/builder@v{version}");
    install(go, &builder, aside, lock)?;
    let bin = aside.join("tree/bin");
    // The builder looks for `go` in PATH, and takes the rest from the environment.
    let mut path = vec![go.parent().unwrap_or(go).to_owned()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let temporary = aside.join("tmp");
    fs::create_dir_all(temporary.join("target"))?;
    let mut assemble = Command::new(bin.join("builder"));
    for (name, value) in command(go, aside).get_envs() {
        match value {
            Some(value) => assemble.env(name, value),
            None => assemble.env_remove(name),
        };
    }
    assemble
        .env("PATH", env::join_paths(path)?)
        .current_dir(&temporary)
        .arg("--config")
        .arg(parts);
    run(&mut assemble, lock)?;
    fs::rename(
        temporary.join("target/otelcol/otelcol"),
        bin.join("otelcol"),
    )?;
    Ok(fs::remove_file(bin.join("builder"))?)
}

fn command(go: &Path, aside: &Path) -> Command {
    let temporary = aside.join("tmp");
    let mut command = Command::new(go);
    command
        .env("GOBIN", aside.join("tree/bin"))
        .env("GOPATH", temporary.join("path"))
        .env("GOMODCACHE", temporary.join("modules"))
        .env("GOCACHE", temporary.join("cache"))
        .env("GOTMPDIR", &temporary)
        // By default Go makes the modules read-only, and removing them fails.
        .env("GOFLAGS", "-modcacherw")
        .env("CGO_ENABLED", "0")
        // A module's `go.work` names modules that are not part of it.
        .env("GOWORK", "off")
        // Go's telemetry goes aside too, but a proxy that the user has set applies.
        .env("GOENV", settings())
        .env("XDG_CONFIG_HOME", &temporary)
        // Builds for this machine, with the standard library of this Go.
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .env_remove("GOROOT");
    command
}

/// The file in which `go env -w` keeps the user's settings.
fn settings() -> PathBuf {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".config"));
    let configuration = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(home);
    let file = env::var_os("GOENV").map(PathBuf::from);
    file.or_else(|| Some(configuration?.join("go/env")))
        .unwrap_or_else(|| "off".into())
}

//! Fetches a tool into `target/tools`, through its registry's own client.
//!
//! A package is unpacked in a temporary directory and then renamed to `store/PACKAGE-VERSION`. A link without a
//! version in its name is made last. So a killed fetch leaves nothing incomplete; and a new pin is fetched, because
//! the link still points to the old version.

use std::fs::{self, File, TryLockError};
use std::io::{self, stderr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::source::{Source, link};
use crate::tool::Tool;
use crate::toolbox::GO;
use crate::{Result, go, maven, pip, workspace};

/// Puts a package's content below `tree` in the given directory, while the lock is held.
type Unpack<'a> = Box<dyn Fn(&Path, &File) -> Result<()> + 'a>;

/// Fetches the package and returns the tool's path.
pub(crate) fn fetch(tool: &Tool, source: &Source) -> Result<PathBuf> {
    // Go is provided before the lock is taken, since it may have to be fetched too.
    let unpack: Unpack<'_> = match source {
        Source::PyPi { package, .. } => Box::new(|aside, lock| pip::install(package, aside, lock)),
        Source::Go {
            module, version, ..
        } => {
            let program = GO.provide()?;
            Box::new(move |aside, lock| {
                go::install(&program, &format!("{module}@v{version}"), aside, lock)
            })
        }
        Source::GoCopy {
            module,
            version,
            command,
            flags,
            ..
        } => {
            let program = GO.provide()?;
            Box::new(move |aside, lock| {
                let module = format!("{module}@v{version}");
                go::build(&program, &module, command, flags, aside, lock)
            })
        }
        Source::Maven {
            group,
            artifact,
            version,
            sha256,
            ..
        } => Box::new(move |aside, lock| {
            let artifact = format!("{group}:{artifact}:{version}:zip");
            maven::unpack(&artifact, sha256, aside, lock)
        }),
        Source::Collector { version, parts, .. } => {
            let program = GO.provide()?;
            let parts = workspace::root().join(parts);
            Box::new(move |aside, lock| go::assemble(&program, version, &parts, aside, lock))
        }
    };
    let tools = workspace::target("tools");
    let store = tools.join("store");
    fs::create_dir_all(&store)?;
    let lock = lock(&store)?;
    // Another process may have fetched it while this one waited.
    if !source.is_cached(tool) {
        eprintln!("fetching {} ({source}) ...", tool.name);
        let start = Instant::now();
        let aside = store.join(".aside");
        remove(&aside)?;
        fs::create_dir_all(aside.join("tmp"))?;
        let outcome = unpack(&aside, &lock).and_then(|()| keep(tool, source, &aside, &store));
        remove(&aside)?;
        outcome?;
        eprintln!(
            "fetched {} in {:.1} s",
            tool.name,
            start.elapsed().as_secs_f32()
        );
    }
    Ok(tools.join(tool.cached))
}

/// Runs a registry's client. Its output is progress, so it goes to standard error. It inherits the lock: if this
/// process is killed, the next one waits for the client too.
pub(crate) fn run(command: &mut Command, lock: &File) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(lock.try_clone()?).stdout(stderr()).status();
    let status = status.map_err(|error| format!("{name} does not start: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{name} failed ({status})").into())
    }
}

/// Only one process fetches at a time. The lock ends with the process that holds it, even if it is killed.
fn lock(store: &Path) -> Result<File> {
    let lock = File::create(store.join(".lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another xtask that fetches a tool ...");
            lock.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(lock)
}

/// Moves the unpacked package into the store, if the tool in it runs here, and then makes the link to it.
fn keep(tool: &Tool, source: &Source, aside: &Path, store: &Path) -> Result<()> {
    let (tree, link) = (aside.join("tree"), link(tool));
    let name = link.file_name().unwrap_or_default();
    let mut program = tree.join(source.provides());
    program.extend(Path::new(tool.cached).strip_prefix(name)?);
    tool.check(&program)?;

    let stays = store.join(source.directory());
    remove(&stays)?;
    fs::rename(&tree, &stays)?;
    symlink(source.path(), aside.join(name))?;
    fs::rename(aside.join(name), &link)?;
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {error}", directory.display()).into())
        }
        _ => Ok(()),
    }
}

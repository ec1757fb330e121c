//! Installs the page's packages and builds its files, each only when its inputs have changed.

use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::Node;
use crate::{Result, workspace};

/// Parts of the page's directory that the build does not depend on.
const BESIDE: [&str; 8] = [
    "node_modules",
    "dist",
    "e2e",
    "e2e-keycloak",
    "e2e-compose",
    "docs",
    "test-results",
    "README.md",
];

/// The files that the installed packages depend on.
const PACKAGES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// Installs the packages of the lock file, unless they are installed.
pub(crate) fn install(node: &Node) -> Result<()> {
    let _lock = lock()?;
    let web = workspace::root().join("web");
    // Inside `node_modules`, so that it is deleted together with the packages.
    let installed = web.join("node_modules/.installed");
    let wanted = Wanted::of(node, &web, &PACKAGES.map(PathBuf::from))?;
    if wanted.is_noted(&installed) {
        return Ok(());
    }
    eprintln!("installing the page's packages ...");
    // Without npm's warnings: @nats-io/nuid asks for Node.js 22 and works with the oldest that `toolbox::NODE` takes.
    run(&mut node.npm(["ci", "--no-progress", "--loglevel=error"]))?;
    wanted.note(&installed)
}

/// Builds the page into `web/dist`, unless it was built from the same files.
pub(crate) fn build(node: &Node) -> Result<()> {
    install(node)?;
    let _lock = lock()?;
    let web = workspace::root().join("web");
    let built = workspace::target("web-built");
    let mut inputs = Vec::new();
    find(&web, Path::new(""), &mut inputs)?;
    let wanted = Wanted::of(node, &web, &inputs)?;
    if wanted.is_noted(&built) && was_built() {
        return Ok(());
    }
    eprintln!("building the page ...");
    // A build that fails halfway must not be taken for the previous one.
    let _ = fs::remove_file(&built);
    run(&mut node.npm(["run", "build"]))?;
    wanted.note(&built)
}

/// Whether there is a page, old or new.
pub(crate) fn was_built() -> bool {
    workspace::root().join("web/dist/index.html").is_file()
}

/// Only one process builds at a time. The lock ends with the process that holds it.
fn lock() -> Result<File> {
    fs::create_dir_all(workspace::target(""))?;
    let lock = File::create(workspace::target("web.lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another xtask that builds the page ...");
            lock.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(lock)
}

/// A hash of all inputs of a result.
struct Wanted(String);

impl Wanted {
    fn of(node: &Node, web: &Path, files: &[PathBuf]) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        node.version()?.hash(&mut hasher);
        for file in files {
            file.hash(&mut hasher);
            fs::read(web.join(file))
                .map_err(|error| format!("web/{} cannot be read: {error}", file.display()))?
                .hash(&mut hasher);
        }
        Ok(Self(format!("{:016x}\n", hasher.finish())))
    }

    fn is_noted(&self, note: &Path) -> bool {
        fs::read_to_string(note).is_ok_and(|noted| noted == self.0)
    }

    fn note(&self, note: &Path) -> Result<()> {
        Ok(fs::write(note, &self.0)?)
    }
}

/// The input files of the build, in a fixed order.
fn find(web: &Path, below: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(web.join(below))?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = below.join(entry.file_name());
        if BESIDE.iter().any(|beside| path == Path::new(beside)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            find(web, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// npm's output is progress, so it goes to standard error.
fn run(npm: &mut Command) -> Result<()> {
    let status = npm.stdout(stderr()).status()?;
    if status.success() {
        Ok(())
    } else {
        let arguments: Vec<_> = npm
            .get_args()
            .skip(2)
            .map(|a| a.to_string_lossy())
            .collect();
        Err(format!("`npm {}` in web/ failed ({status})", arguments.join(" ")).into())
    }
}

//! Puts the built page, `web/dist`, into the program: a table of its files. Without a built page the
//! table is empty, and the program says how to build it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../web/dist");
    // Cargo treats a missing directory as changed, and would build chat each time. If creating it
    // fails, only that time is lost.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={}", dist.display());

    let mut table = String::from("&[\n");
    for file in files(&dist)? {
        let path = file.strip_prefix(&dist)?.to_string_lossy();
        writeln!(table, "    ({path:?}, include_bytes!({file:?})),")?;
    }
    table.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("site.rs"), table)?;
    Ok(())
}

/// Every file below a directory, in the same order each time.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?.collect::<io::Result<Vec<_>>>()?,
    };
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

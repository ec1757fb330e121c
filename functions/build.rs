//! Puts the built page, `web/dist`, into the program: a table of its files, each beside its
//! compressed forms. Without a built page the table is empty, and the program says how to build it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../web/dist");
    // Cargo takes a directory that is not there for one that has changed, and would build chat anew
    // each time. Where it cannot be made, that is all that is lost.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={}", dist.display());

    let mut files = BTreeSet::new();
    find(&dist, &mut files)?;
    let mut table = String::from("&[\n");
    for file in &files {
        let compressed = |suffix: &str| {
            let mut beside = file.clone().into_os_string();
            beside.push(suffix);
            let beside = PathBuf::from(beside);
            if files.contains(&beside) {
                format!("Some(include_bytes!({beside:?}))")
            } else {
                "None".to_owned()
            }
        };
        if file
            .extension()
            .is_some_and(|suffix| suffix == "br" || suffix == "gz")
        {
            continue;
        }
        let path = file.strip_prefix(&dist)?.to_string_lossy();
        let (brotli, gzip) = (compressed(".br"), compressed(".gz"));
        writeln!(
            table,
            "    ({path:?}, include_bytes!({file:?}), {brotli}, {gzip}),"
        )?;
    }
    table.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("site.rs"), table)?;
    Ok(())
}

/// Every file below a directory.
fn find(directory: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

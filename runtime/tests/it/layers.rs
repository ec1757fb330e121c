//! The house of `runtime/src`: folders are layers, bottom to top, and a file can be held in the head.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::architecture::{assert_none, offenders, sources};

/// Bottom to top: a folder imports only itself and those before it.
const LAYERS: [&str; 11] = [
    "error",
    "config",
    "function",
    "telemetry",
    "nats",
    "service",
    "run",
    "sql",
    "server",
    "testing",
    "cli",
];

/// A file's place below `runtime/src` as a path of modules: `run/consumer/feed.rs` is
/// `[run, consumer, feed]`.
fn module(file: &Path) -> Vec<String> {
    file.strip_prefix("runtime/src")
        .unwrap()
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect()
}

/// The code of every file but the table of contents, without comments and tests.
fn modules() -> BTreeMap<Vec<String>, String> {
    sources("runtime/src")
        .into_iter()
        .map(|(file, text)| {
            let code = text.lines().map(|line| line.split("//").next().unwrap());
            (module(&file), code.collect::<Vec<_>>().join("\n"))
        })
        .filter(|(module, _)| *module != ["lib"] && module.last().unwrap() != "tests")
        .collect()
}

/// What a file imports of the crate, each as a path of names: `crate::a::{b, c::d}` is `[a, b]` and
/// `[a, c, d]`, and `super` and `self` are resolved.
fn imports(module: &[String], code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (start, root) in ["crate::", "super::"].into_iter().flat_map(|root| {
        code.match_indices(root)
            .map(move |(start, _)| (start, root))
    }) {
        let begins_a_path =
            !code[..start].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
        if !begins_a_path {
            continue;
        }
        let mut prefix = if root == "crate::" {
            Vec::new()
        } else {
            module[..module.len() - 1].to_vec()
        };
        let mut rest = &code[start + root.len()..];
        while let Some(above) = rest.strip_prefix("super::") {
            prefix.pop();
            rest = above;
        }
        branches(&prefix, rest, &mut found);
    }
    found
}

/// Reads one path, or the paths between braces.
fn branches(prefix: &[String], text: &str, found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    let mut rest = text.trim_start();
    loop {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        if end > 0 && &rest[..end] != "self" {
            path.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => break,
        }
        if let Some(inside) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut from = 0;
            for (at, c) in inside.char_indices() {
                match c {
                    '{' => depth += 1,
                    ',' if depth == 0 => {
                        branches(&path, &inside[from..at], found);
                        from = at + 1;
                    }
                    '}' if depth == 0 => {
                        if !inside[from..at].trim().is_empty() {
                            branches(&path, &inside[from..at], found);
                        }
                        return;
                    }
                    '}' => depth -= 1,
                    _ => {}
                }
            }
            return;
        }
    }
    found.push(path);
}

#[test]
fn a_folder_imports_only_lower_ones() {
    let layer = |name: &String| LAYERS.iter().position(|layer| layer == name);
    let mut wrong = Vec::new();
    for (module, code) in modules() {
        let own = layer(&module[0]).unwrap_or_else(|| panic!("{module:?} is in no layer"));
        for import in imports(&module, &code) {
            // A name of the crate's root would hide which folder it is of.
            if layer(&import[0]).is_none_or(|imported| imported > own) {
                wrong.push(format!(
                    "{} imports {}",
                    module.join("::"),
                    import.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_files_of_a_folder_import_each_other_in_a_circle() {
    let modules = modules();
    // By folder: which of its files and folders imports which other.
    let mut folders: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, code) in &modules {
        for import in imports(module, code) {
            let common = module
                .iter()
                .zip(&import)
                .take_while(|(a, b)| a == b)
                .count();
            let target = import[..(common + 1).min(import.len())].to_vec();
            let is_file = modules.keys().any(|other| other.starts_with(&target));
            if common > 0 && common < module.len() && common < import.len() && is_file {
                let folder = folders.entry(module[..common].to_vec()).or_default();
                let from = folder.entry(module[common].clone()).or_default();
                from.insert(import[common].clone());
            }
        }
    }
    for (folder, files) in folders {
        for file in files.keys() {
            let mut reached = BTreeSet::new();
            let mut next = vec![file];
            while let Some(from) = next.pop() {
                for to in files.get(from).into_iter().flatten() {
                    if reached.insert(to) {
                        next.push(to);
                    }
                }
            }
            let folder = folder.join("::");
            assert!(
                !reached.contains(file),
                "{folder}: {file} imports itself by way of {reached:?}"
            );
        }
    }
}

#[test]
fn jetstream_s_own_subjects_are_spelled_in_one_file() {
    let words = ["\"$JS.API", "\"STREAM.", "\"CONSUMER."];
    assert_none(&offenders(
        "runtime/src",
        &words,
        &["nats/jetstream/calls.rs"],
    ));
}

#[test]
fn sql_is_known_in_its_folder_and_in_the_table_of_errors() {
    let found = offenders(
        "runtime/src",
        &["sea_orm::", "sqlx::"],
        &["error/database.rs"],
    );
    let outside: Vec<PathBuf> = found
        .into_iter()
        .filter(|file| !file.starts_with("runtime/src/sql") && !file.ends_with("sql.rs"))
        .collect();
    assert_none(&outside);
}

#[test]
fn a_file_has_at_most_300_lines_and_a_folder_12_files() {
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut long = Vec::new();
    for (file, code) in sources("runtime/src") {
        // Files that are tests as a whole.
        if ["tests.rs", "scratch.rs", "meanings.rs"]
            .iter()
            .any(|name| file.ends_with(name))
        {
            continue;
        }
        *folders
            .entry(file.parent().unwrap().to_owned())
            .or_default() += 1;
        if code.lines().count() > 300 {
            long.push(file);
        }
    }
    assert_none(&long);
    folders.retain(|_, files| *files > 12);
    assert!(folders.is_empty(), "{folders:?}");
}

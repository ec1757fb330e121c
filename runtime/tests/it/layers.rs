//! The house of `runtime/src` and of `functions/src`: folders are layers, bottom to top, and a file
//! can be held in the head.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::architecture::{assert_none, offenders, sources};

/// Bottom to top: a folder imports only itself and those before it. Those of one line import each
/// other nowhere.
const NATSFN: [&[&str]; 12] = [
    &["error"],
    &["config"],
    &["function"],
    &["telemetry"],
    &["nats"],
    &["service"],
    &["auth_callout"],
    &["run"],
    &["sql"],
    &["server"],
    &["testing"],
    &["cli"],
];

/// The same of chat, with its functions at the top.
const CHAT: [&[&str]; 7] = [
    &["message", "config"],
    &["subjects"],
    &["place"],
    &["store"],
    &["tail"],
    &["app"],
    &["send", "persist", "history", "page", "trim", "auth"],
];

const FOLDERS: [&str; 2] = ["runtime/src", "functions/src"];

/// A file's place below a folder as a path of modules: `run/consumer/feed.rs` is
/// `[run, consumer, feed]`.
fn module(folder: &str, file: &Path) -> Vec<String> {
    file.strip_prefix(folder)
        .unwrap()
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect()
}

/// The code of every file of a library but the table of contents, without comments and tests.
fn modules(folder: &str) -> BTreeMap<Vec<String>, String> {
    sources(folder)
        .into_iter()
        .map(|(file, text)| {
            let code = text.lines().map(|line| line.split("//").next().unwrap());
            (module(folder, &file), code.collect::<Vec<_>>().join("\n"))
        })
        .filter(|(module, _)| {
            // `main`, `dev` and `commands` are the program `chat`, which is no part of the library.
            let outside = ["lib", "main", "dev", "commands"];
            !outside.contains(&module[0].as_str()) && module.last().unwrap() != "tests"
        })
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

/// Imports of what does not stand below.
fn upwards(folder: &str, layers: &[&[&str]]) -> Vec<String> {
    let layer = |name: &String| layers.iter().position(|line| line.contains(&name.as_str()));
    let mut wrong = Vec::new();
    for (module, code) in modules(folder) {
        let own = layer(&module[0]).unwrap_or_else(|| panic!("{module:?} is in no layer"));
        for import in imports(&module, &code) {
            // A name of the crate's root would hide which folder it is of.
            if import[0] != module[0] && layer(&import[0]).is_none_or(|imported| imported >= own) {
                wrong.push(format!(
                    "{} imports {}",
                    module.join("::"),
                    import.join("::")
                ));
            }
        }
    }
    wrong
}

#[test]
fn a_folder_imports_only_lower_ones() {
    let wrong = upwards("runtime/src", &NATSFN);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn chat_s_functions_import_each_other_nowhere_and_nothing_below_imports_them() {
    let wrong = upwards("functions/src", &CHAT);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_files_of_a_folder_import_each_other_in_a_circle() {
    FOLDERS.into_iter().for_each(assert_no_circle);
}

fn assert_no_circle(folder: &str) {
    let modules = modules(folder);
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
fn a_kind_of_trigger_is_known_in_its_own_folder() {
    let modules = modules("runtime/src");
    let kinds: Vec<&[String]> = modules
        .keys()
        .filter(|module| module[0] == "run" && module.last().unwrap() == "trigger")
        .map(|module| &module[..module.len() - 1])
        .collect();
    assert!(kinds.len() >= 2, "{kinds:?}");
    let mut wrong = Vec::new();
    for (module, code) in &modules {
        for import in imports(module, code) {
            let is_foreign =
                |kind: &&&[String]| import.starts_with(kind) && !module.starts_with(kind);
            // Tests call a function of each kind without a broker, in its own way.
            if module[0] != "testing" && kinds.iter().any(|kind| is_foreign(&kind)) {
                wrong.push(format!("{module:?} imports {import:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn subjects_of_jetstream_s_api_are_spelled_in_one_file() {
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
        &["error/database.rs", "error/database/meaning.rs"],
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
    for (file, code) in FOLDERS.into_iter().flat_map(sources) {
        // Files that are tests as a whole.
        if ["tests.rs", "scratch.rs", "meanings.rs"]
            .iter()
            .any(|name| file.ends_with(name))
        {
            continue;
        }
        // A library's table of contents stands beside the files that it lists.
        let counts = usize::from(!file.ends_with("lib.rs"));
        *folders
            .entry(file.parent().unwrap().to_owned())
            .or_default() += counts;
        if code.lines().count() > 300 {
            long.push(file);
        }
    }
    assert_none(&long);
    // chat's functions stand beside each other, however many they are.
    folders.retain(|folder, files| *files > 12 && folder != Path::new("functions/src"));
    assert!(folders.is_empty(), "{folders:?}");
}

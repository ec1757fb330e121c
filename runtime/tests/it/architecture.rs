//! What ARCHITECTURE.md says is absent, is absent.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file below a folder of the repository, with its text up to its tests.
pub(crate) fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text
                    .split("#[cfg(test)]\nmod tests")
                    .next()
                    .unwrap_or_default();
                found.push((path.strip_prefix(root).unwrap().to_owned(), code.to_owned()));
            }
        }
    }
    assert!(found.len() > 3, "{folder} has sources");
    found
}

/// The files that contain one of the words, other than those allowed.
pub(crate) fn offenders(folder: &str, words: &[&str], allowed: &[&str]) -> Vec<PathBuf> {
    sources(folder)
        .into_iter()
        .filter(|(path, code)| {
            words.iter().any(|word| code.contains(word))
                && allowed.iter().all(|allowed| !path.ends_with(allowed))
        })
        .map(|(path, _)| path)
        .collect()
}

pub(crate) fn assert_none(found: &[PathBuf]) {
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_runtime_knows_nothing_of_chat_and_its_page() {
    let words = ["chat", "Chat", "CHAT"];
    assert_none(&offenders("runtime/src", &words, &[]));
    let words = ["page", "Page", "PAGE"];
    // Tests as a whole, which know the pages of SQLite's files.
    let allowed = ["tests.rs", "meanings.rs"];
    assert_none(&offenders("runtime/src", &words, &allowed));
}

#[test]
fn user_code_runs_only_in_invoke() {
    let words = [".start(event)", "catch_unwind", "(task.run)("];
    // work.rs hands a task to `invoke::background`.
    let allowed = ["invoke.rs", "work.rs"];
    assert_none(&offenders("runtime/src", &words, &allowed));
}

#[test]
fn the_environment_is_read_only_in_the_configuration() {
    // scratch.rs is part of the unit tests.
    let words = ["env::var"];
    let found = offenders("runtime/src", &words, &["scratch.rs"]);
    let outside: Vec<_> = found
        .iter()
        .filter(|path| !path.starts_with("runtime/src/config") && !path.ends_with("config.rs"))
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
    assert_none(&offenders("functions/src", &words, &[]));
}

#[test]
fn an_ack_is_sent_only_where_messages_are_settled() {
    assert_none(&offenders("runtime/src", &["+ACK"], &["settle.rs"]));
}

#[test]
fn subjects_of_the_application_are_spelled_in_two_files() {
    let words = ["\"chat.", "\"admin.", "\"live.", "CHAT_MESSAGES"];
    let allowed = ["subjects.rs", "lib.rs"];
    assert_none(&offenders("functions/src", &words, &allowed));
}

#[test]
fn every_file_that_the_code_maps_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let files: Vec<PathBuf> = ["runtime/src", "functions/src"]
        .into_iter()
        .flat_map(sources)
        .map(|(path, _)| path)
        .collect();
    for name in text.split('`').filter(|word| word.ends_with(".rs")) {
        let exists = root.join(name).is_file() || files.iter().any(|file| file.ends_with(name));
        assert!(exists, "ARCHITECTURE.md names {name}");
    }
}

//! The files in `deploy/kubernetes`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::child::CHAT;

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(directory().join(name)).unwrap()
}

/// The documents of a YAML text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// The only document of a file.
pub(crate) fn document(name: &str) -> Value {
    let [document] = documents(&read(name)).try_into().unwrap();
    document
}

/// Every object of the files that kustomize reads.
pub(crate) fn manifests() -> Vec<Value> {
    let kustomization = document("kustomization.yaml");
    let files = kustomization["resources"].as_array().unwrap();
    let files = files.iter().map(|file| file.as_str().unwrap());
    files.flat_map(|file| documents(&read(file))).collect()
}

/// Those of a kind, by name.
pub(crate) fn all(kind: &str) -> BTreeMap<String, Value> {
    let found = manifests().into_iter().filter(|it| it["kind"] == kind);
    found
        .map(|it| (it["metadata"]["name"].as_str().unwrap().to_owned(), it))
        .collect()
}

/// What `secrets.sh` prints, with this very program.
pub(crate) fn secrets() -> Vec<Value> {
    let mut script = Command::new(directory().join("secrets.sh"));
    let output = script.env("CHAT", CHAT).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    documents(&String::from_utf8(output.stdout).unwrap())
}

//! The features of a crate.

use std::fs;

use crate::{Result, workspace};

/// The features of the crate in this directory, without `default`.
pub(crate) fn of(directory: &str) -> Result<Vec<String>> {
    let manifest = fs::read_to_string(workspace::root().join(directory).join("Cargo.toml"))?;
    Ok(features(&manifest))
}

/// Reads the keys below `[features]`. A TOML parser would be this program's only dependency.
fn features(manifest: &str) -> Vec<String> {
    let lines = manifest
        .lines()
        .skip_while(|line| line.trim() != "[features]")
        .skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let keys = lines.filter_map(|line| Some(line.split_once('=')?.0.trim()));
    let is_name = |key: &&str| key.chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
    keys.filter(is_name)
        .filter(|key| *key != "default")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{features, of};

    #[test]
    fn features_are_the_keys_of_their_table() {
        let manifest = "[package]\nname = \"x\"\n[features]\n# a = b\ndefault = [\"cli\"]\ncli = [\n  \"dep:y=1\",\n]\n\
                        sea-orm = []\n\n[dependencies]\ny = \"1\"\n";
        assert_eq!(features(manifest), ["cli", "sea-orm"]);
    }

    #[test]
    fn natsfn_has_features() {
        assert!(of("runtime").unwrap().contains(&"cli".to_owned()));
    }
}

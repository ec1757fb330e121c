//! The files of TLS, which the client reads at each connect.

use std::fs::File;
use std::path::Path;

use crate::config::{NatsConfig, pem};

/// Those that cannot be used, a sentence each. The client's own words for a file that is no PEM show what stands in it.
pub(super) fn unusable(config: &NatsConfig) -> Vec<String> {
    let certificates = |file: &Path| pem::certificates(file).map(drop);
    let key = |file: &Path| pem::private_key(file).map(drop);
    let wrong = [
        wrong("ca", config.ca.as_deref(), certificates),
        wrong("cert", config.cert.as_deref(), certificates),
        wrong("key", config.key.as_deref(), key),
    ];
    wrong.into_iter().flatten().collect()
}

fn wrong(
    key: &str,
    file: Option<&Path>,
    check: impl FnOnce(&Path) -> Result<(), String>,
) -> Option<String> {
    let file = file?;
    let wrong = match File::open(file) {
        Err(error) => format!("cannot be read: {error}"),
        Ok(_) => format!("cannot be used: {}", check(file).err()?),
    };
    Some(format!("nats.{key}: {} {wrong}", file.display()))
}

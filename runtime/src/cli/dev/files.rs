//! What `dev` writes for other programs: `dev.json` with the addresses, and the configuration with
//! which another process joins.

use std::fs;
use std::path::{Path, PathBuf};

use figment::value::Dict;

use super::private::write_private;
use super::toml::configuration;
use super::{DevDirectory, Plan};
use crate::config::RuntimeConfig;
use crate::error::run_error::RunError;
use crate::server::Server;

/// The files of one data directory.
pub(super) struct Files {
    directory: PathBuf,
    name: String,
}

impl Files {
    pub(super) fn new(directory: &DevDirectory, name: &str) -> Self {
        Self {
            directory: directory.path().to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn addresses(&self) -> PathBuf {
        self.directory.join("dev.json")
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.directory.join(format!("{}.toml", self.name))
    }

    /// Writes both, `dev.json` last: once it exists, so does the other.
    pub(super) fn write(
        &self,
        server: &Server,
        config: &RuntimeConfig,
        plan: &Plan,
        own_values: &Dict,
    ) -> Result<(), RunError> {
        let found = server.addresses();
        let toml = match &plan.listener {
            Some(listener) => {
                configuration(&self.name, config, &listener.settings(own_values, found))
            }
            None => configuration(&self.name, config, own_values),
        };
        let addresses = [
            ("nats", Some(found.nats.as_str())),
            ("websocket", found.websocket.as_deref()),
            ("monitor", found.monitor.as_deref()),
            ("database", config.database_url()),
        ];
        let mut json = plan.details.clone();
        let listener = plan.listener.as_ref();
        json.extend(listener.map(|listener| (listener.task.clone(), listener.url().into())));
        for (key, url) in addresses {
            json.extend(url.map(|url| (key.to_owned(), url.into())));
        }
        write(&self.configuration(), toml.as_bytes())?;
        write(&self.addresses(), &serde_json::to_vec_pretty(&json)?)
    }

    /// Writes what an instance of `--watch` joins: `values` hold where its own configuration says nothing.
    pub(super) fn write_joined(
        &self,
        config: &RuntimeConfig,
        values: &Dict,
    ) -> Result<PathBuf, RunError> {
        // No service's name has a dot.
        let file = self.directory.join("dev.instance.toml");
        write(&file, configuration(&self.name, config, values).as_bytes())?;
        Ok(file)
    }

    pub(super) fn remove_addresses(&self) {
        // Usually it does not exist; and a run does not fail for one that stays.
        let _ = fs::remove_file(self.addresses());
    }
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let failed = |error| RunError::new(format!("{} cannot be written: {error}", file.display()));
    write_private(file, bytes).map_err(failed)
}

//! Loads a configuration: defaults < file < environment.

use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::layer::{self, Layers, Origin, variable_name};
use super::read::{Mistake, read};
use super::{RuntimeConfig, variable, variables};
use crate::RunError;

/// A configuration, read and right.
#[derive(Debug)]
pub struct Loaded<C> {
    /// The keys that every service has.
    pub runtime: RuntimeConfig,
    /// The service's own keys.
    pub own: C,
    /// The service's own keys as they stand in the file and the environment.
    pub(crate) own_values: Dict,
}

/// Loads the configuration of the service `name`: defaults, above them the file, above it the
/// variables that begin with the name (`SHOP_NATS__URL` is `nats.url` of `shop`). `NATS_URL` and
/// `NATS_CREDS` are taken where nothing else is said.
///
/// # Errors
/// Every wrong, missing or unknown key and variable, a sentence each, with where it came from.
pub fn load<C: DeserializeOwned>(name: &str, file: Option<&Path>) -> Result<Loaded<C>, RunError> {
    let prefix = format!("{}_", name.to_uppercase().replace('-', "_"));
    let mut mistakes = Vec::new();
    let mut layers = Layers::default();
    if let Some(url) = variable("NATS_URL").and_then(|url| url.into_string().ok()) {
        let nats = Dict::from([("url".to_owned(), Value::from(url))]);
        layers.add(
            Origin::Variable("NATS_URL"),
            Dict::from([("nats".to_owned(), nats.into())]),
        );
    }
    if let Some(path) = file {
        let values = layer::file(path).map_err(|mistake| RunError::misuse([mistake]))?;
        layers.add(Origin::File(path.to_owned()), values);
    }
    let from_variables = layer::variables(&prefix, variables(&prefix), &mut mistakes);
    layers.add(Origin::Variables(prefix.clone()), from_variables);

    let is_text = |tag| {
        matches!(
            layers.origin(tag),
            Some(Origin::Variables(_) | Origin::Variable(_))
        )
    };
    let mut own_values = layers.values();
    let mut runtime_values = Dict::new();
    for key in RuntimeConfig::KEYS {
        runtime_values.extend(own_values.remove_entry(key));
    }
    let describe = |mistake: Mistake| {
        let key = mistake.path.join(".");
        let origin = match mistake.tag.and_then(|tag| layers.origin(tag)) {
            Some(origin) => origin.of(&mistake.path),
            None => format!(
                "a key of the file, or variable {}",
                variable_name(&prefix, &mistake.path)
            ),
        };
        format!("{key}: {} ({origin})", mistake.what)
    };
    let runtime = read::<RuntimeConfig>(runtime_values, &is_text, &[]);
    let own = read::<C>(own_values.clone(), &is_text, &RuntimeConfig::KEYS);
    match (runtime, own) {
        (Ok(mut runtime), Ok(own)) => {
            mistakes.extend(runtime.contradictions());
            if !mistakes.is_empty() {
                return Err(RunError::misuse(mistakes));
            }
            let nats = &mut runtime.nats;
            if nats.user.is_none() && nats.creds.is_none() {
                nats.creds = variable("NATS_CREDS").map(PathBuf::from);
            }
            Ok(Loaded {
                runtime,
                own,
                own_values,
            })
        }
        (runtime, own) => {
            let found = runtime.err().into_iter().chain(own.err()).flatten();
            mistakes.extend(found.map(describe));
            Err(RunError::misuse(mistakes))
        }
    }
}

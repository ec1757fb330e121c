//! Loads a configuration: defaults < file < environment.

use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::context::context;
use super::contradiction::{contradictions, find};
use super::layer::{self, Layers, Origin, variable_name};
use super::mistake::Mistake;
use super::read::read;
use super::{RuntimeConfig, Secret, variable, variables};
use crate::error::run_error::RunError;

/// A configuration, read and right.
#[derive(Debug)]
pub struct Loaded<C> {
    /// The keys that every service has.
    pub runtime: RuntimeConfig,
    /// The service's own keys.
    pub own: C,
    /// The service's own keys as the file and the environment have them.
    pub(crate) own_values: Dict,
}

/// Loads the configuration of the service `name`: defaults, above them the file, above it the
/// variables that begin with the name (`SHOP_NATS__URL` is `nats.url` of `shop`). `NATS_URL` and
/// `NATS_CREDS` are taken where nothing else is said.
///
/// ```no_run
/// #[derive(serde::Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Config {
///     currency: String,
/// }
/// # impl Default for Config { fn default() -> Self { Self { currency: "EUR".to_owned() } } }
///
/// # fn main() -> Result<(), natsfn::RunError> {
/// let config = natsfn::config::load::<Config>("shop", Some("shop.toml".as_ref()))?;
/// println!("{} at {}", config.own.currency, config.runtime.nats.url);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Every wrong or unknown key and variable, and the first missing key of a section: a sentence each,
/// with where it came from.
pub fn load<C: DeserializeOwned>(name: &str, file: Option<&Path>) -> Result<Loaded<C>, RunError> {
    load_for(name, file, Purpose::default())
}

/// Says what is wrong with a database's address.
type CheckAddress = fn(&str) -> Result<(), String>;

/// What a configuration is loaded for.
#[derive(Clone, Default)]
pub(crate) struct Purpose {
    /// What holds where neither file nor environment says otherwise.
    pub(crate) defaults: Dict,
    /// It must say where the database is.
    pub(crate) needs_database: bool,
    /// A variable that stands for `database.url`, above all others.
    pub(crate) database_variable: Option<&'static str>,
    /// Says what is wrong with the database's address.
    pub(crate) check_database: Option<CheckAddress>,
}

/// As [`load`], for what a command does with it.
pub(crate) fn load_for<C: DeserializeOwned>(
    name: &str,
    file: Option<&Path>,
    purpose: Purpose,
) -> Result<Loaded<C>, RunError> {
    let prefix = format!("{}_", name.to_uppercase().replace('-', "_"));
    let mut mistakes = Vec::new();
    let from_file = match file {
        Some(path) => Some((
            path,
            layer::file(path).map_err(|mistake| RunError::misuse([mistake]))?,
        )),
        None => None,
    };
    let (from_variables, files) = layer::variables(&prefix, variables(&prefix), &mut mistakes);
    let build = |context: Option<(PathBuf, Dict)>| {
        let mut layers = Layers::default();
        layers.add(Origin::Dev, purpose.defaults.clone());
        layers.add_variable("NATS_URL", "nats");
        if let Some((path, nats)) = context {
            layers.add(
                Origin::Context(path),
                Dict::from([("nats".to_owned(), nats.into())]),
            );
        }
        if let Some((path, values)) = &from_file {
            layers.add(Origin::File((*path).to_owned()), values.clone());
        }
        let variables = Origin::Variables {
            prefix: prefix.clone(),
            files: files.clone(),
        };
        layers.add(variables, from_variables.clone());
        if let Some(name) = purpose.database_variable {
            layers.add_variable(name, "database");
        }
        layers
    };
    let mut layers = build(None);
    let configured = layers.values();
    if let Some(named) = find(&configured, "nats", "context").and_then(Value::as_str)
        && let Some(nats) = configured.get("nats").and_then(Value::as_dict)
    {
        match context(named, nats) {
            Ok(context) => layers = build(Some(context)),
            Err(mistake) => mistakes.push(mistake),
        }
    }

    let is_text = |tag| {
        matches!(
            layers.origin(tag),
            Some(Origin::Variables { .. } | Origin::Variable(_))
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
    mistakes.extend(contradictions(&runtime_values));
    let database = find(&runtime_values, "database", "url");
    if purpose.needs_database && database.is_none() {
        mistakes.push(describe(Mistake::missing(path_of_database())));
    }
    let in_file = |url: &Value| {
        let file = url.as_dict()?.get("file")?.as_str()?;
        Secret::from_file(file).ok()
    };
    if let (Some(check), Some(url)) = (purpose.check_database, database)
        && let Some(text) = url.as_str().map(Secret::from).or_else(|| in_file(url))
        && let Err(what) = check(text.expose())
    {
        mistakes.push(describe(Mistake {
            what,
            tag: Some(url.tag()),
            ..Mistake::missing(path_of_database())
        }));
    }
    let runtime = read::<RuntimeConfig>(runtime_values, &is_text, &[]);
    let own = read::<C>(own_values, &is_text, &RuntimeConfig::KEYS);
    match (runtime, own) {
        (Ok((mut runtime, _)), Ok((own, own_values))) if mistakes.is_empty() => {
            let nats = &mut runtime.nats;
            if nats.own_login().is_anonymous() && !nats.url.contains('@') {
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

fn path_of_database() -> Vec<String> {
    ["database", "url"].map(str::to_owned).to_vec()
}

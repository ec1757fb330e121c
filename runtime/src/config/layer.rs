//! The sources of values, such as a file and the environment; each overrides those before.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::variable;

/// Layers of values; a later one overrides an earlier one.
#[derive(Default)]
pub(super) struct Layers {
    merged: Figment,
    origins: Vec<Origin>,
}

/// The source of a layer's values.
pub(super) enum Origin {
    /// What `dev` makes for its data directory.
    Dev,
    File(PathBuf),
    /// Variables that begin with a prefix; a key's name follows it.
    Variables(String),
    /// A single variable, whatever the key.
    Variable(&'static str),
}

impl Layers {
    /// Adds values that override the earlier ones.
    pub(super) fn add(&mut self, origin: Origin, values: Dict) {
        let layer = Layer {
            number: self.origins.len(),
            values,
        };
        self.merged = std::mem::take(&mut self.merged).merge(layer);
        self.origins.push(origin);
    }

    /// Adds the value of a variable, as `url` of a section. An empty variable is ignored.
    pub(super) fn add_variable(&mut self, name: &'static str, section: &str) {
        if let Some(url) = variable(name).and_then(|url| url.into_string().ok()) {
            let values = Dict::from([("url".to_owned(), Value::from(url))]);
            let section = Dict::from([(section.to_owned(), values.into())]);
            self.add(Origin::Variable(name), section);
        }
    }

    /// All values as one.
    pub(super) fn values(&self) -> Dict {
        // Merging cannot fail: each layer has been read already.
        self.merged.extract().unwrap_or_default()
    }

    /// The source of a value; `None` if there is no such value.
    pub(super) fn origin(&self, tag: Tag) -> Option<&Origin> {
        let number: usize = self.merged.get_metadata(tag)?.name.parse().ok()?;
        self.origins.get(number)
    }
}

impl Origin {
    /// Names the source, for the user who has to correct the key.
    pub(super) fn of(&self, path: &[String]) -> String {
        match self {
            Self::Dev => "made by dev".to_owned(),
            Self::File(file) => format!("in {}", file.display()),
            Self::Variables(prefix) => format!("variable {}", variable_name(prefix, path)),
            Self::Variable(name) => format!("variable {name}"),
        }
    }
}

/// The variable that sets a key.
pub(super) fn variable_name(prefix: &str, path: &[String]) -> String {
    format!("{prefix}{}", path.join("__").to_uppercase())
}

/// The values of a file of TOML.
pub(super) fn file(path: &Path) -> Result<Dict, String> {
    let text = fs::read_to_string(path).map_err(|error| {
        format!(
            "the configuration file {} cannot be read: {error}",
            path.display()
        )
    })?;
    Toml::from_str(&text).map_err(|error| {
        format!(
            "the configuration file {} is not TOML: {error}",
            path.display()
        )
    })
}

/// The values of variables: `__` separates the names of a key. A value stays text until another type is
/// expected, so a password of digits stays a password.
pub(super) fn variables(
    prefix: &str,
    variables: Vec<(String, OsString)>,
    mistakes: &mut Vec<String>,
) -> Dict {
    let mut values = Dict::new();
    for (name, value) in variables {
        let Ok(value) = value.into_string() else {
            mistakes.push(format!("variable {name}: is not UTF-8"));
            continue;
        };
        let key = name[prefix.len()..].to_lowercase();
        let path: Vec<&str> = key.split("__").collect();
        if path.iter().any(|part| part.is_empty()) || !insert(&mut values, &path, value) {
            mistakes.push(format!("variable {name}: is no configuration key"));
        }
    }
    values
}

/// Puts a value at its path; `false` where another value is in the way.
pub(crate) fn insert(values: &mut Dict, path: &[&str], value: String) -> bool {
    match path {
        [] => false,
        [last] => values
            .insert((*last).to_owned(), Value::from(value))
            .is_none(),
        [first, rest @ ..] => {
            let inner = values
                .entry((*first).to_owned())
                .or_insert_with(|| Dict::new().into());
            match inner {
                Value::Dict(_, inner) => insert(inner, rest, value),
                _ => false,
            }
        }
    }
}

/// One layer in figment's form; the number leads from a value back to its source.
struct Layer {
    number: usize,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.number.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

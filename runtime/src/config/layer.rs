//! The sources of values, such as a file and the environment; each overrides those before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

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
    /// A context of the `nats` command line.
    Context(PathBuf),
    File(PathBuf),
    /// Variables that begin with a prefix; a key's name follows it.
    Variables {
        prefix: String,
        files: Files,
    },
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
            Self::Context(file) | Self::File(file) => format!("in {}", file.display()),
            Self::Variables { prefix, files } => match files.get(path) {
                Some(name) => format!("variable {name}"),
                None => format!("variable {}", variable_name(prefix, path)),
            },
            Self::Variable(name) => format!("variable {name}"),
        }
    }
}

/// The variables that have the name of a secret's file, by the secret's key.
pub(super) type Files = BTreeMap<Vec<String>, String>;

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
    toml::from_str(&text).map_err(|error| {
        // Its own words show the line, which may hold a password.
        let before = error.span().and_then(|span| text.get(..span.start));
        let before = before.unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!(
            "the configuration file {} is not TOML: line {line}, column {column}: {}",
            path.display(),
            error.message().replace('\n', ", ")
        )
    })
}

/// The values of variables: `__` separates the names of a key. A value stays text until another type is
/// expected, so a password of digits stays a password.
pub(super) fn variables(
    prefix: &str,
    variables: Vec<(String, OsString)>,
    mistakes: &mut Vec<String>,
) -> (Dict, Files) {
    let (mut values, mut files) = (Dict::new(), Files::new());
    for (name, value) in variables {
        let Ok(value) = value.into_string() else {
            mistakes.push(format!("variable {name}: is not UTF-8"));
            continue;
        };
        let key = name[prefix.len()..].to_lowercase();
        let path = path(&key);
        if path.iter().any(|part| part.is_empty()) {
            mistakes.push(format!("variable {name}: is no configuration key"));
        } else if !insert(&mut values, &path, value) {
            mistakes.push(format!(
                "variable {name}: names a key that another variable gives, or that is a section"
            ));
        } else if let [secret @ .., "file"] = path.as_slice() {
            let secret = secret.iter().map(|part| (*part).to_owned());
            files.insert(secret.collect(), name.clone());
        }
    }
    (values, files)
}

/// The secrets of the runtime's own keys; `*` is any name.
const SECRETS: [&[&str]; 5] = [
    &["nats", "password"],
    &["nats", "token"],
    &["database", "url"],
    &["credentials", "*", "password"],
    &["credentials", "*", "token"],
];

/// Where the value of a variable belongs. `SHOP_NATS__PASSWORD_FILE` has the name of the file where the password is,
/// as it is usual in containers; a service's own key may end so and be something else.
fn path(key: &str) -> Vec<&str> {
    let mut path: Vec<&str> = key.split("__").collect();
    if let Some(last) = path.last_mut()
        && let Some(name) = last.strip_suffix("_file")
    {
        let whole = std::mem::replace(last, name);
        let is_at = |secret: &&[&str]| {
            secret.len() == path.len() && secret.iter().zip(&path).all(|(a, b)| *a == "*" || a == b)
        };
        let is_secret = SECRETS.iter().any(is_at);
        match path.last_mut() {
            Some(last) if !is_secret => *last = whole,
            _ => path.push("file"),
        }
    }
    path
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_may_name_the_file_of_a_secret() {
        let path = |key| path(key).join(".");
        for (key, place) in [
            ("nats__password_file", "nats.password.file"),
            ("nats__token_file", "nats.token.file"),
            ("nats__password__file", "nats.password.file"),
            ("database__url_file", "database.url.file"),
            (
                "credentials__setup__password_file",
                "credentials.setup.password.file",
            ),
            // Others have files of their own.
            ("nats__creds_file", "nats.creds_file"),
            ("password_file", "password_file"),
            ("auth__nats__password_file", "auth.nats.password_file"),
            ("_file", "_file"),
        ] {
            assert_eq!(path(key), place, "{key}");
        }
    }
}

//! One mistake in a configuration: the key, and the sentence made of the deserializer's error.

use figment::error::{Actual, Error, Kind};
use figment::value::{Tag, Value};
use serde::de::DeserializeOwned;

use super::secret::with_files;

pub(super) const UNKNOWN: &str = "is no configuration key";

const MISSING: &str = "is missing";

/// A key and what is wrong with it.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) path: Vec<String>,
    pub(super) what: String,
    /// Leads to the origin of the value; `None` where there is no value.
    pub(super) tag: Option<Tag>,
}

impl Mistake {
    /// A key that must be there.
    pub(super) fn missing(path: Vec<String>) -> Self {
        Self {
            path,
            what: MISSING.to_owned(),
            tag: None,
        }
    }
}

pub(super) fn attempt<T: DeserializeOwned>(
    values: &Value,
    unknown: &mut Vec<Vec<String>>,
) -> Result<T, Box<Error>> {
    let unknown = |path: serde_ignored::Path<'_>| {
        // `?` stands for an Option or a newtype on the way.
        let path = path.to_string();
        unknown.push(
            path.split('.')
                .filter(|part| *part != "?")
                .map(str::to_owned)
                .collect(),
        );
    };
    with_files(|| serde_ignored::deserialize(values, unknown).map_err(Box::new))
}

/// The key that an error is about. A missing one is reported at what should hold it.
pub(super) fn path_of(error: &Error) -> Vec<String> {
    let mut path = error.path.clone();
    if let Kind::MissingField(name) = &error.kind {
        path.push(name.clone().into_owned());
    }
    path
}

/// Says what is wrong without repeating a value that may be a secret.
pub(super) fn describe(kind: &Kind, beside: &[&str]) -> String {
    match kind {
        Kind::MissingField(_) => MISSING.to_owned(),
        Kind::UnknownField(_, known) => match [known, beside].concat().join(", ") {
            known if known.is_empty() => UNKNOWN.to_owned(),
            known => format!("{UNKNOWN}; there are: {known}"),
        },
        Kind::InvalidType(found, expected) => {
            let expected = match expected.as_str() {
                "a string" => "a text",
                "a boolean" => "true or false",
                "f32" | "f64" => "a number",
                "isize" | "usize" => "a whole number",
                number if number.starts_with(['i', 'u']) && number[1..].parse::<u8>().is_ok() => {
                    "a whole number"
                }
                other => other,
            };
            format!("is {}, must be {expected}", name(found))
        }
        Kind::UnknownVariant(_, known) => format!("must be one of: {}", known.join(", ")),
        other => other.to_string(),
    }
}

fn name(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number",
        Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map => "a section",
        _ => "something else",
    }
}

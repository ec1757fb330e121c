//! Reads values as a type and finds every mistake, where serde stops at the first.

use figment::error::Kind;
use figment::value::{Dict, Tag, Value};
use serde::de::DeserializeOwned;

use super::mistake::{Mistake, UNKNOWN, attempt, describe, path_of};
use super::repair::{find, is_below, repair, set};

/// Reads all values. `is_text` tells the values that are texts only because their origin has
/// nothing else, the environment: those may be numbers, flags and lists as well. `beside` are the
/// keys that somebody else reads, for whoever looks for the right name of an unknown one. The answer
/// has the values too, each of the type that it was read as.
pub(super) fn read<T: DeserializeOwned>(
    values: Dict,
    is_text: &dyn Fn(Tag) -> bool,
    beside: &[&str],
) -> Result<(T, Dict), Vec<Mistake>> {
    let mut values = Value::from(values);
    let mut mistakes: Vec<Mistake> = Vec::new();
    // What was wrong with a text before it was read as something else.
    let mut texts: Vec<(Vec<String>, Kind)> = Vec::new();
    loop {
        let mut unknown = Vec::new();
        let error = match attempt::<T>(&values, &mut unknown) {
            Ok(value) => {
                let mistakes = complete(mistakes, unknown, &mut values);
                return if mistakes.is_empty() {
                    Ok((value, values.into_dict().unwrap_or_default()))
                } else {
                    Err(mistakes)
                };
            }
            Err(error) => error,
        };
        let path = path_of(&error);
        if interpret(find(&mut values, &path), is_text) {
            texts.push((path, error.kind));
            continue;
        }
        let was_text = texts.iter().find(|(text, _)| *text == path);
        let kind = match (&error.kind, was_text) {
            // Not even a text that looks like a number may be one here, but no such text.
            (Kind::InvalidType(..), Some((_, kind))) if !matches!(kind, Kind::InvalidType(..)) => {
                kind
            }
            (kind, _) => kind,
        };
        if let Kind::UnknownField(..) = &error.kind
            && let Some(value) = find(&mut values, &path)
        {
            let what = match path.as_slice() {
                [_] => describe(&error.kind, beside),
                _ => describe(&error.kind, &[]),
            };
            name_all(value, &path, &what, &mut mistakes);
            set(&mut values, &path, None);
            continue;
        }
        let known = mistakes.iter().position(|mistake| mistake.path == path);
        let known = known.unwrap_or_else(|| {
            let tag = find(&mut values, &path).map(|value| value.tag());
            mistakes.push(Mistake {
                path,
                what: describe(kind, &[]),
                tag,
                tried: 0,
            });
            mistakes.len() - 1
        });
        // Where nothing fits, what comes after it stays unseen until this is mended.
        if !repair::<T>(&mut values, &mut mistakes[known]) {
            return Err(complete(mistakes, unknown, &mut values));
        }
    }
}

/// Adds the unknown keys.
fn complete(
    mut mistakes: Vec<Mistake>,
    unknown: Vec<Vec<String>>,
    values: &mut Value,
) -> Vec<Mistake> {
    for path in unknown {
        if let Some(value) = find(values, &path) {
            name_all(value, &path, UNKNOWN, &mut mistakes);
        }
    }
    // A section that is missing is said by what is missing in it.
    let paths: Vec<_> = mistakes
        .iter()
        .map(|mistake| mistake.path.clone())
        .collect();
    mistakes.retain(|one| !paths.iter().any(|path| is_below(path, &one.path)));
    mistakes
}

/// A variable is known by its whole name, so what an unknown section holds is named one by one.
fn name_all(value: &Value, path: &[String], what: &str, mistakes: &mut Vec<Mistake>) {
    match value {
        Value::Dict(_, inner) if !inner.is_empty() => {
            for (key, value) in inner {
                name_all(
                    value,
                    &[path, std::slice::from_ref(key)].concat(),
                    what,
                    mistakes,
                );
            }
        }
        other => mistakes.push(Mistake {
            path: path.to_owned(),
            what: what.to_owned(),
            tag: Some(other.tag()),
            tried: 0,
        }),
    }
}

/// Reads texts of the environment as what they look like; `false` where that changes nothing.
fn interpret(value: Option<&mut Value>, is_text: &dyn Fn(Tag) -> bool) -> bool {
    match value {
        Some(value) => match value {
            Value::String(tag, text) if is_text(*tag) => {
                let Ok(read) = text.parse::<Value>();
                if matches!(read, Value::String(..) | Value::Char(..)) {
                    return false;
                }
                *value = retag(read, *tag);
                true
            }
            Value::Dict(_, inner) => {
                let mut any = false;
                for value in inner.values_mut() {
                    any |= interpret(Some(value), is_text);
                }
                any
            }
            _ => false,
        },
        None => false,
    }
}

fn retag(value: Value, tag: Tag) -> Value {
    match value {
        Value::Bool(_, value) => Value::Bool(tag, value),
        Value::Num(_, value) => Value::Num(tag, value),
        Value::Empty(_, value) => Value::Empty(tag, value),
        Value::Dict(_, value) => Value::Dict(tag, value),
        Value::Array(_, value) => Value::Array(tag, value),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::providers::{Format, Toml};
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Shop {
        name: String,
        port: u16,
        address: std::net::SocketAddr,
        #[serde(default)]
        colours: Vec<String>,
        limits: Limits,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Limits {
        rate: f64,
        burst: std::num::NonZeroU32,
    }

    fn mistakes(text: &str, environment: bool) -> Vec<(String, String)> {
        let values: Dict = Toml::from_str(text).unwrap();
        let mistakes = read::<Shop>(values, &|_| environment, &[]).unwrap_err();
        mistakes
            .into_iter()
            .map(|mistake| (mistake.path.join("."), mistake.what))
            .collect()
    }

    fn keys(text: &str, environment: bool) -> Vec<String> {
        mistakes(text, environment)
            .into_iter()
            .map(|(key, _)| key)
            .collect()
    }

    #[test]
    fn every_mistake_is_found_at_once() {
        let found = keys(
            "port = 99999\ncolours = ['red', 3]\ncolor = 1\n[limits]\nrate = 'x'\nbrust = 1",
            false,
        );
        for key in [
            "port",
            "colours.1",
            "color",
            "limits.rate",
            "limits.brust",
            "limits.burst",
            "name",
            "address",
        ] {
            assert!(found.contains(&key.to_owned()), "{key}: {found:?}");
        }
        assert_eq!(found.len(), 8, "{found:?}");
    }

    #[test]
    fn missing_section_is_named_by_what_it_holds() {
        assert_eq!(
            keys("name = 'a'\nport = 1\naddress = '[::]:1'", false),
            ["limits.rate", "limits.burst"]
        );
    }

    #[test]
    fn text_of_a_variable_becomes_what_is_expected() {
        let text = "name = '0123'\nport = '80'\naddress = '[::]:1'\ncolours = '[a,b]'\n[limits]\nrate = '1.5'\nburst = '2'";
        let (shop, values): (Shop, _) =
            read(Toml::from_str(text).unwrap(), &|_| true, &[]).unwrap();
        assert_eq!(
            (shop.name.as_str(), shop.port, shop.limits.rate),
            ("0123", 80, 1.5)
        );
        assert_eq!(shop.colours, ["a", "b"]);
        // Whoever writes the values to a file, where a text is a text, finds them right.
        let (again, _): (Shop, _) = read(values, &|_| false, &[]).unwrap();
        assert_eq!((again.port, again.limits.rate), (80, 1.5));
        assert_eq!(
            keys(text, false),
            ["colours", "limits.burst", "limits.rate", "port"]
        );
    }

    #[test]
    fn text_that_looks_like_a_number_is_told_what_it_should_be() {
        let text = "name = 'a'\nport = 1\naddress = '3000'\n[limits]\nrate = 1.5\nburst = 2";
        let found = mistakes(text, true);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].1.contains("socket address"), "{found:?}");
    }

    #[test]
    fn wrong_value_is_not_repeated() {
        let found = mistakes("name = 4711", false);
        assert!(
            found.iter().all(|(_, what)| !what.contains("4711")),
            "{found:?}"
        );
    }
}

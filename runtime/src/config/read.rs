//! Reads values as a type and finds every mistake, where serde stops at the first: what is wrong is
//! taken out, and the rest read again.

use figment::error::Kind;
use figment::value::{Dict, Tag, Value};
use serde::de::DeserializeOwned;

use super::mistake::{Mistake, UNKNOWN, attempt, describe, path_of};

/// Reads all values. `is_text` tells the values that are texts only because their origin has
/// nothing else, the environment: those may be numbers, flags and lists as well. `beside` are the
/// keys that somebody else reads, for whoever looks for the right name of an unknown one. The answer
/// has the values too, each of the type that it was read as.
///
/// # Errors
/// Every wrong value and unknown key, of a list the first wrong item. Of a section without a wrong value
/// the first missing key: what comes after it in the type stays unseen until it is there.
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
        let read = attempt::<T>(&values, &mut unknown);
        for path in unknown {
            if let Some(value) = find(&mut values, &path) {
                name_all(value, &path, UNKNOWN, &mut mistakes);
                take(&mut values, &path);
            }
        }
        let error = match read {
            Ok(value) if mistakes.is_empty() => {
                return Ok((value, values.into_dict().unwrap_or_default()));
            }
            Ok(_) => return Err(mistakes),
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
        let what = describe(kind, if path.len() == 1 { beside } else { &[] });
        let is_new = !mistakes.iter().any(|one| one.path.starts_with(&path));
        match find(&mut values, &path) {
            Some(value) if matches!(kind, Kind::UnknownField(..)) => {
                name_all(value, &path, &what, &mut mistakes);
            }
            value if is_new => {
                let tag = value.map(|value| value.tag());
                // A section that is missing is said by what is missing in it.
                mistakes.retain(|one| !path.starts_with(&one.path));
                mistakes.push(Mistake {
                    path: path.clone(),
                    what,
                    tag,
                });
            }
            _ => {}
        }
        let is_filled = is_new && error.missing() && fill(&mut values, &path);
        if !is_filled && take(&mut values, &path).is_none() {
            return Err(mistakes);
        }
    }
}

fn find<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Dict(_, inner) => inner.get_mut(part),
        Value::Array(_, inner) => inner.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Takes out a value, or the list or section that holds it or should; `None` where there is none.
fn take(values: &mut Value, path: &[String]) -> Option<Value> {
    let (last, above) = path.split_last()?;
    let taken = match find(values, above) {
        Some(Value::Dict(_, inner)) => inner.remove(last),
        _ => None,
    };
    taken.or_else(|| take(values, above))
}

/// Puts an empty section in the place of a missing key, which may be one.
fn fill(values: &mut Value, path: &[String]) -> bool {
    let Some((last, above)) = path.split_last() else {
        return false;
    };
    let Some(Value::Dict(_, inner)) = find(values, above) else {
        return false;
    };
    inner.insert(last.clone(), Dict::new().into());
    true
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
        let values: Dict = toml::from_str(text).unwrap();
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
    fn every_mistake_is_found_at_once_but_one_missing_key_hides_the_next() {
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
            "name",
        ] {
            assert!(found.contains(&key.to_owned()), "{key}: {found:?}");
        }
        assert_eq!(found.len(), 6, "{found:?}");
    }

    #[test]
    fn missing_section_is_named_by_what_it_holds() {
        assert_eq!(
            keys("name = 'a'\nport = 1\naddress = '[::]:1'", false),
            ["limits.rate"]
        );
    }

    #[test]
    fn text_of_a_variable_becomes_what_is_expected() {
        let text = "name = '0123'\nport = '80'\naddress = '[::]:1'\ncolours = '[a,b]'\n[limits]\nrate = '1.5'\nburst = '2'";
        let (shop, values): (Shop, _) =
            read(toml::from_str(text).unwrap(), &|_| true, &[]).unwrap();
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

//! Puts something acceptable in the place of a mistake, so that the next one comes to light.

use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::mistake::{Mistake, attempt, path_of};

/// Makes a wrong or missing value acceptable, so that the other mistakes come to light: without it,
/// or with the first substitute that serde takes.
pub(super) fn repair<T: DeserializeOwned>(values: &mut Value, mistake: &mut Mistake) -> bool {
    let texts = ["", "1", "x", "127.0.0.1:1", "http://localhost"].map(|text| Some(text.into()));
    let candidates = [None, Some(0.into()), Some(1.into()), Some(false.into())]
        .into_iter()
        .chain(texts)
        .chain([
            Some(Dict::new().into()),
            Some(Value::from(Vec::<Value>::new())),
        ]);
    let path = &mistake.path;
    for candidate in candidates.skip(mistake.tried) {
        mistake.tried += 1;
        let is_section = matches!(candidate, Some(Value::Dict(..)));
        if !set(values, path, candidate) {
            continue;
        }
        let Err(error) = attempt::<T>(values, &mut Vec::new()) else {
            return true;
        };
        let wrong = path_of(&error);
        let is_within = is_section && error.missing() && is_below(&wrong, path);
        if is_within || !(wrong.starts_with(path) || path.starts_with(&wrong)) {
            return true;
        }
    }
    false
}

pub(super) fn is_below(path: &[String], above: &[String]) -> bool {
    path.len() > above.len() && path.starts_with(above)
}

pub(super) fn find<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Dict(_, inner) => inner.get_mut(part),
        Value::Array(_, inner) => inner.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Puts a value in its place, or takes it out; `false` where that cannot be.
pub(super) fn set(values: &mut Value, path: &[String], value: Option<Value>) -> bool {
    let Some((last, above)) = path.split_last() else {
        return false;
    };
    match (find(values, above), value) {
        (Some(Value::Dict(_, inner)), Some(value)) => {
            inner.insert(last.clone(), value);
            true
        }
        (Some(Value::Dict(_, inner)), None) => inner.remove(last).is_some(),
        (Some(Value::Array(_, inner)), value) => {
            let place = last.parse().ok().and_then(|at: usize| inner.get_mut(at));
            place
                .zip(value)
                .map(|(place, value)| *place = value)
                .is_some()
        }
        _ => false,
    }
}

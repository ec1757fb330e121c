//! The differences between an existing configuration and the wanted one, as text.

use serde_json::{Map, Value};

/// A configuration as JetStream has it.
pub(crate) type Settings = Map<String, Value>;

/// Each difference, a line such as `max_bytes: 1048576 -> 2097152`.
pub(crate) fn differences(live: &Settings, wanted: &Settings) -> Vec<String> {
    let mut keys: Vec<&String> = live.keys().chain(wanted.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter(|key| live.get(*key) != wanted.get(*key))
        .map(|key| {
            let shown = |settings: &Settings| shown(key, settings.get(key));
            format!("  {key}: {} -> {}", shown(live), shown(wanted))
        })
        .collect()
}

/// The server gives durations in nanoseconds; show seconds.
fn shown(key: &str, value: Option<&Value>) -> String {
    let nanos = value.and_then(Value::as_u64);
    match (key, value, nanos) {
        (_, None | Some(Value::Null), _) => "unset".to_owned(),
        ("max_age" | "duplicate_window" | "ack_wait", _, Some(nanos)) => {
            format!("{} s", nanos as f64 / 1e9)
        }
        (_, Some(value), _) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told_and_times_in_seconds() {
        let settings = |value: Value| value.as_object().unwrap().clone();
        let live = settings(json!({ "a": 1, "max_age": 600_000_000_000_u64, "b": [1] }));
        let wanted = settings(json!({ "a": 1, "max_age": 0, "c": "x" }));
        assert_eq!(
            differences(&live, &wanted),
            [
                "  b: [1] -> unset",
                "  c: unset -> \"x\"",
                "  max_age: 600 s -> 0 s"
            ]
        );
    }
}

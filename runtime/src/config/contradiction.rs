//! Mistakes in a configuration whose single values are valid.

use figment::value::{Dict, Value};

use super::address::{Addresses, TWO_JETSTREAMS, TWO_LOGINS};

/// Sentences about the runtime's keys. Only the presence of keys counts, so an invalid value hides no
/// contradiction and is not reported as missing.
pub(super) fn contradictions(values: &Dict) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(nats) = values.get("nats").and_then(Value::as_dict) {
        found.extend(of_login("nats", nats));
        let is_in_address = nats
            .get("url")
            .and_then(Value::as_str)
            .and_then(|url| Addresses::parse(url).ok())
            .is_some_and(|addresses| addresses.login.is_some());
        if is_in_address && LOGINS.iter().any(|key| nats.contains_key(*key)) {
            found.push(TWO_LOGINS.to_owned());
        }
        for (one, other) in [("cert", "key"), ("key", "cert")] {
            if nats.contains_key(one) && !nats.contains_key(other) {
                found.push(format!(
                    "nats.{other}: is missing, though nats.{one} is given"
                ));
            }
        }
        if nats.contains_key("domain") && nats.contains_key("api_prefix") {
            found.push(TWO_JETSTREAMS.to_owned());
        }
    }
    let credentials = values.get("credentials").and_then(Value::as_dict);
    for (name, login) in credentials.into_iter().flatten() {
        if let Some(login) = login.as_dict() {
            found.extend(of_login(&format!("credentials.{name}"), login));
        }
    }
    if let Some(user) = find(values, "invoke", "user").and_then(Value::as_str)
        && !credentials.is_some_and(|credentials| credentials.contains_key(user))
    {
        found.push(format!("invoke.user: there are no credentials.{user}"));
    }
    found
}

/// The value of a key in a section.
pub(super) fn find<'a>(values: &'a Dict, section: &str, key: &str) -> Option<&'a Value> {
    values.get(section)?.as_dict()?.get(key)
}

/// Each is enough to log in.
pub(super) const LOGINS: [&str; 4] = ["user", "token", "nkey", "creds"];

fn of_login(key: &str, login: &Dict) -> Vec<String> {
    let mut found = Vec::new();
    let given: Vec<&str> = LOGINS
        .into_iter()
        .filter(|name| login.contains_key(*name))
        .collect();
    if given.len() > 1 {
        found.push(format!(
            "{key}: has {}, and only one of them can log in",
            given.join(" and ")
        ));
    }
    for (one, other) in [("user", "password"), ("password", "user")] {
        if login.contains_key(one) && !login.contains_key(other) {
            found.push(format!(
                "{key}.{other}: is missing, though {key}.{one} is given"
            ));
        }
    }
    found
}

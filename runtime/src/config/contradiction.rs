//! Mistakes in a configuration whose single values are valid.

use figment::value::{Dict, Value};

use super::address::{Addresses, TWO_LOGINS};

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
        if is_in_address && (nats.contains_key("user") || nats.contains_key("creds")) {
            found.push(TWO_LOGINS.to_owned());
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

fn of_login(key: &str, login: &Dict) -> Option<String> {
    let [user, password, creds] =
        ["user", "password", "creds"].map(|name| login.contains_key(name));
    match (user, password, creds) {
        (true, _, true) => Some(format!(
            "{key}: has user and creds, and only one of them can log in"
        )),
        (true, false, _) => Some(format!(
            "{key}.password: is missing, though {key}.user is given"
        )),
        (false, true, _) => Some(format!(
            "{key}.user: is missing, though {key}.password is given"
        )),
        _ => None,
    }
}

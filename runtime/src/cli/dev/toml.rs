//! The configuration of a run as TOML, one key a line.

use std::path::Path;

use figment::value::{Dict, Value};

use crate::config::{Login, RuntimeConfig, Secret};

/// What another process needs to join: the connection, the database, the credentials, and the
/// service's own values.
pub(super) fn configuration(name: &str, config: &RuntimeConfig, own_values: &Dict) -> String {
    let mut lines = vec![
        format!(
            "# Written by `{name} dev`, which overwrites it at each start. Another process joins with"
        ),
        format!("# `{name} --config <this file> serve FUNCTION...`"),
    ];
    for (key, value) in own_values {
        lines.push(format!("{} = {}", quoted(key), inline(value)));
    }
    let nats = &config.nats;
    lines.extend(line("nats.url", Some(&nats.url)));
    lines.extend(line("nats.monitor", nats.monitor.as_deref()));
    lines.extend(login("nats", &nats.own_login()));
    let database = &config.database;
    lines.extend(line("database.url", config.database_url()));
    for (key, size) in [
        ("request_connections", database.request_connections),
        ("stream_connections", database.stream_connections),
    ] {
        lines.extend(size.map(|size| format!("database.{key} = {size}")));
    }
    for (name, one) in &config.credentials {
        lines.extend(login(&format!("credentials.{}", quoted(name)), one));
    }
    lines.extend(line("invoke.user", config.invoke.user.as_deref()));
    lines.join("\n") + "\n"
}

fn login(key: &str, login: &Login) -> Vec<String> {
    let [nkey, creds] =
        [&login.nkey, &login.creds].map(|file| file.as_deref().map(Path::to_string_lossy));
    let values = [
        ("user", login.user.as_deref()),
        ("password", login.password.as_ref().map(Secret::expose)),
        ("token", login.token.as_ref().map(Secret::expose)),
        ("nkey", nkey.as_deref()),
        ("creds", creds.as_deref()),
        ("inbox_prefix", login.inbox_prefix.as_deref()),
    ];
    values
        .into_iter()
        .filter_map(|(name, value)| line(&format!("{key}.{name}"), value))
        .collect()
}

fn line(key: &str, value: Option<&str>) -> Option<String> {
    value.map(|value| format!("{key} = {}", quoted(value)))
}

/// A TOML string: JSON's form, except for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

/// A value of TOML on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(_, text) => quoted(text),
        Value::Char(_, character) => quoted(&character.to_string()),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_u128()) {
            (Some(whole), _) => whole.to_string(),
            (_, Some(whole)) => whole.to_string(),
            _ => format!("{:?}", number.to_f64().unwrap_or_default()),
        },
        Value::Empty(..) => quoted(""),
        Value::Array(_, items) => {
            format!(
                "[{}]",
                items.iter().map(inline).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Dict(_, items) => {
            let item =
                |(key, value): (&String, &Value)| format!("{} = {}", quoted(key), inline(value));
            format!(
                "{{ {} }}",
                items.iter().map(item).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_values_read_back_as_they_were() {
        let text = r#"
            word = "a'b\"c\\d\u007F"
            list = [1, -2, 3.0, true]
            [send]
            rate = 1e3
            'odd key' = {}
        "#;
        let values: Dict = ::toml::from_str(text).unwrap();
        let written = configuration("shop", &RuntimeConfig::default(), &values);
        let mut read: Dict = ::toml::from_str(&written).unwrap();
        read.remove("nats");
        assert_eq!(read, values, "{written}");
    }
}

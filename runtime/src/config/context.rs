//! A context of the `nats` command line, as keys of `nats`.

use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};
use serde::Deserialize;

use super::address::{Addresses, without_password};
use super::contradiction::LOGINS;
use super::{text_of, variable};

/// What the command line keeps. What is empty is not said.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    url: String,
    user: String,
    password: String,
    token: String,
    creds: String,
    nkey: String,
    ca: String,
    cert: String,
    key: String,
    tls_first: bool,
    inbox_prefix: String,
    nsc: String,
    user_jwt: String,
    user_seed: String,
    socks_proxy: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
}

/// The file of a context, and the keys that it gives to `nats` beside those that are said elsewhere.
///
/// # Errors
/// It cannot be read, or holds what is not supported.
pub(super) fn context(named: &str, nats: &Dict) -> Result<(PathBuf, Dict), String> {
    let file = file(named)?;
    let wrong = |what: String| format!("nats.context: {what}");
    let text = text_of(&file).map_err(&wrong)?;
    let context: Context = serde_json::from_str(&text).map_err(|error| {
        // Its own words may show a value.
        let (line, column) = (error.line(), error.column());
        wrong(format!(
            "{} is no context of the nats command line: line {line}, column {column}",
            file.display()
        ))
    })?;
    for (key, value) in [
        ("nsc", &context.nsc),
        ("user_jwt", &context.user_jwt),
        ("user_seed", &context.user_seed),
        ("socks_proxy", &context.socks_proxy),
    ] {
        if !value.is_empty() {
            return Err(wrong(format!(
                "{} has {key}, which is not supported",
                file.display()
            )));
        }
    }
    let mut values: Dict = [
        ("url", context.url),
        ("user", context.user),
        ("password", context.password),
        ("token", context.token),
        ("creds", expanded(&context.creds)),
        ("nkey", expanded(&context.nkey)),
        ("ca", expanded(&context.ca)),
        ("cert", expanded(&context.cert)),
        ("key", expanded(&context.key)),
        ("inbox_prefix", context.inbox_prefix),
        ("domain", context.jetstream_domain),
        ("api_prefix", context.jetstream_api_prefix),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), Value::from(value)))
    .collect();
    if context.tls_first {
        values.insert("tls_first".to_owned(), true.into());
    }
    // Another login takes the place of the context's, and so does another certificate, and another JetStream.
    let is_in_address = |url: Option<&Value>| url.and_then(Value::as_str).is_some_and(holds_login);
    if LOGINS.iter().any(|key| nats.contains_key(*key)) || is_in_address(nats.get("url")) {
        for key in LOGINS.into_iter().chain(["password", "inbox_prefix"]) {
            values.remove(key);
        }
        if let Some(url) = values
            .get("url")
            .and_then(Value::as_str)
            .map(without_password)
        {
            values.insert("url".to_owned(), url.into());
        }
    }
    for [one, other] in [["cert", "key"], ["domain", "api_prefix"]] {
        if nats.contains_key(one) || nats.contains_key(other) {
            values.remove(one);
            values.remove(other);
        }
    }
    for (key, value) in &values {
        let value = value.as_str().unwrap_or_default();
        if key != "url"
            && !nats.contains_key(key)
            && let Some(scheme) = ELSEWHERE.iter().find(|scheme| value.starts_with(**scheme))
        {
            return Err(wrong(format!(
                "{} has {key} as {scheme}..., which is not supported; name a login beside the context",
                file.display()
            )));
        }
    }
    Ok((file, values))
}

/// How a value begins that is not the text or the file itself, but says where the command line takes it from.
const ELSEWHERE: [&str; 5] = ["data:", "env:", "file:", "nsc:", "op:"];

fn holds_login(url: &str) -> bool {
    Addresses::parse(url).is_ok_and(|addresses| addresses.login.is_some())
}

/// Where the command line keeps the context of a name, which may be that of a file too.
fn file(named: &str) -> Result<PathBuf, String> {
    if named.contains(['/', '\\']) || named.ends_with(".json") {
        return Ok(expanded(named).into());
    }
    let home = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(home_directory()?.join(".config")));
    let home = home.ok_or("nats.context: HOME is not set; name the context's file")?;
    Ok(home.join(format!("nats/context/{named}.json")))
}

/// A path as the command line reads it: `$NAME` and `${NAME}` are variables, and `~` is the home directory.
fn expanded(path: &str) -> String {
    let mut parts = path.strip_prefix("file://").unwrap_or(path).split('$');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let braced = part.strip_prefix('{').and_then(|it| it.split_once('}'));
        let (name, rest) = braced.unwrap_or_else(|| {
            let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            part.split_at(part.find(is_end).unwrap_or(part.len()))
        });
        // A `$` that no name follows is itself.
        if name.is_empty() && braced.is_none() {
            path.push('$');
        }
        path += &variable(name).unwrap_or_default().to_string_lossy();
        path += rest;
    }
    match (path.strip_prefix("~/"), home_directory()) {
        (Some(rest), Some(home)) => home.join(Path::new(rest)).to_string_lossy().into_owned(),
        _ => path,
    }
}

fn home_directory() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str, nats: &Dict) -> Result<Dict, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.json");
        fs::write(&file, text).unwrap();
        let (found, values) = context(&file.to_string_lossy(), nats)?;
        assert_eq!(found, file);
        Ok(values)
    }

    const SHOP: &str = r#"{
        "description": "", "url": "tls://one:4222,tls://two:4222", "user": "", "password": "", "creds": "/shop.creds",
        "ca": "/ca.pem", "inbox_prefix": "_INBOX.shop", "color_scheme": "", "tls_first": true
    }"#;

    #[test]
    fn context_gives_what_it_says_and_another_login_takes_its_place() {
        let text =
            |values: &Dict, key: &str| values.get(key).and_then(Value::as_str).map(str::to_owned);
        let values = read(SHOP, &Dict::new()).unwrap();
        assert_eq!(
            text(&values, "url").unwrap(),
            "tls://one:4222,tls://two:4222"
        );
        assert_eq!(text(&values, "creds").unwrap(), "/shop.creds");
        assert!(values.contains_key("tls_first") && !values.contains_key("user"));

        let own = Dict::from([("user".to_owned(), "shop".into())]);
        let values = read(SHOP, &own).unwrap();
        assert_eq!(text(&values, "ca").unwrap(), "/ca.pem");
        assert!(text(&values, "creds").is_none() && text(&values, "inbox_prefix").is_none());
    }

    #[test]
    fn login_in_an_address_is_one_too() {
        let in_address = Dict::from([("url".to_owned(), "nats://a:b@host".into())]);
        assert!(!read(SHOP, &in_address).unwrap().contains_key("creds"));
        let own = Dict::from([("user".to_owned(), "shop".into())]);
        let values = read(r#"{ "url": "nats://a:b@host" }"#, &own).unwrap();
        assert_eq!(
            values.get("url").and_then(Value::as_str),
            Some("nats://host")
        );
    }

    #[test]
    fn another_jetstream_takes_the_place_of_the_context_s() {
        let hub = r#"{ "jetstream_domain": "hub" }"#;
        let values = read(hub, &Dict::new()).unwrap();
        assert_eq!(values.get("domain").and_then(Value::as_str), Some("hub"));
        let prefix = r#"{ "jetstream_api_prefix": "hubjs.API" }"#;
        let values = read(prefix, &Dict::new()).unwrap();
        assert_eq!(
            values.get("api_prefix").and_then(Value::as_str),
            Some("hubjs.API")
        );
        let own = Dict::from([("api_prefix".to_owned(), "hubjs.API".into())]);
        assert!(!read(hub, &own).unwrap().contains_key("domain"));
    }

    #[test]
    fn path_may_hold_variables_and_be_an_address_of_a_file() {
        let value = variable("PATH").unwrap().into_string().unwrap();
        for (written, path) in [
            ("$PATH/shop.creds", format!("{value}/shop.creds")),
            ("/a${PATH}b$.c$", format!("/a{value}b$.c$")),
            ("file://$PATH/shop.creds", format!("{value}/shop.creds")),
            ("$NATSFN_TEST_NO_SUCH/shop.creds", "/shop.creds".to_owned()),
        ] {
            let text = serde_json::json!({ "creds": written }).to_string();
            let values = read(&text, &Dict::new()).unwrap();
            assert_eq!(values.get("creds").and_then(Value::as_str), Some(&*path));
        }
    }

    #[test]
    fn what_the_context_says_of_a_secret_is_not_shown() {
        for text in [
            r#"{ "creds": "data:;base64,aHVzaA==" }"#,
            r#"{ "user": "shop", "password": "env://hush" }"#,
            r#"{ "token": "op://hush" }"#,
            r#"{ "password": 4711 }"#,
            r#"{ "password": "hush }"#,
        ] {
            let refused = read(text, &Dict::new()).unwrap_err();
            let shown = ["hush", "aHVzaA", "4711"].map(|secret| refused.contains(secret));
            assert_eq!(shown, [false; 3], "{refused}");
        }
        // Another login takes its place.
        let own = Dict::from([("nkey".to_owned(), "/shop.nk".into())]);
        read(r#"{ "creds": "data:;base64,aHVzaA==" }"#, &own).unwrap();
        let own = Dict::from([("password".to_owned(), "own".into())]);
        read(r#"{ "user": "shop", "password": "env://hush" }"#, &own).unwrap();
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        for (text, what) in [
            (
                r#"{ "creds": "data:;base64,aHVzaA==" }"#,
                "has creds as data:..., which is not supported",
            ),
            (
                r#"{ "nsc": "nsc://a/b/c" }"#,
                "has nsc, which is not supported",
            ),
            (
                r#"{ "socks_proxy": "a" }"#,
                "has socks_proxy, which is not supported",
            ),
            ("url = 1", "is no context of the nats command line"),
        ] {
            let refused = read(text, &Dict::new()).unwrap_err();
            assert!(
                refused.starts_with("nats.context: ") && refused.contains(what),
                "{refused}"
            );
        }
        let missing = context("./no.json", &Dict::new()).unwrap_err();
        assert!(missing.contains("no.json cannot be read"), "{missing}");
    }
}

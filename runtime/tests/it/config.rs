//! The configuration: what is wrong in a file is told all at once. Variables: see process.rs.

use std::fs;

use natsfn::RunError;
use natsfn::config::{Loaded, LogFormat, load};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Shop {
    currency: String,
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
struct Limits {
    orders: Option<u32>,
}

fn read(text: &str) -> Result<Loaded<Shop>, RunError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.toml");
    fs::write(&file, text).unwrap();
    // No variable begins with this name.
    load("natsfn-test-config", Some(&file))
}

#[test]
fn file_gives_the_runtimes_keys_and_the_services_own() {
    let loaded = read(
        r#"
        currency = "EUR"
        limits.orders = 3
        nats = { url = "nats://there:4222", user = "shop", password = "hush" }
        database.url = "sqlite://shop.db"
        credentials.setup = { user = "setup", password = "hush too", inbox_prefix = "_INBOX.s" }
        log.format = "json"
        "#,
    )
    .unwrap();

    assert_eq!(
        (loaded.own.currency.as_str(), loaded.own.limits.orders),
        ("EUR", Some(3))
    );
    assert_eq!(loaded.runtime.log.format, LogFormat::Json);
    assert_eq!(loaded.runtime.database_url(), Some("sqlite://shop.db"));
    let setup = loaded.runtime.nats_as("setup");
    assert_eq!(
        (setup.url.as_str(), setup.user.as_deref()),
        ("nats://there:4222", Some("setup"))
    );
    assert_eq!(loaded.runtime.nats_as("dead").user.as_deref(), Some("shop"));
    assert!(!format!("{loaded:?}").contains("hush"), "{loaded:?}");
}

#[test]
fn every_mistake_is_named_at_once_with_its_origin() {
    let error = read(
        r#"
        curency = "EUR"
        limits = { orders = "many", order = 1 }
        nats = { url = 4222, adress = "x" }
        log.format = "xml"
        credentials.setup = { usr = "setup" }
        "#,
    )
    .unwrap_err();

    assert_eq!(error.exit_code(), 2);
    let wrong = [
        "curency:",
        "currency: is missing",
        "limits.orders:",
        "limits.order:",
        "nats.url:",
        "nats.adress:",
        "log.format:",
        "credentials.setup.usr:",
    ];
    for key in wrong {
        assert!(
            error.lines().iter().any(|line| line.starts_with(key)),
            "{key} in {error}"
        );
    }
    assert_eq!(error.lines().len(), wrong.len(), "{error}");
    let with_a_value = error
        .lines()
        .iter()
        .filter(|line| !line.contains("missing"));
    assert!(
        with_a_value.clone().all(|line| line.contains("shop.toml")),
        "{error}"
    );
}

#[test]
fn half_a_login_is_a_mistake() {
    let error = read(
        r#"
        currency = "EUR"
        nats.user = "shop"
        credentials.setup.password = "hush"
        credentials.dead = { user = "dead", password = "hush", creds = "dead.creds" }
        invoke.user = "nobody"
        "#,
    )
    .unwrap_err();

    let keys = [
        "nats.password",
        "credentials.setup.user",
        "credentials.dead",
        "invoke.user",
    ];
    assert_eq!(error.lines().len(), keys.len(), "{error}");
    for key in keys {
        assert!(error.to_string().contains(key), "{key} in {error}");
    }
}

#[test]
fn secret_may_be_in_a_file_and_the_connection_in_a_context() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("password"), "hush\n").unwrap();
    fs::write(
        at("shop.json"),
        r#"{ "url": "nats://there", "token": "t", "inbox_prefix": "_INBOX.t" }"#,
    )
    .unwrap();
    let text = format!(
        "currency = \"EUR\"\nnats.context = {:?}\ncredentials.setup = {{ user = \"setup\", password = {{ file = {:?} }} }}",
        at("shop.json"),
        at("password")
    );
    let loaded = read(&text).unwrap();
    let nats = &loaded.runtime.nats;
    assert_eq!(
        (nats.url.as_str(), nats.inbox_prefix.as_deref()),
        ("nats://there", Some("_INBOX.t"))
    );
    let setup = loaded.runtime.nats_as("setup");
    assert_eq!(
        (setup.url.as_str(), setup.token.is_none()),
        ("nats://there", true)
    );
    assert_eq!(setup.password.unwrap().expose(), "hush");

    fs::remove_file(at("password")).unwrap();
    fs::remove_file(at("shop.json")).unwrap();
    let refused = read(&text).unwrap_err().to_string();
    for what in [
        "nats.context: ",
        "shop.json cannot be read",
        "credentials.setup.password: ",
        "password cannot be read",
    ] {
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn file_that_is_not_there_is_named() {
    let missing = std::path::Path::new("no/such/shop.toml");
    let error = load::<Shop>("natsfn-test-config", Some(missing)).unwrap_err();
    assert!(error.to_string().contains("no/such/shop.toml"), "{error}");
}

#[test]
fn what_is_no_toml_is_told_by_its_place_and_not_shown() {
    for (line, place) in [
        ("nats.password = hush", "line 2, column 17"),
        ("nats.password = \"hush", "line 2, column "),
        ("hush", "line 2, column "),
    ] {
        let error = read(&format!("currency = \"EUR\"\n{line}")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let told = error.to_string();
        assert!(
            told.contains("shop.toml is not TOML: ") && told.contains(place),
            "{told}"
        );
        assert!(!told.contains("hush"), "{told}");
    }
}

#[test]
fn inbox_prefix_is_a_subject() {
    for prefix in ["", "_INBOX.s.shop.>", "_INBOX.", "_INBOX.*", "_INBOX shop"] {
        let text = format!(
            "currency = \"EUR\"\nnats.inbox_prefix = {prefix:?}\n\
             credentials.setup = {{ user = \"a\", password = \"b\", inbox_prefix = {prefix:?} }}"
        );
        let error = read(&text).unwrap_err();
        assert_eq!(error.lines().len(), 2, "{error}");
        for key in ["nats", "credentials.setup"] {
            let mistake = format!(
                "{key}.inbox_prefix: is {prefix:?}, must be a subject without wildcards, such as _INBOX.s.shop"
            );
            assert!(error.to_string().contains(&mistake), "{error}");
        }
    }
}

#[test]
fn jetstream_is_named_in_one_way_and_as_a_subject() {
    let both = "domain = \"hub\", api_prefix = \"hubjs.API\"";
    for (nats, mistake) in [
        (
            "domain = \"a.b\"",
            "nats.domain: is \"a.b\", must be one token of a subject, such as hub",
        ),
        ("domain = \"*\"", "nats.domain: is \"*\", must be"),
        ("domain = \"\"", "nats.domain: is \"\", must be"),
        (
            "api_prefix = \"hubjs.API.\"",
            "nats.api_prefix: is \"hubjs.API.\", must be a subject without wildcards, such as hubjs.API",
        ),
        (
            "api_prefix = \"hubjs.>\"",
            "nats.api_prefix: is \"hubjs.>\"",
        ),
        ("api_prefix = \"a b\"", "nats.api_prefix: is \"a b\""),
        (
            both,
            "nats.domain and nats.api_prefix: both name a JetStream; leave one out",
        ),
    ] {
        let text = format!("currency = \"EUR\"\nnats = {{ {nats} }}");
        let error = read(&text).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(mistake), "{error}");
    }
    let loaded = read("currency = \"EUR\"\nnats.domain = \"hub\"").unwrap();
    assert_eq!(loaded.runtime.nats.domain.as_deref(), Some("hub"));
}

//! Wrong configuration: every mistake named at once, exit code 2, before anything starts.

use crate::child;
use crate::world::World;

#[tokio::test]
async fn every_mistake_in_the_configuration_is_named_at_once() {
    let world = World::new().await;
    let mut command = child::command(&world, &["serve"]);
    command
        // Types, keys, values, addresses, half a login and what is missing.
        .env("CHAT_STREAM__MAX_BYTES", "plenty")
        .env("CHAT_SEND__BRUST", "50")
        .env("CHAT_SEND__RATE", "0")
        .env("CHAT_SEND__BURST", "0")
        .env("CHAT_HISTORY__RATE", "-1")
        .env("CHAT_HISTORY__IN_FLIGHT", "0")
        .env("CHAT_STREAM__REPLICAS", "2")
        .env("CHAT_STREAM__KEEP_DAYS", "0")
        .env("CHAT_PAGE__LISTEN", "localhost")
        .env("CHAT_PAGE__WEBSOCKET", "localhost:9222")
        .env("CHAT_PAGE__MAX_CONNECTIONS", "many")
        .env("CHAT_PAGE__TELEMETRY__ENDPOINT", "http://a; script-src *")
        .env("CHAT_PAGE__TELEMETRY__RATIO", "2")
        .env("CHAT_AUTH__SESSION_HOURS", "0")
        .env("CHAT_AUTH__CONNECTION_TYPES", "[]")
        .env("CHAT_AUTH__OIDC__ISSUER", "http://id.example")
        .env("CHAT_AUTH__OIDC__CLIENT", "")
        .env("CHAT_NATS__URL", "no address")
        .env("CHAT_CREDENTIALS__DEAD__PASSWORD", "hunter2")
        .env_remove("CHAT_DATABASE__URL");

    let output = child::run(command).await;

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let mistakes = [
        "stream.max_bytes: is a text, must be a whole number (variable CHAT_STREAM__MAX_BYTES)",
        "send.brust: is no configuration key",
        "send.rate: is 0, must be a number above 0 (variable CHAT_SEND__RATE)",
        "send.burst: is 0, must be at least 1",
        "history.rate: is -1, must be a number above 0 (variable CHAT_HISTORY__RATE)",
        "history.in_flight: is 0, must be at least 1",
        "stream.replicas: is 2, must be 1, 3 or 5",
        "stream.keep_days: is 0, must be at least 1",
        "page.listen: is \"localhost\", must be an address and a port, like 127.0.0.1:3000",
        "page.websocket: is \"localhost:9222\", must be like ws://localhost:9222",
        "page.max_connections: is a text, must be a whole number",
        "page.telemetry.endpoint: is \"http://a; script-src *\", must be like http://localhost:4318",
        "page.telemetry.ratio: is 2, must be from 0 to 1",
        "auth.session_hours: is 0, must be above 0 and at most 720",
        "auth.connection_types: is empty, so nobody could connect",
        "auth.oidc.issuer: is \"http://id.example\", must be like https://id.example/realms/chat",
        "auth.oidc.client: is \"\", must be not empty",
        "nats.url: \"no address\" is no address",
        "credentials.dead.user: is missing",
        "database.url: is missing",
    ];
    for mistake in mistakes {
        assert!(stderr.contains(mistake), "{mistake}: {stderr}");
    }
    assert_eq!(stderr.lines().count(), mistakes.len(), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[tokio::test]
async fn what_is_missing_or_no_address_is_named() {
    let world = World::new().await;
    for (name, value, said) in [
        ("CHAT_DATABASE__URL", None, "database.url"),
        (
            "CHAT_DATABASE__URL",
            Some("mysql://hunter2@localhost/chat"),
            "database.url",
        ),
        ("CHAT_NATS__PASSWORD", None, "nats.password"),
        ("CHAT_NATS__URL", Some("no address"), "nats.url"),
    ] {
        let mut command = child::command(&world, &["serve"]);
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };

        let output = child::run(command).await;

        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value:?}: {stderr}");
        assert!(stderr.contains(said), "{name}={value:?}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[tokio::test]
async fn wrong_addresses_are_named_together() {
    let world = World::new().await;
    for (command, database, said) in [
        ("serve", None, "database.url: is missing"),
        (
            "setup",
            Some("mysql://hunter2@localhost/chat"),
            "database.url: this kind",
        ),
    ] {
        let mut command = child::command(&world, &[command]);
        command.env("CHAT_NATS__URL", "no address");
        match database {
            Some(url) => command.env("CHAT_DATABASE__URL", url),
            None => command.env_remove("CHAT_DATABASE__URL"),
        };

        let output = child::run(command).await;

        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        for said in ["nats.url: ", said] {
            assert!(stderr.contains(said), "{said}: {stderr}");
        }
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[tokio::test]
async fn wrong_kind_of_database_stops_dev_before_anything_starts() {
    let world = World::new().await;
    let mut command = child::command(&world, &["dev", "--port", "0", "--data", "dev"]);
    command.env("DATABASE_URL", "mysql://hunter2@localhost/chat");

    let output = child::run(command).await;

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("database.url: this kind"), "{stderr}");
    assert!(stderr.contains("(variable DATABASE_URL)"), "{stderr}");
    assert!(!world.server.data().join("dev").exists());
}

#[tokio::test]
async fn function_that_its_user_may_not_serve_is_named() {
    let world = World::new().await;
    let mut command = child::command(&world, &["serve", "send", "persist"]);
    command
        .env("CHAT_NATS__USER", "persist")
        .env("CHAT_NATS__PASSWORD", "persist")
        .env("CHAT_NATS__INBOX_PREFIX", "_INBOX.s.persist");

    let output = child::run(command).await;

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("the user persist may not subscribe chat.send.*;"),
        "{stderr}"
    );
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains("serves"), "{stdout}");
}

#[tokio::test]
async fn wrong_password_is_named_with_where_it_stands() {
    let world = World::new().await;
    for (section, keys) in [
        ("CHAT_NATS", "nats.user and nats.password"),
        (
            "CHAT_CREDENTIALS__DEAD",
            "credentials.dead.user and credentials.dead.password",
        ),
    ] {
        let mut command = child::command(&world, &["dead", "list"]);
        command
            .env_remove("RUST_LOG")
            .env(format!("{section}__USER"), "dead")
            .env(format!("{section}__PASSWORD"), "wrong");

        let output = child::run(command).await;

        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(keys), "{keys}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "one line tells it: {stderr}");
    }
}

#[tokio::test]
async fn wrong_keys_and_a_broken_file_of_users_are_named_by_key() {
    let world = World::new().await;
    let users = world.server.data().join("broken.json");
    std::fs::write(&users, r#"{"alice": {"password": "hunter2"}}"#).unwrap();
    let mut command = child::command(&world, &["serve", "auth"]);
    command
        .env("CHAT_AUTH__ISSUER", "hunter2")
        .env("CHAT_AUTH__XKEY", "hunter2")
        .env("CHAT_AUTH__USERS", &users);

    let output = child::run(command).await;

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for mistake in [
        "auth.issuer: the issuer's seed is no seed",
        "auth.xkey: the xkey's seed is no seed",
        "auth.users: ",
        "the password of alice is no argon2 hash",
    ] {
        assert!(stderr.contains(mistake), "{mistake}: {stderr}");
    }
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

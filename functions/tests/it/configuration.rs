//! Wrong configuration: every mistake named at once, exit code 2, before anything starts.

use crate::child;
use crate::world::World;

#[tokio::test]
async fn every_mistake_in_the_configuration_is_named_at_once() {
    let world = World::new().await;
    let mut command = child::command(&world, &["serve"]);
    command
        .env("CHAT_SEND__RATE", "fast")
        .env("CHAT_SEND__BRUST", "50")
        .env("CHAT_STREAM__MAX_BYTES", "plenty")
        .env("CHAT_NATS__PASWORD", "hunter2")
        .env_remove("CHAT_NATS__PASSWORD");

    let output = child::run(command).await;

    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    for mistake in [
        "CHAT_SEND__RATE",
        "CHAT_SEND__BRUST",
        "CHAT_STREAM__MAX_BYTES",
        "CHAT_NATS__PASWORD",
    ] {
        assert!(said.contains(mistake), "{mistake}: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
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

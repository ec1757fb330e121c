//! `chat user`, `chat keys` and `chat kick` as processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use natsfn::auth_callout::AuthKeys;
use natsfn::config::{Login, NatsConfig};
use natsfn::testing;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::doorway::{Doorway, REFUSED};
use crate::server::NATS_CONF;
use crate::wait::within;

/// What a command said, and how it ended.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs chat with the configuration of a doorway.
async fn chat(doorway: &Doorway, arguments: &[&str], stdin: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command
        .args(arguments)
        .current_dir(doorway.server.data())
        .env_remove("NATS_URL")
        .env("CHAT_NATS__URL", doorway.server.url())
        .env("CHAT_AUTH__USERS", doorway.users())
        .env("CHAT_CREDENTIALS__KICK__USER", "kick")
        .env("CHAT_CREDENTIALS__KICK__PASSWORD", "kick")
        .env("CHAT_CREDENTIALS__KICK__INBOX_PREFIX", "_INBOX.o.kick");
    run(command, stdin).await
}

async fn run(mut command: Command, stdin: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // A command that reads nothing may have ended.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = within(child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[tokio::test]
async fn user_is_added_changed_and_removed_while_auth_runs() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    let add = ["user", "add", "dave", "--role", "user", "--password-stdin"];

    let said = chat(&doorway, &add, "correct horse\n").await;
    assert_eq!(said.stdout, "dave is added\n", "{}", said.stderr);
    let mut dave = doorway.password("dave", "correct horse").await;
    assert_eq!(dave.answer, "PONG");
    let said = chat(&doorway, &add, "another one\n").await;
    assert_eq!(said.code, Some(1));
    assert!(
        said.stderr.contains("there is a user dave already"),
        "{}",
        said.stderr
    );

    let said = chat(&doorway, &["user", "list"], "").await;
    let lines: Vec<Vec<&str>> = said
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let expected: [&[&str]; 4] = [
        &["alice", "admin,user"],
        &["bob", "user"],
        &["charlie"],
        &["dave", "user"],
    ];
    assert_eq!(lines, expected);

    let passwd = ["user", "passwd", "dave", "--password-stdin"];
    let said = chat(&doorway, &passwd, "battery staple").await;
    assert_eq!(
        said.stdout, "dave has a new password; 1 connection ended\n",
        "{}",
        said.stderr
    );
    dave.ends_with("").await;
    assert_eq!(
        doorway.password("dave", "correct horse").await.answer,
        REFUSED
    );
    let mut dave = doorway.password("dave", "battery staple").await;

    let said = chat(&doorway, &["user", "roles", "dave", "admin"], "").await;
    assert_eq!(
        said.stdout, "dave has new roles; 1 connection ended\n",
        "{}",
        said.stderr
    );
    dave.ends_with("").await;
    let mut dave = doorway.password("dave", "battery staple").await;
    assert_eq!(dave.answer, "PONG");

    let began = Instant::now();
    let said = chat(&doorway, &["user", "remove", "dave"], "").await;
    assert_eq!(
        said.stdout, "dave is removed; 1 connection ended\n",
        "{}",
        said.stderr
    );
    dave.ends_with("").await;
    println!("removed and out after {:?}", began.elapsed());
    assert_eq!(
        doorway.password("dave", "battery staple").await.answer,
        REFUSED
    );
}

#[tokio::test]
async fn mistakes_of_whoever_types_are_said() {
    let doorway = Doorway::new().await;
    for (arguments, stdin, code, words) in [
        (
            &["user", "add", "Dave", "--password-stdin"][..],
            "12345678",
            2,
            "\"Dave\" is no user name",
        ),
        (
            &["user", "add", "o-1", "--password-stdin"],
            "12345678",
            2,
            "does not begin with o-",
        ),
        (
            &["user", "add", "send", "--password-stdin"],
            "12345678",
            2,
            "a login of nats.conf",
        ),
        (
            &["user", "add", "dave", "--role", "root"],
            "",
            2,
            "a role is user or admin",
        ),
        (
            &["user", "add", "dave", "--password-stdin"],
            "1234567\n",
            1,
            "8 to 1000 characters",
        ),
        (&["user", "add", "dave"], "", 1, "--password-stdin"),
        (&["user", "remove", "dave"], "", 1, "there is no user dave"),
        (
            &["user", "passwd", "dave", "--password-stdin"],
            "",
            1,
            "there is no user dave",
        ),
        (&["user", "roles", "dave"], "", 1, "there is no user dave"),
    ] {
        let said = chat(&doorway, arguments, stdin).await;
        assert_eq!(said.code, Some(code), "{arguments:?}: {}", said.stderr);
        assert!(
            said.stderr.contains(words),
            "{arguments:?}: {}",
            said.stderr
        );
    }
}

#[tokio::test]
async fn kick_says_how_many_connections_ended() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    let mut bob = doorway.password("bob", "bob").await;

    let said = chat(&doorway, &["kick", "bob"], "").await;

    assert_eq!(said.stdout, "1 connection ended\n", "{}", said.stderr);
    bob.ends_with("").await;
    let said = chat(&doorway, &["kick", "nobody"], "").await;
    assert_eq!(said.stdout, "0 connections ended\n", "{}", said.stderr);
}

#[tokio::test]
async fn keys_are_made_where_nothing_is_configured() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command.arg("keys").current_dir(directory.path());

    let said = run(command, "").await;

    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let value = |name: &str| {
        let prefix = format!("{name}=");
        let found = said
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(&prefix));
        found.unwrap_or_else(|| panic!("{name}: {}", said.stdout))
    };
    let issuer = value("CHAT_AUTH__ISSUER").into();
    let keys = AuthKeys::from_seeds(&issuer, &value("CHAT_AUTH__XKEY").into()).unwrap();
    assert_eq!(keys.issuer(), value("NATS_CONF_AUTH_ISSUER"));
    assert_eq!(keys.xkey(), value("NATS_CONF_AUTH_XKEY"));
}

/// The texts in a file of lines such as `export A='b' C='d'` or `a = "b"`, by name.
fn texts(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap().replace('\'', "\"");
    let mut quoted = text.split('"');
    let mut texts = BTreeMap::new();
    while let (Some(name), Some(value)) = (quoted.next(), quoted.next()) {
        let name = name.trim_end_matches([' ', '=']);
        let name = name.rsplit([' ', '\n']).next().unwrap();
        texts.insert(name.to_owned(), value.to_owned());
    }
    texts
}

#[tokio::test]
async fn keys_of_a_deployment_open_nats_server_and_stay_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let make = || {
        let database = format!(
            "sqlite://{}/{{password}}?mode=rwc",
            directory.path().display()
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command.current_dir(directory.path()).arg("keys").arg(&keys);
        command.args(["--database", &database]);
        run(command, "")
    };
    let said = make().await;
    assert_eq!(
        (said.code, said.stdout),
        (Some(0), String::new()),
        "{}",
        said.stderr
    );

    let server = testing::nats_with(|config| {
        let config = config.text(NATS_CONF);
        let config = config.list("NATS_CONF_WEBSOCKET_ORIGINS", ["http://localhost:3000"]);
        let variables = texts(&keys.join("nats/nats.env"));
        variables.into_iter().fold(config, |config, (name, value)| {
            config.variable(name, &value)
        })
    })
    .await;
    for (folder, arguments) in [("setup", vec!["setup"]), ("operator", vec!["dead", "list"])] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .current_dir(directory.path())
            .env_remove("NATS_URL")
            .env("CHAT_NATS__URL", server.url())
            .arg("--config")
            .arg(keys.join(folder).join("chat.toml"))
            .args(arguments);
        let said = run(command, "").await;
        assert_eq!(said.code, Some(0), "{folder}: {}", said.stderr);
    }
    for service in ["send", "history", "persist", "page", "auth"] {
        let own = texts(&keys.join(service).join("chat.toml"));
        let login =
            ["user", "password", "inbox_prefix"].map(|key| own[&format!("nats.{key}")].clone());
        let [user, password, inbox] = login;
        let config = NatsConfig {
            url: server.url().to_owned(),
            ..NatsConfig::default()
        };
        let config = config.login(&Login::new(user, password.as_str(), inbox));
        natsfn::connect_once(&config, service).await.unwrap();
        assert_eq!(own.contains_key("auth.issuer"), service == "auth");
        let stores = ["history", "persist"].contains(&service);
        assert_eq!(own.contains_key("database.url"), stores, "{service}");
    }
    let password = fs::read_to_string(keys.join("postgres/password")).unwrap();
    assert!(texts(&keys.join("persist/chat.toml"))["database.url"].contains(&password));

    // A second time nothing changes, and what is missing is made again.
    let before = fs::read_to_string(keys.join("nats/nats.env")).unwrap();
    fs::remove_file(keys.join("postgres/password")).unwrap();
    assert_eq!(make().await.code, Some(0));
    assert_eq!(
        fs::read_to_string(keys.join("nats/nats.env")).unwrap(),
        before
    );
    assert_eq!(
        fs::read_to_string(keys.join("postgres/password")).unwrap(),
        password
    );
}

//! What a person meets who pastes what `chat dev` prints. The suite `cargo xtask test cli` brings
//! the real `nats` CLI.

use std::iter::repeat_with;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::wait::within;
use crate::world::{World, append};

/// `chat dev` in a directory of its own, and the commands that it printed.
async fn dev(directory: &Path) -> (Child, Vec<String>) {
    let mut dev = Command::new(env!("CARGO_BIN_EXE_chat"))
        .args(["dev", "--port", "0"])
        .current_dir(directory)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let mut commands = Vec::new();
    within(async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.trim_start().starts_with("nats ") {
                commands.push(line.trim().to_owned());
            }
            if line.contains("Ctrl-C") {
                return;
            }
        }
        panic!("dev ended");
    })
    .await;
    (dev, commands)
}

/// Runs a line as a shell does.
async fn paste(line: &str) -> Output {
    let cli = std::env::var("NATS_CLI").expect("NATS_CLI is set by `cargo xtask test cli`");
    let nats = format!("nats() {{ '{cli}' \"$@\"; }}; {line}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &nats]).env("HOME", "/nonexistent");
    within(shell.output()).await.unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn what_dev_prints_works_when_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let (_dev, commands) = dev(directory.path()).await;
    let [list, send, history] = commands.as_slice() else {
        panic!("three commands: {commands:?}");
    };
    assert!(text(&paste(list).await).contains("chat"));
    let sent: Value = serde_json::from_str(&text(&paste(&format!("{send} --raw")).await)).unwrap();
    assert_eq!(sent["seq"], 1);
    let rows: Value =
        serde_json::from_str(&text(&paste(&format!("{history} --raw")).await)).unwrap();
    assert_eq!(rows[0]["id"], sent["id"]);
}

#[tokio::test]
async fn the_operator_sees_every_function_with_its_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let (_dev, commands) = dev(directory.path()).await;
    let operator = commands[0].trim_end_matches("micro ls").to_owned();
    let info = text(&paste(&format!("{operator} micro info chat")).await);
    for word in [
        "send",
        "admin-send",
        "history",
        "admin-history",
        "persist",
        "chat.send.*",
        "stream: CHAT_MESSAGES",
        "\"q\"",
    ] {
        assert!(info.contains(word), "{word} is in {info}");
    }
    assert!(text(&paste(&format!("{operator} micro stats chat")).await).contains("persist"));
    assert!(text(&paste(&format!("{operator} micro ping")).await).contains("chat"));
}

#[tokio::test]
async fn the_operator_restores_the_log_from_a_backup() {
    let world = World::new().await;
    let backend = world.backend().await;
    // More than the window: it goes on only where the chunks are acknowledged.
    for _ in 0..400 {
        let incompressible: Vec<u8> = repeat_with(|| fastrand::u8(..)).take(15_000).collect();
        append(&backend, "chat.a", None, incompressible).await;
    }
    let nats = format!(
        "nats --server {} --user operator --password operator --inbox-prefix _INBOX.o.operator",
        world.server.url()
    );
    let operator = async |command: &str| {
        let output = paste(&format!("{nats} {command}")).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.contains("Permissions Violation"), "{command}: {told}");
        text(&output)
    };
    let log = async || {
        let mut messages = Vec::new();
        for seq in [1, 400] {
            messages.push(operator(&format!("stream get CHAT_MESSAGES {seq} --json")).await);
        }
        let info = operator("stream info CHAT_MESSAGES --json").await;
        let info: Value = serde_json::from_str(&info).unwrap();
        let state = &info["state"];
        let counts =
            [&state["messages"], &state["first_seq"], &state["last_seq"]].map(Value::clone);
        (messages, info["config"].clone(), counts)
    };
    let before = log().await;
    assert_eq!(before.2, [400, 1, 400]);

    let directory = tempfile::tempdir().unwrap();
    let backup = directory.path().join("backup");
    let backup = backup.display();
    let window = "--no-progress --window-size 1048576";
    operator(&format!("stream backup CHAT_MESSAGES '{backup}' {window}")).await;
    operator("stream rm CHAT_MESSAGES -f").await;
    operator(&format!("stream restore '{backup}' --no-progress")).await;

    assert_eq!(log().await, before);
}

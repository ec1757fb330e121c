//! The commands for Kubernetes and Docker Compose that the documents name: what they name is there. Without a
//! cluster nothing runs them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::child::CHAT;
use crate::manifest::{all, documents, manifests};

const DOCUMENT: &str = include_str!("../../../docs/operations.md");
const COMPOSE: &str = include_str!("../../../docker-compose.yml");

/// The flags of each command that we use; `kubectl` 1.32 and Helm 3 have them.
const FLAGS: [(&str, &[&str]); 13] = [
    ("kubectl annotate", &[]),
    (
        "kubectl apply",
        &["--kustomize", "--filename", "--selector"],
    ),
    ("kubectl create", &["--filename", "--from-literal"]),
    ("kubectl delete", &["--ignore-not-found"]),
    ("kubectl exec", &[]),
    ("kubectl get", &[]),
    ("kubectl logs", &["--since"]),
    ("kubectl port-forward", &[]),
    ("kubectl rollout", &[]),
    ("kubectl scale", &["--replicas"]),
    ("kubectl wait", &["--for", "--timeout", "--all"]),
    ("helm repo", &[]),
    (
        "helm upgrade",
        &["--install", "--values", "--set-file", "--wait"],
    ),
];

/// The words of each command that begins with a word, in code of the document.
fn commands(first: &str) -> Vec<Vec<String>> {
    let text = DOCUMENT.replace("\\\n", " ");
    let is_block = |at: usize| at % 2 == 1;
    let blocks = text.split("```").enumerate();
    let code = blocks.flat_map(|(at, part)| -> Vec<String> {
        if is_block(at) {
            return part.lines().map(str::to_owned).collect();
        }
        let spans = part.split('`').enumerate();
        let code = spans.filter(|(at, _)| is_block(*at));
        code.map(|(_, code)| code.replace('\n', " ")).collect()
    });
    let commands = code.flat_map(|line| {
        let parts = line.split(" | ").map(words);
        parts.collect::<Vec<_>>()
    });
    commands
        .filter(|words| words.first().is_some_and(|word| word == first))
        .collect()
}

/// As a shell would have them, without comments.
fn words(line: &str) -> Vec<String> {
    let line = line.split("  # ").next().unwrap_or_default();
    let words = line.split_whitespace();
    words
        .map(|word| word.replace(['\'', '"'], ""))
        .take_while(|word| word != "|")
        .collect()
}

fn is_in_repository(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
        .exists()
}

/// The kind of what a command names, as the manifests have it.
fn kind(word: &str) -> &'static str {
    match word {
        "deployment" => "Deployment",
        "job" => "Job",
        "scaledobject" => "ScaledObject",
        other => panic!("which kind is {other:?}?"),
    }
}

/// `chat` takes these arguments: with `--help` it says what it would do, or that it does not know them.
fn chat_takes(arguments: &[String]) {
    let output = Command::new(CHAT).args(arguments).arg("--help").output();
    let output = output.unwrap();
    assert!(output.status.success(), "chat {arguments:?}: {output:?}");
}

#[test]
fn commands_of_kubernetes_name_what_is_there() {
    let mut tried = 0;
    for command in [commands("kubectl"), commands("helm")].concat() {
        let told = command.join(" ");
        let (command, inside) = match command.iter().position(|word| word == "--") {
            Some(at) => (&command[..at], &command[at + 1..]),
            None => (&command[..], &[][..]),
        };
        let mut words = Vec::new();
        let mut given = command.iter();
        while let Some(word) = given.next() {
            match word.as_str() {
                "--namespace" => assert_eq!(given.next().unwrap(), "chat"),
                word => words.push(word),
            }
        }
        if words.len() < 2 {
            continue;
        }
        let name = format!("{} {}", words[0], words[1]);
        let known = FLAGS.iter().find(|(known, _)| *known == name);
        let (_, flags) = known.unwrap_or_else(|| panic!("{told}"));
        for (at, word) in words.iter().enumerate() {
            let (flag, value) = word.split_once('=').unwrap_or((word, ""));
            if flag.len() > 1 && flag.starts_with('-') {
                assert!(flags.contains(&flag), "{flag} of {told}");
            }
            let next = words.get(at + 1).copied().unwrap_or_default();
            match flag {
                "--kustomize" | "--filename" | "--values" if next != "-" => {
                    assert!(is_in_repository(next), "{told}");
                }
                "--set-file" => {
                    let (_, file) = next.split_once('=').unwrap();
                    assert!(is_in_repository(file), "{told}");
                }
                "--selector" => {
                    let (label, value) = next.split_once('=').unwrap();
                    let selected: Vec<Value> = manifests()
                        .into_iter()
                        .filter(|it| it["metadata"]["labels"][label] == value)
                        .collect();
                    assert_eq!(selected.len(), 1, "{told}");
                    assert_eq!(selected[0]["kind"], "Job");
                }
                "deployment" | "job" | "scaledobject" if !next.is_empty() && next != "--all" => {
                    assert!(all(kind(flag)).contains_key(next), "{told}");
                }
                _ => {}
            }
            // `job/setup`; the Service is of NATS's chart.
            if let Some((kind_of, object)) = word.split_once('/')
                && ["deployment", "job"].contains(&kind_of)
            {
                assert!(all(kind(kind_of)).contains_key(object), "{told}");
            }
            assert!(!(flag == "--for" && value.is_empty()), "{told}");
        }
        if let [chat, arguments @ ..] = inside {
            assert_eq!(chat, "chat");
            chat_takes(arguments);
        }
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

#[test]
fn commands_of_compose_name_services_that_there_are() {
    let [compose] = documents(COMPOSE).try_into().unwrap();
    let services = compose["services"].as_object().unwrap();
    let mut tried = 0;
    for command in commands("docker") {
        let told = command.join(" ");
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let takes = ["run", "exec", "restart", "logs"];
        let Some(at) = words.iter().position(|word| takes.contains(word)) else {
            continue;
        };
        // What stands before the service: flags, and the values of some.
        let values = ["--since", "--entrypoint", "--user", "--volume"];
        let mut rest = words[at + 1..].iter();
        let mut named = Vec::new();
        while let Some(word) = rest.next() {
            if values.contains(word) {
                rest.next();
            } else if !word.starts_with('-') {
                named.push(*word);
                if words[at] != "restart" {
                    break;
                }
            }
        }
        assert!(!named.is_empty(), "{told}");
        for name in &named {
            assert!(services.contains_key(*name), "{name} of {told}");
        }
        let arguments: Vec<String> = rest.map(|word| (*word).to_owned()).collect();
        match (named[0], arguments.as_slice()) {
            ("operator", arguments) => chat_takes(arguments),
            (_, [chat, arguments @ ..]) if chat == "chat" => chat_takes(arguments),
            _ => {}
        }
        tried += 1;
    }
    assert!(tried >= 10, "{tried}");
}

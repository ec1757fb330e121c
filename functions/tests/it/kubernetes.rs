//! The manifests in `deploy/kubernetes` start chat: its functions, its configuration keys, its users.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use chat::auth::Door;
use chat::auth_service;
use chat::config::auth::Auth;
use natsfn::Definition;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::child::CHAT;
use crate::database::Database;
use crate::door::KEYS;
use crate::manifest::{all, document, secrets};
use crate::metric::{asked_for, is_metric};
use crate::server::{NATS_CONF, connect, server};
use crate::wait::within;
use crate::world::World;

/// The values of NATS's own Helm chart.
const VALUES: &str = "nats.values.yaml";

/// How long a stop takes at most, in seconds: `cli::host` drains for 8; then it waits for NATS and the database, and
/// sends what is left of traces and metrics.
const DRAIN: u64 = 15;

/// The variables that nats.conf needs.
fn variables_of_nats_conf() -> BTreeSet<String> {
    let lines = NATS_CONF
        .lines()
        .filter(|line| !line.trim().starts_with('#'));
    let parts = lines.flat_map(|line| line.split('$').skip(1));
    let names = parts.map(|part| {
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        part[..end.unwrap_or(part.len())].to_owned()
    });
    names
        .filter(|name| name.starts_with("NATS_CONF_"))
        .collect()
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn nats_server_gets_every_variable_of_its_configuration_from_secret_or_values() {
    let secrets = secrets();
    let nats = &secrets[0];
    assert_eq!(nats["metadata"]["name"], "chat-nats");
    for (name, value) in nats["stringData"].as_object().unwrap() {
        let value = value.as_str().unwrap();
        assert!(value.len() >= 49, "{name}: {value}");
        let is_word = value.chars().all(|c| c.is_ascii_alphanumeric());
        let begins = value.starts_with(|c: char| c.is_ascii_alphabetic());
        assert!(is_word && begins, "nats-server reads {name} as a word");
    }
    assert_eq!(secrets[1]["metadata"]["name"], "chat-auth");

    let mut given = keys(&nats["stringData"]);
    given.extend(keys(&document(VALUES)["container"]["env"]));
    given.remove("GOMEMLIMIT");
    assert_eq!(given, variables_of_nats_conf());
}

/// A block of the configuration that the chart writes, as its README tells it: `merge` is added, and what stands in
/// `<< >>` loses its quotes.
fn block(base: Value, merge: &Value) -> String {
    let mut block: Map<String, Value> = base.as_object().unwrap().clone();
    block.extend(merge.as_object().unwrap().clone());
    let text = Value::from(block).to_string();
    text.replace("\"<< ", "").replace(" >>\"", "")
}

#[tokio::test]
async fn what_the_chart_replaces_of_nats_conf_keeps_what_chat_needs() {
    let values = document(VALUES);
    let config = &values["config"];
    assert_eq!(config["merge"], json!({ "00$include": "chat.conf" }));
    let store = json!({ "store_dir": { "$": "NATS_CONF_STORE_DIR" } });
    let jetstream = block(store, &config["jetstream"]["merge"])
        .replace(r#"{"$":"NATS_CONF_STORE_DIR"}"#, "$NATS_CONF_STORE_DIR");
    // There it has a certificate.
    let plain = json!({ "port": -1, "host": "127.0.0.1", "no_tls": true });
    let websocket = block(plain, &config["websocket"]["merge"]);
    assert_eq!(config["websocket"]["tls"]["enabled"], true);
    assert_eq!(config["cluster"]["tls"]["enabled"], true);

    let text = format!("{NATS_CONF}\njetstream {jetstream}\nwebsocket {websocket}\n");
    let server = server(&text).await;

    let sys = connect(&server, "sys", "_INBOX.o.sys").await;
    let answer = sys.request("$SYS.REQ.SERVER.PING.VARZ", "".into()).await;
    let answer: Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
    let varz = &answer["data"];
    assert_eq!(varz["jetstream"]["config"]["sync_always"], true, "{varz}");
    assert_eq!(varz["jetstream"]["config"]["strict"], true);
    let origins = json!(["http://localhost:3000"]);
    assert_eq!(varz["websocket"]["allowed_origins"], origins);
    assert_eq!(varz["max_payload"], 262_144, "the rest is chat.conf's");
}

/// What a Deployment or a Job runs.
struct Pod {
    name: String,
    spec: Value,
}

impl Pod {
    fn all(kind: &str) -> Vec<Self> {
        let pods = all(kind).into_iter();
        pods.map(|(name, object)| {
            let spec = object["spec"]["template"]["spec"].clone();
            Self { name, spec }
        })
        .collect()
    }

    fn container(&self) -> &Value {
        let [container] = &self.spec["containers"].as_array().unwrap()[..] else {
            panic!("{} has one container", self.name)
        };
        container
    }

    /// The environment that Kubernetes gives it; passwords are the users' names.
    fn environment(&self, database: &str) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for source in array(&self.container()["envFrom"]) {
            let name = source["configMapRef"]["name"].as_str().unwrap();
            let data = all("ConfigMap")[name]["data"].clone();
            environment.extend(serde_json::from_value::<BTreeMap<_, _>>(data).unwrap());
        }
        for variable in array(&self.container()["env"]) {
            let secret = &variable["valueFrom"]["secretKeyRef"];
            let value = match (secret["name"].as_str(), secret["key"].as_str()) {
                (None, _) => variable["value"].as_str().unwrap().to_owned(),
                (Some("chat-database"), Some("url")) => database.to_owned(),
                (Some("chat-auth"), Some("CHAT_AUTH__ISSUER")) => {
                    KEYS.issuer_seed.expose().to_owned()
                }
                (Some("chat-auth"), Some("CHAT_AUTH__XKEY")) => KEYS.xkey_seed.expose().to_owned(),
                (Some("chat-nats"), Some(key)) => {
                    let user = key.strip_prefix("NATS_CONF_PASSWORD_").unwrap();
                    user.to_lowercase()
                }
                other => panic!("{}: there is no Secret {other:?}", self.name),
            };
            environment.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
        environment
    }

    /// Its process, in this world.
    fn command(&self, world: &World) -> Command {
        let command: Vec<&str> = array(&self.container()["command"])
            .map(|it| it.as_str().unwrap())
            .collect();
        assert_eq!(command[0], "chat");
        let mut process = Command::new(CHAT);
        process
            .args(&command[1..])
            .env_clear()
            .envs(self.environment(&world.database.url))
            // One server, and ports that are free.
            .env("CHAT_NATS__URL", world.server.url())
            .env("CHAT_STREAM__REPLICAS", "1")
            .env("CHAT_HEALTH__LISTEN", "127.0.0.1:0")
            .env("CHAT_PAGE__LISTEN", "127.0.0.1:0")
            .env_remove("CHAT_NATS__MONITOR")
            .env("RUST_LOG", "error")
            .current_dir(world.server.data())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        process
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

#[tokio::test]
async fn pods_are_chat_with_the_rights_of_their_own_users() {
    let mut world = World::new().await;
    let alice = world.person("alice").await;
    // Its schema is made by the Job.
    world.database = Database::empty_postgres().await;
    for job in Pod::all("Job") {
        let output = within(job.command(&world).output()).await.unwrap();
        assert!(output.status.success(), "{}: {output:?}", job.name);
    }

    let (mut processes, mut served) = (Vec::new(), BTreeSet::new());
    for pod in Pod::all("Deployment") {
        let mut process = pod.command(&world).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = within(lines.next_line()).await.unwrap();
        let line = line.unwrap_or_else(|| panic!("{} does not start", pod.name));
        let (_, names) = line.split_once(" serves ").unwrap();
        let (names, _) = names.split_once(" on ").unwrap();
        served.extend(names.split(", ").map(str::to_owned));
        processes.push((pod, process, lines));
    }

    let door = Door::open(&Auth {
        issuer: Some(KEYS.issuer_seed.clone()),
        xkey: Some(KEYS.xkey_seed.clone()),
        users: Some(world.doorman.users()),
        ..Auth::default()
    });
    let services = [
        world.service().build().unwrap(),
        auth_service(door.unwrap()).build().unwrap(),
    ];
    let functions = services.iter().flat_map(Definition::function_names);
    assert_eq!(served, functions.map(str::to_owned).collect());
    let sent = alice.send("chat.send.general", "1", "hello").await.unwrap();
    assert_eq!(sent.seq, 1);
    assert_eq!(alice.texts("chat.history.general").await, ["hello"]);
    world.settled().await;
    assert_eq!(world.texts().await, ["hello"]);
    for (pod, mut process, _lines) in processes {
        let pid = process.id().unwrap().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.await.unwrap().success());
        let ended = within(process.wait()).await.unwrap();
        assert!(ended.success(), "{} {ended}", pod.name);
    }
}

#[test]
fn pods_have_time_to_drain_and_the_ports_that_the_configuration_names() {
    let runtime = include_str!("../../../runtime/src/config/runtime.rs");
    assert!(runtime.contains("const DRAIN: Duration = Duration::from_secs(8);"));
    for pod in Pod::all("Deployment") {
        let grace = &pod.spec["terminationGracePeriodSeconds"];
        let pause = &pod.container()["lifecycle"]["preStop"]["sleep"]["seconds"];
        let pause = pause.as_u64().unwrap_or_default();
        assert!(grace.as_u64().unwrap() >= DRAIN + pause + 5, "{}", pod.name);
        let environment = pod.environment("");
        let listens = environment
            .iter()
            .filter(|(name, _)| name.ends_with("LISTEN"));
        for port in array(&pod.container()["ports"]) {
            let end = format!(":{}", port["containerPort"]);
            let mut listens = listens.clone().map(|(_, value)| value);
            assert!(
                listens.any(|value| value.ends_with(&end)),
                "{} {end}",
                pod.name
            );
        }
        assert_eq!(
            pod.container()["readinessProbe"]["httpGet"]["path"],
            "/readyz"
        );
        assert_eq!(
            pod.container()["livenessProbe"]["httpGet"]["path"],
            "/livez"
        );
        assert_eq!(pod.spec["enableServiceLinks"], false);
        // `/readyz` asks for a second before it says that nobody answers.
        for probe in ["readinessProbe", "livenessProbe"] {
            assert_eq!(pod.container()[probe]["timeoutSeconds"], 3, "{}", pod.name);
        }
    }
}

#[test]
fn pods_have_no_rights_on_their_machine() {
    for pod in ["Deployment", "Job"].map(Pod::all).into_iter().flatten() {
        let (name, security) = (&pod.name, &pod.spec["securityContext"]);
        assert_eq!(security["runAsNonRoot"], true, "{name}");
        assert_eq!(
            security["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        assert_eq!(pod.spec["automountServiceAccountToken"], false, "{name}");
        let security = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        });
        assert_eq!(pod.container()["securityContext"], security, "{name}");
        let limit = &pod.container()["resources"]["limits"]["memory"];
        assert!(limit.is_string(), "{name}");
    }
}

#[test]
fn labels_select_what_they_should() {
    let deployments = all("Deployment");
    for (name, budget) in all("PodDisruptionBudget") {
        let selector = &budget["spec"]["selector"];
        assert_eq!(*selector, deployments[&name]["spec"]["selector"], "{name}");
    }
    assert_eq!(all("PodDisruptionBudget").len(), deployments.len());
    for (name, deployment) in &deployments {
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], *labels);
        assert_eq!(labels["app.kubernetes.io/component"], **name);
        let [spread] = array(&deployment["spec"]["template"]["spec"]["topologySpreadConstraints"])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        assert_eq!(spread["labelSelector"]["matchLabels"], *labels);
        assert_eq!(spread["matchLabelKeys"], json!(["pod-template-hash"]));
    }
    let page = &all("Service")["page"]["spec"]["selector"];
    assert_eq!(*page, deployments["page"]["metadata"]["labels"]);
}

#[test]
fn scaling_asks_for_a_metric_that_there_is() {
    let persist = &all("ScaledObject")["persist"];
    let query = persist["spec"]["triggers"][0]["metadata"]["query"].as_str();
    let names: Vec<&str> = asked_for(query.unwrap()).collect();
    assert!(
        !names.is_empty() && names.iter().all(|name| is_metric(name)),
        "{names:?}"
    );
}

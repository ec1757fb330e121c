//! `chat dev`: a nats-server with chat's accounts and users, and their passwords.

use natsfn::RunError;
use natsfn::cli::{DevDirectory, Plan};
use natsfn::config::{Login, Secret};
use natsfn::server::ServerConfig;
use serde_json::{Map, Value, json};

/// The one configuration of nats-server: accounts, users and permissions.
const NATS_CONF: &str = include_str!("../../nats.conf");

/// The people of dev, with memorable passwords: an admin, a user, a reader.
const PEOPLE: [(&str, &str); 3] = [
    ("alice", "alice123"),
    ("bob", "bob123"),
    ("charlie", "charlie123"),
];

/// Users who operate or monitor chat; their inboxes are below `_INBOX.o`.
const OPERATORS: [&str; 3] = ["operator", "backend", "sys"];

/// Functions and commands; their inboxes are below `_INBOX.s`.
const SERVICES: [&str; 7] = [
    "send", "history", "persist", "page", "chat", "setup", "dead",
];

/// chat on one machine: functions as `chat`, commands and people as themselves.
pub(crate) fn plan(dev: &DevDirectory) -> Result<Plan, RunError> {
    let listener = dev.listener("page")?;
    let port = listener.port();
    let origins = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{port}"));
    let mut server = dev.server().text(NATS_CONF).list(
        "NATS_CONF_WEBSOCKET_ORIGINS",
        origins.iter().map(String::as_str),
    );
    for (name, password) in PEOPLE {
        server = with_password(server, name, &password.into());
    }
    for name in SERVICES.into_iter().chain(OPERATORS) {
        server = with_password(server, name, &dev.secret(name)?);
    }

    let mut plan = Plan::new(server).login(service(dev, "chat")?);
    for name in ["setup", "dead"] {
        plan = plan.credentials(name, service(dev, name)?);
    }
    for name in ["operator", "backend"] {
        let login = Login::new(name, dev.secret(name)?, format!("_INBOX.o.{name}"));
        plan = plan
            .detail(name, shown(&login, true))
            .credentials(name, login);
    }
    let mut users = Map::new();
    for (name, password) in PEOPLE {
        let login = Login::new(name, password, format!("_INBOX.u.{name}"));
        users.insert(name.to_owned(), shown(&login, false));
        plan = plan.credentials(name, login);
    }
    Ok(plan
        .listener(listener)
        .detail("users", users.into())
        .invoke_as("alice")
        .command("operator", "micro ls")
        .command(
            "alice",
            r#"req chat.send.general '{"id":"first","text":"hello"}'"#,
        )
        .command("alice", "req chat.history.general ''"))
}

fn with_password(server: ServerConfig, user: &str, password: &Secret) -> ServerConfig {
    let variable = format!("NATS_CONF_PASSWORD_{}", user.to_uppercase());
    server.variable(variable, password.expose())
}

fn service(dev: &DevDirectory, name: &str) -> Result<Login, RunError> {
    Ok(Login::new(
        name,
        dev.secret(name)?,
        format!("_INBOX.s.{name}"),
    ))
}

/// A login, as written to `dev.json`.
fn shown(login: &Login, with_user: bool) -> Value {
    let password = login.password.as_ref().map(Secret::expose);
    let mut shown = json!({ "password": password, "inbox_prefix": login.inbox_prefix });
    if with_user {
        shown["user"] = json!(login.user);
    }
    shown
}

//! `chat dev`: a nats-server with chat's accounts and users, and their passwords.

use std::path::Path;

use chat::auth::password;
use chat::auth::users::file::{self, RoleName, Table, User};
use natsfn::RunError;
use natsfn::auth_callout::AuthKeys;
use natsfn::cli::{DevDirectory, Plan};
use natsfn::config::{Login, Secret};
use natsfn::server::ServerConfig;
use serde_json::{Map, Value, json};

/// The one configuration of nats-server: accounts, users and permissions.
const NATS_CONF: &str = include_str!("../../nats.conf");

/// The people of a new data directory, with memorable passwords: an admin, a user, a reader.
const PEOPLE: [(&str, &str, &[RoleName]); 3] = [
    ("alice", "alice123", &[RoleName::Admin, RoleName::User]),
    ("bob", "bob123", &[RoleName::User]),
    ("charlie", "charlie123", &[]),
];

/// Users who operate or monitor chat; their inboxes are below `_INBOX.o`.
pub(crate) const OPERATORS: [&str; 5] = ["operator", "backend", "auth-operator", "sys", "kick"];

/// Functions and commands; their inboxes are below `_INBOX.s`.
pub(crate) const SERVICES: [&str; 8] = [
    "send", "history", "persist", "page", "chat", "setup", "dead", "auth",
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
    for name in SERVICES.into_iter().chain(OPERATORS) {
        server = with_password(server, name, &dev.secret(name)?);
    }
    let fresh = AuthKeys::generate();
    let issuer = dev.secret_made_by("auth.issuer", || Ok(fresh.issuer_seed.expose().to_owned()))?;
    let xkey = dev.secret_made_by("auth.xkey", || Ok(fresh.xkey_seed.expose().to_owned()))?;
    let keys = AuthKeys::from_seeds(&issuer, &xkey)?;
    let server = server
        .variable("NATS_CONF_AUTH_ISSUER", keys.issuer())
        .variable("NATS_CONF_AUTH_XKEY", keys.xkey());
    let users = dev.path().join("users.json");
    invite(&users)?;

    let mut plan = Plan::new(server)
        .login(service(dev, "chat")?)
        .value("auth.issuer", issuer.expose())
        .value("auth.xkey", xkey.expose())
        .value("auth.users", users.to_string_lossy());
    for name in ["setup", "dead", "auth"] {
        plan = plan.credentials(name, service(dev, name)?);
    }
    for name in ["kick", "auth-operator"] {
        plan = plan.credentials(name, operator(dev, name)?);
    }
    for name in ["operator", "backend"] {
        let login = operator(dev, name)?;
        plan = plan
            .detail(name, shown(&login, true))
            .credentials(name, login);
    }
    let mut users = Map::new();
    for (name, password, _) in PEOPLE {
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
    let name = user.to_uppercase().replace('-', "_");
    server.variable(format!("NATS_CONF_PASSWORD_{name}"), password.expose())
}

/// Makes the file of users, unless there is one.
fn invite(users: &Path) -> Result<(), RunError> {
    if users.exists() {
        return Ok(());
    }
    let add = |table: &mut Table| {
        for (name, password, roles) in PEOPLE {
            let password = password::hash(&password.into()).map_err(|error| error.to_string())?;
            let roles = roles.to_vec();
            let user = User {
                name: None,
                roles,
                password,
                since: None,
            };
            table.insert(name.to_owned(), user);
        }
        Ok(())
    };
    file::change(users, add).map_err(RunError::new)
}

fn operator(dev: &DevDirectory, name: &str) -> Result<Login, RunError> {
    let inbox = format!("_INBOX.o.{name}");
    Ok(Login::new(name, dev.secret(name)?, inbox))
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

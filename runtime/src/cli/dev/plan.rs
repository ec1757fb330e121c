//! What a service needs of `dev` beyond the default.

use std::collections::BTreeMap;

use figment::value::Dict;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::DevDirectory;
use super::listener::Listener;
use crate::config::{Login, Secret, insert};
use crate::error::run_error::RunError;
use crate::server::ServerConfig;
use crate::service::dev_listener::DevListener;

/// Makes a plan for a data directory.
pub(in crate::cli) type MakePlan = dyn Fn(&DevDirectory) -> Result<Plan, RunError>;

/// What a service needs of `dev`: a nats-server, and its logins.
#[must_use]
pub struct Plan {
    pub(super) server: ServerConfig,
    pub(super) login: Login,
    pub(super) credentials: BTreeMap<String, Login>,
    pub(super) invoke_user: Option<String>,
    pub(super) details: Map<String, Value>,
    pub(super) notes: Vec<String>,
    pub(super) listener: Option<Listener>,
    pub(super) values: Dict,
    commands: Vec<(String, String)>,
}

impl Plan {
    /// A server without logins.
    pub fn new(server: ServerConfig) -> Self {
        Self {
            server,
            login: Login::default(),
            credentials: BTreeMap::new(),
            invoke_user: None,
            details: Map::new(),
            notes: Vec::new(),
            listener: None,
            values: Dict::new(),
            commands: Vec::new(),
        }
    }

    /// The listener of a task, which gets it as
    /// [`Background::dev_listener`](crate::Background::dev_listener). In another process the task finds
    /// the addresses in the configuration, as `TASK.listen` and `TASK.websocket`.
    pub fn listener(mut self, listener: DevListener) -> Self {
        self.listener = Some(Listener::new(listener));
        self
    }

    /// A value of the service's own configuration, for a key such as `auth.users`, unless its file or
    /// environment has one. The service is made with it, and another process finds it in the
    /// configuration that `dev` writes.
    pub fn value(mut self, key: &str, value: impl Into<String>) -> Self {
        let path: Vec<&str> = key.split('.').collect();
        insert(&mut self.values, &path, value.into());
        self
    }

    /// How the functions log in.
    pub fn login(mut self, login: Login) -> Self {
        self.login = login;
        self
    }

    /// Another login. `setup` and `dead` are for the commands of that name, `backend` is for a message
    /// from `invoke`, any is for `invoke --user`.
    pub fn credentials(mut self, name: impl Into<String>, login: Login) -> Self {
        self.credentials.insert(name.into(), login);
        self
    }

    /// The credentials that `invoke` uses without `--user`.
    pub fn invoke_as(mut self, name: impl Into<String>) -> Self {
        self.invoke_user = Some(name.into());
        self
    }

    /// One more key for `dev.json`. The file is readable by its owner only.
    pub fn detail(mut self, key: impl Into<String>, value: Value) -> Self {
        self.details.insert(key.into(), value);
        self
    }

    /// A command to show: the arguments of `nats`, run with these credentials. Without any, `nats micro
    /// ls` is shown.
    pub fn command(mut self, credentials: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.commands.push((credentials.into(), arguments.into()));
        self
    }

    /// A sentence to show once everything runs.
    pub fn note(mut self, sentence: impl Into<String>) -> Self {
        self.notes.push(sentence.into());
        self
    }

    /// The commands to show, complete.
    pub(super) fn commands(&self, url: &str) -> Vec<String> {
        if self.commands.is_empty() {
            return vec![format!(
                "nats --server {} micro ls",
                with_login(url, &self.login)
            )];
        }
        self.commands
            .iter()
            .map(|(name, arguments)| {
                let login = self.credentials.get(name).unwrap_or(&self.login);
                format!("nats --server {} {arguments}", with_login(url, login))
            })
            .collect()
    }
}

/// What an address, and a shell, would take for something else.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The address with user and password, and the option with which the CLI receives its answers.
fn with_login(url: &str, login: &Login) -> String {
    let mut url = url.to_owned();
    if let (Some(user), Some(password)) = (&login.user, &login.password) {
        let encode = |text| utf8_percent_encode(text, ENCODED);
        let (user, password) = (encode(user), encode(Secret::expose(password)));
        url = url.replacen("://", &format!("://{user}:{password}@"), 1);
    }
    match &login.inbox_prefix {
        Some(prefix) => format!("{url} --inbox-prefix {prefix}"),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_in_a_command_is_encoded() {
        let login = Login::new("shop_1", "p@ss/'1'", "_INBOX.s.shop");
        assert_eq!(
            with_login("nats://127.0.0.1:4222", &login),
            "nats://shop_1:p%40ss%2F%271%27@127.0.0.1:4222 --inbox-prefix _INBOX.s.shop"
        );
    }
}

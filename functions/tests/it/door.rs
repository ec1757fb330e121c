//! `auth` beside a test's server: lets in alice, bob and charlie, each with the own name as password.

use std::path::PathBuf;
use std::sync::LazyLock;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use chat::auth::Door;
use chat::auth_service;
use chat::config::auth::Auth;
use natsfn::Running;
use natsfn::auth_callout::{AuthKeys, NewKeys};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::login;

/// The keys of every server in this process.
pub(crate) static KEYS: LazyLock<NewKeys> = LazyLock::new(AuthKeys::generate);

/// The people, with their roles.
static PEOPLE: LazyLock<Value> = LazyLock::new(|| {
    let roles: [(&str, &[&str]); 3] = [
        ("alice", &["admin", "user"]),
        ("bob", &["user"]),
        ("charlie", &[]),
    ];
    let people = roles.map(|(name, roles)| {
        let user = json!({ "roles": roles, "password": cheap_hash(name) });
        (name.to_owned(), user)
    });
    people.into_iter().collect()
});

/// A hash that costs next to nothing.
pub(crate) fn cheap_hash(password: &str) -> String {
    let cheap = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
    argon2
        .hash_password(password.as_bytes())
        .unwrap()
        .to_string()
}

/// `auth` at work.
pub(crate) struct Doorman {
    pub(crate) running: Running,
    /// Where the file of users lies.
    directory: TempDir,
}

impl Doorman {
    /// The file of users.
    pub(crate) fn users(&self) -> PathBuf {
        self.directory.path().join("users.json")
    }

    pub(crate) async fn at(url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users.json");
        std::fs::write(&users, PEOPLE.to_string()).unwrap();
        let config = Auth {
            issuer: Some(KEYS.issuer_seed.clone()),
            xkey: Some(KEYS.xkey_seed.clone()),
            users: Some(users),
            ..Auth::default()
        };
        let definition = auth_service(Door::open(&config).unwrap()).build().unwrap();
        let nats = login(url, "auth", "_INBOX.s.auth").await;
        let running = natsfn::start(definition, nats, None).await.unwrap();
        Self { running, directory }
    }
}

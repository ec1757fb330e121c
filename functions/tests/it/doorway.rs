//! A nats-server that asks the service `auth` about every login, and people at its door.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions};
use chat::auth::Door;
use chat::auth::users::file::{self, RoleName, User};
use chat::auth_service;
use chat::config::auth::Auth;
use natsfn::Running;
use natsfn::testing::TestServer;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::door::{KEYS, cheap_hash};
use crate::issuer::Issuer;
use crate::server::{NATS_CONF, connect, server};
use crate::wait::{until, within};

/// A server, and the configuration of its `auth`.
pub(crate) struct Doorway {
    pub(crate) server: TestServer,
    pub(crate) config: Auth,
    directory: tempfile::TempDir,
}

/// A connection by hand, which shows the server's own words.
pub(crate) struct Visitor {
    stream: BufReader<TcpStream>,
    /// `PONG` for somebody who is let in, or an error.
    pub(crate) answer: String,
}

/// How long nats-server waits for `auth`.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Somebody is not let in.
pub(crate) const REFUSED: &str = "-ERR 'Authorization Violation'";

impl Doorway {
    /// A server with local users: alice is an admin, bob a user, charlie neither. Their passwords are
    /// their names.
    pub(crate) async fn new() -> Self {
        Self::at(server(NATS_CONF).await)
    }

    /// One at a server that asks `auth`.
    pub(crate) fn at(server: TestServer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Auth {
            issuer: Some(KEYS.issuer_seed.clone()),
            xkey: Some(KEYS.xkey_seed.clone()),
            users: Some(directory.path().join("users.json")),
            ..Auth::default()
        };
        let doorway = Self {
            server,
            config,
            directory,
        };
        use RoleName::{Admin, User};
        doorway.set_user("alice", "alice", &[Admin, User]);
        doorway.set_user("bob", "bob", &[User]);
        doorway.set_user("charlie", "charlie", &[]);
        doorway
    }

    /// A server whose people are an issuer's as well.
    pub(crate) async fn of(issuer: &Issuer) -> Self {
        let mut doorway = Self::new().await;
        doorway.config.oidc = Some(issuer.config());
        doorway
    }

    pub(crate) fn users(&self) -> PathBuf {
        self.directory.path().join("users.json")
    }

    pub(crate) fn set_user(&self, name: &str, password: &str, roles: &[RoleName]) {
        let user = User {
            name: None,
            roles: roles.to_vec(),
            password: cheap_hash(password),
            since: None,
        };
        self.change(|table| {
            table.insert(name.to_owned(), user);
        });
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut file::Table)) {
        let changed = file::change(&self.users(), |table| {
            change(table);
            Ok(())
        });
        changed.unwrap();
    }

    /// An instance of the service.
    pub(crate) async fn serve(&self) -> Running {
        let door = Door::open(&self.config).unwrap();
        let definition = auth_service(door).build().unwrap();
        let nats = connect(&self.server, "auth", "_INBOX.s.auth").await;
        natsfn::start(definition, nats, None).await.unwrap()
    }

    /// Somebody with a password.
    pub(crate) async fn password(&self, user: &str, password: &str) -> Visitor {
        self.knock(&json!({ "user": user, "pass": password })).await
    }

    /// Somebody with a token.
    pub(crate) async fn token(&self, token: &str) -> Visitor {
        self.knock(&json!({ "auth_token": token })).await
    }

    pub(crate) async fn knock(&self, connect: &Value) -> Visitor {
        self.knock_at(self.server.url(), connect).await
    }

    pub(crate) async fn knock_at(&self, url: &str, connect: &Value) -> Visitor {
        let address = url.trim_start_matches("nats://");
        let stream = within(TcpStream::connect(address)).await.unwrap();
        let mut visitor = Visitor {
            stream: BufReader::new(stream),
            answer: String::new(),
        };
        let mut connect = connect.clone();
        connect["verbose"] = json!(false);
        visitor.say(&format!("CONNECT {connect}\r\nPING\r\n")).await;
        visitor.answer = visitor.line().await;
        visitor
    }

    /// Requires that nobody decides about a login: the server waits 2 s for `auth`.
    pub(crate) async fn leaves_undecided(&self, connect: &Value) {
        let began = Instant::now();
        assert_eq!(self.knock(connect).await.answer, REFUSED);
        assert!(began.elapsed() >= TIMEOUT, "{:?}", began.elapsed());
    }

    /// Requires that a token is refused, and that nats-server logs why.
    pub(crate) async fn refuses(&self, token: &str, reason: &str) {
        let visitor = self.token(token).await;
        assert_eq!(visitor.answer, REFUSED, "{reason}");
        self.logs(reason).await;
    }

    /// A client that is let in.
    pub(crate) async fn client(&self, options: ConnectOptions, uid: &str) -> Client {
        let options = options.custom_inbox_prefix(format!("_INBOX.u.{uid}"));
        within(options.connect(self.server.url())).await.unwrap()
    }

    /// Waits for words in the server's log.
    pub(crate) async fn logs(&self, words: &str) {
        until(words, async || {
            let log = std::fs::read_to_string(self.server.log()).unwrap();
            log.contains(words).then_some(())
        })
        .await;
    }
}

impl Visitor {
    pub(crate) async fn say(&mut self, text: &str) {
        let stream = self.stream.get_mut();
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The server's next line that is no INFO and no PING; empty at the end.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            within(self.stream.read_line(&mut line)).await.unwrap();
            match line.trim_end() {
                // The server may have ended the connection since.
                "PING" => drop(self.stream.get_mut().write_all(b"PONG\r\n").await),
                line if line.starts_with("INFO") => {}
                line => return line.to_owned(),
            }
        }
    }

    /// Requires that the server ends the connection with these words.
    pub(crate) async fn ends_with(&mut self, words: &str) {
        loop {
            match self.line().await.as_str() {
                "PONG" => {}
                line => return assert_eq!(line, words),
            }
        }
    }
}

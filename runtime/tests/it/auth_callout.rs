//! Who may connect: a real nats-server asks a function at each login.

mod forged;
mod hostile;
mod life;
mod outcome;

use async_nats::{Client, ConnectOptions};
use natsfn::auth_callout::{Allow, AuthKeys, AuthRequest, NewKeys, Permissions};
use natsfn::testing::{self, TestServer};
use natsfn::{Endpoint, Error, Kind, Result, Running, Service};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::world::{until, within};

/// The callout in AUTH, whose user has the least of permissions; people in PEOPLE.
const CONF: &str = r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
websocket { host: $NATS_CONF_HOST, port: $NATS_CONF_WEBSOCKET_PORT, no_tls: true }
accounts {
  AUTH { users: [
    { user: auth, password: auth, permissions: {
      subscribe: ["$SYS.REQ.USER.AUTH", "$SRV.>", "_INBOX.s.auth.>"]
      publish: ["$SYS._INBOX.>", "_INBOX.>"]
    } }
    { user: operator, password: operator }
  ] }
  PEOPLE { users: [{ user: static, password: static }] }
}
authorization { auth_callout {
  account: AUTH, auth_users: [auth, operator, static], issuer: $ISSUER, CALLOUT_XKEY
} }
"#;

/// A server that asks, and the keys of whom it asks.
struct Door {
    server: TestServer,
    new: NewKeys,
}

impl Door {
    async fn new() -> Self {
        Self::with(
            CONF.replace("CALLOUT_XKEY", "xkey: $XKEY"),
            AuthKeys::generate(),
        )
        .await
    }

    async fn with(text: String, new: NewKeys) -> Self {
        let server = testing::nats_with(|config| {
            let config = config.text(text).variable("ISSUER", &new.issuer);
            config.variable("XKEY", &new.xkey)
        })
        .await;
        Self { server, new }
    }

    fn keys(&self) -> AuthKeys {
        AuthKeys::from_seeds(&self.new.issuer_seed, &self.new.xkey_seed).unwrap()
    }

    /// One of the server's own users.
    async fn user(&self, name: &str) -> Client {
        ConnectOptions::with_user_and_password(name.to_owned(), name.to_owned())
            .custom_inbox_prefix(format!("_INBOX.s.{name}"))
            .connect(self.server.url())
            .await
            .unwrap()
    }

    /// Serves on a connection with the permissions of CONF.
    async fn serve<S: Clone + Send + Sync + 'static>(&self, service: Service<S>) -> Running {
        let definition = service.build().unwrap();
        natsfn::start(definition, self.user("auth").await, None)
            .await
            .unwrap()
    }

    /// Serves a function that decides.
    async fn decide<A, H>(&self, decide: H) -> Running
    where
        H: natsfn::Handler<natsfn::Request, (), A>,
    {
        let endpoint = Endpoint::auth_callout("decide", self.keys());
        self.serve(Service::new("auth", "1.0.0").endpoint(endpoint, decide))
            .await
    }

    /// A login as a client makes it, with the server's answer.
    async fn login(&self, connect: &Value) -> Login {
        let mut login = self.raw(connect).await;
        login.answer = login.line().await;
        // The server's first ping may come before the answer to a login that takes seconds.
        while login.answer == "PING" {
            login.answer = login.line().await;
        }
        login
    }

    /// A login that does not wait for the answer.
    async fn raw(&self, connect: &Value) -> Login {
        let address = self.server.url().trim_start_matches("nats://");
        let stream = TcpStream::connect(address).await.unwrap();
        let mut login = Login {
            stream: BufReader::new(stream),
            answer: String::new(),
        };
        assert!(login.line().await.starts_with("INFO "));
        let mut connect = connect.clone();
        connect["verbose"] = json!(false);
        login.say(&format!("CONNECT {connect}\r\nPING\r\n")).await;
        login
    }

    async fn password(&self, user: &str, password: &str) -> Login {
        self.login(&json!({ "user": user, "pass": password })).await
    }

    /// The server's log, once it contains this.
    async fn logs(&self, part: &str) -> String {
        until(part, async || {
            let log = std::fs::read_to_string(self.server.log()).unwrap();
            log.lines()
                .find(|line| line.contains(part))
                .map(str::to_owned)
        })
        .await
    }
}

/// A connection by hand, which shows the server's words.
struct Login {
    stream: BufReader<TcpStream>,
    /// `PONG`, or an error.
    answer: String,
}

impl Login {
    async fn say(&mut self, text: &str) {
        self.stream
            .get_mut()
            .write_all(text.as_bytes())
            .await
            .unwrap();
    }

    /// The next line; empty at the end.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        within(self.stream.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }
}

/// Lets everybody in whose password is the user's name twice.
async fn twice(request: AuthRequest) -> Result<Allow> {
    let user = &request.connect.user;
    if request.connect.password.expose() != user.repeat(2) {
        return Err(Error::new(
            Kind::Unauthorized,
            "wrong user name or password",
        ));
    }
    let permissions = Permissions::none()
        .publish(["shop.>"])
        .subscribe([format!("_INBOX.{user}.>")]);
    Ok(Allow::new("PEOPLE", format!("{user}~1")).permissions(permissions))
}

const REFUSED: &str = "-ERR 'Authorization Violation'";

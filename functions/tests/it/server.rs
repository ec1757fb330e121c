//! A nats-server with chat's configuration, and connections of those who have a password there.

use natsfn::Nats;
use natsfn::config::{Login, NatsConfig};
use natsfn::server::ServerConfig;
use natsfn::testing::{self, TestServer};

use crate::door::KEYS;

/// chat's one server configuration, as it stands in the repository.
pub(crate) const NATS_CONF: &str = include_str!("../../../nats.conf");

/// Who has a password in it.
const USERS: [&str; 13] = [
    "send",
    "history",
    "persist",
    "page",
    "chat",
    "setup",
    "dead",
    "operator",
    "backend",
    "auth",
    "auth-operator",
    "sys",
    "kick",
];

/// A nats-server with a configuration as chat's; every password is the user's name. People get in once
/// [`Doorman`](crate::door::Doorman) stands there.
pub(crate) async fn server(text: &str) -> TestServer {
    testing::nats_with(|config| configured(config, text)).await
}

/// The same of a server that something else starts.
pub(crate) fn configured(config: ServerConfig, text: &str) -> ServerConfig {
    let config = config
        .text(text)
        .list("NATS_CONF_WEBSOCKET_ORIGINS", ["http://localhost:3000"])
        .variable("NATS_CONF_AUTH_ISSUER", &KEYS.issuer)
        .variable("NATS_CONF_AUTH_XKEY", &KEYS.xkey);
    USERS.iter().fold(config, |config, user| {
        let name = user.to_uppercase().replace('-', "_");
        config.variable(format!("NATS_CONF_PASSWORD_{name}"), user)
    })
}

/// Connects as one of the users.
pub(crate) async fn connect(server: &TestServer, user: &str, inbox: &str) -> Nats {
    login(server.url(), user, inbox).await
}

/// As [`connect`] in another process, which knows the address only.
pub(crate) async fn login(url: &str, user: &str, inbox: &str) -> Nats {
    let config = NatsConfig {
        url: url.to_owned(),
        ..NatsConfig::default()
    };
    let config = config.login(&Login::new(user, user, inbox));
    natsfn::connect_once(&config, user).await.unwrap()
}

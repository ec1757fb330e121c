//! The answer that lets a client in.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::request::Client;
use crate::error::{Error, Kind, Result};
use crate::function::event::Request;
use crate::function::reply::{IntoReply, Response};

/// Lets a client in: as this user, in this account, with these permissions and no others.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use natsfn::auth_callout::{Allow, ConnectionType, Permissions};
///
/// let permissions = Permissions::none()
///     .publish(["orders.alice"])
///     .subscribe(["_INBOX.alice.>", "prices.*"])
///     .deny_subscribe(["prices.internal"]);
/// let allow = Allow::new("CUSTOMERS", "alice")
///     .permissions(permissions)
///     .expires(SystemTime::now() + Duration::from_secs(12 * 3600))
///     .connection_types([ConnectionType::WebSocket, ConnectionType::Standard]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct Allow {
    /// The account, by its name in nats-server's configuration.
    pub account: String,
    /// The user's name, in nats-server's monitoring and in [`crate::Caller`].
    pub name: String,
    /// What the user may publish and subscribe: nothing, unless it is said.
    pub permissions: Permissions,
    /// When nats-server closes the connection, to the second. Never, if `None`.
    pub expires: Option<SystemTime>,
    /// How the client may have connected. In any way, if empty.
    pub connection_types: Vec<ConnectionType>,
}

impl Allow {
    /// Lets the client into an account, under a name, with no permission.
    pub fn new(account: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            name: name.into(),
            permissions: Permissions::none(),
            expires: None,
            connection_types: Vec::new(),
        }
    }

    /// What the user may do.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// When nats-server closes the connection with "User Authentication Expired".
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// How the client may have connected; anything else is refused.
    pub fn connection_types(mut self, types: impl IntoIterator<Item = ConnectionType>) -> Self {
        self.connection_types = types.into_iter().collect();
        self
    }

    /// Refuses a client that comes in another way. nats-server before 2.15.2 does not look.
    pub(super) fn check_way(&self, client: &Client) -> Result<()> {
        let types = &self.connection_types;
        let ways = ConnectionType::of(client);
        if types.is_empty() || ways.iter().any(|way| types.contains(way)) {
            return Ok(());
        }
        let names: Vec<String> = ways.iter().map(|way| format!("{way:?}")).collect();
        let way = names.join(" or ");
        Err(Error::new(
            Kind::Forbidden,
            format!("this login may not be made in this way: {way}"),
        ))
    }

    /// Checks what nats-server would take for something else than was meant.
    pub(super) fn check(&self) -> Result<()> {
        // nats-server keeps the name that the client claims where the answer has none.
        for (what, name) in [("account", &self.account), ("name", &self.name)] {
            if name.is_empty() {
                return Err(Error::internal(format!("Allow: the {what} is empty")));
            }
        }
        let Permissions { publish, subscribe } = &self.permissions;
        for subject in [publish, subscribe].into_iter().flat_map(Subjects::all) {
            // A space begins the name of a queue group.
            let is_wrong = |c: char| c.is_whitespace() || c.is_control();
            if subject.split('.').any(str::is_empty) || subject.contains(is_wrong) {
                return Err(Error::internal(format!(
                    "Allow: {subject:?} is no subject: it must have no space and no empty token"
                )));
            }
        }
        if self.expires.is_some_and(|at| at <= SystemTime::now()) {
            return Err(Error::new(Kind::Unauthorized, "the login has expired"));
        }
        Ok(())
    }
}

impl ConnectionType {
    /// What a client can be; the server does not tell all of them apart.
    fn of(client: &Client) -> &'static [Self] {
        match (&*client.kind, &*client.connection_type) {
            ("Leafnode", _) => &[Self::LeafNode, Self::LeafNodeWebSocket],
            ("Client", "nats") => &[Self::Standard, Self::InProcess],
            ("Client", "websocket") => &[Self::WebSocket],
            ("Client", "mqtt") => &[Self::Mqtt, Self::MqttWebSocket],
            _ => &[],
        }
    }
}

impl IntoReply<Request> for Allow {
    fn into_reply(self) -> Result<Response> {
        Response::json(&self)
    }
}

/// What a user may publish and subscribe.
///
/// nats-server takes an empty list of allowed subjects for all of them. Here it is none: who means every
/// subject says `">"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct Permissions {
    /// What the user may publish.
    pub publish: Subjects,
    /// What the user may subscribe.
    pub subscribe: Subjects,
}

/// Allowed subjects, and those of them that are denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subjects {
    /// The only subjects that are allowed; wildcards as usual.
    pub allow: Vec<String>,
    /// What is denied nevertheless.
    pub deny: Vec<String>,
}

impl Permissions {
    /// Nothing at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Allows these to be published too.
    pub fn publish<T: Into<String>>(mut self, subjects: impl IntoIterator<Item = T>) -> Self {
        extend(&mut self.publish.allow, subjects);
        self
    }

    /// Allows these to be subscribed too.
    pub fn subscribe<T: Into<String>>(mut self, subjects: impl IntoIterator<Item = T>) -> Self {
        extend(&mut self.subscribe.allow, subjects);
        self
    }

    /// Denies these to be published.
    pub fn deny_publish<T: Into<String>>(mut self, subjects: impl IntoIterator<Item = T>) -> Self {
        extend(&mut self.publish.deny, subjects);
        self
    }

    /// Denies these to be subscribed.
    pub fn deny_subscribe<T: Into<String>>(
        mut self,
        subjects: impl IntoIterator<Item = T>,
    ) -> Self {
        extend(&mut self.subscribe.deny, subjects);
        self
    }
}

fn extend<T: Into<String>>(list: &mut Vec<String>, subjects: impl IntoIterator<Item = T>) {
    list.extend(subjects.into_iter().map(Into::into));
}

impl Subjects {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.allow.iter().chain(&self.deny)
    }

    /// As nats-server reads it.
    pub(super) fn claim(&self) -> Self {
        match self.allow.as_slice() {
            [] => Self {
                allow: Vec::new(),
                deny: vec![">".to_owned()],
            },
            _ => self.clone(),
        }
    }
}

/// How a client connects, by nats-server's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectionType {
    /// A client over TCP.
    Standard,
    /// A client over WebSocket, such as a browser.
    #[serde(rename = "WEBSOCKET")]
    WebSocket,
    /// A leaf node.
    #[serde(rename = "LEAFNODE")]
    LeafNode,
    /// A leaf node over WebSocket.
    #[serde(rename = "LEAFNODE_WS")]
    LeafNodeWebSocket,
    /// An MQTT client.
    Mqtt,
    /// An MQTT client over WebSocket.
    #[serde(rename = "MQTT_WS")]
    MqttWebSocket,
    /// A client inside the server's process.
    InProcess,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn nothing_allowed_is_everything_denied_to_nats_server() {
        let permissions = Permissions::none().publish(["a"]).deny_publish(["a.b"]);
        assert_eq!(permissions.publish.claim(), permissions.publish);
        let none = permissions.deny_subscribe(["c"]).subscribe.claim();
        assert_eq!(
            to_value(none).unwrap(),
            json!({ "allow": [], "deny": [">"] })
        );
    }

    #[test]
    fn what_the_server_would_misunderstand_is_an_error() {
        let allow = || Allow::new("A", "alice");
        let publish = |subject: &str| allow().permissions(Permissions::none().publish([subject]));
        assert!(allow().check().is_ok());
        assert!(publish("a.*.>").check().is_ok());
        let wrong = [
            Allow::new("", "alice"),
            Allow::new("A", ""),
            publish(""),
            publish("a..b"),
            publish("a queue"),
            publish("a\r\n"),
            allow().permissions(Permissions::none().deny_subscribe(["."])),
            allow().expires(SystemTime::now() - Duration::from_secs(1)),
        ];
        for wrong in wrong {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn connection_types_have_the_server_s_names() {
        let names = [
            "STANDARD",
            "WEBSOCKET",
            "LEAFNODE",
            "LEAFNODE_WS",
            "MQTT",
            "MQTT_WS",
            "IN_PROCESS",
        ];
        let types: Vec<ConnectionType> = from_value(json!(names)).unwrap();
        assert_eq!(to_value(types).unwrap(), json!(names));
    }
}

//! The names on NATS: accounts, the log, its subjects, its consumer, what people may reach.

use natsfn::Stream;

use crate::config;
use crate::message::room::{Realm, Room};

/// The stream that is the write-ahead log.
pub const LOG: &str = "CHAT_MESSAGES";

/// What stands before a message's subject where people hear it.
pub const LIVE: &str = "live.";

/// The durable consumer that moves the log into the database: `persist`'s.
pub const CONSUMER: &str = "chat-persist";

/// The largest message that `send` accepts, as it is stored, in bytes.
pub const MAX_MESSAGE: usize = 15 * 1024;

/// The largest message that the log takes, headers included, in bytes.
const MAX_LOGGED: i32 = 16 * 1024;

/// The log. Its subjects have two tokens, so it never captures a request such as
/// `chat.send.general`. What it stores is republished, live, to everybody in the room.
pub fn log(config: &config::Stream) -> Stream {
    Stream::new(LOG, ["chat.{room}", "admin.{room}"])
        .max_bytes(config.max_bytes)
        .max_message_size(MAX_LOGGED)
        .replicas(config.replicas)
        .republish(">", format!("{LIVE}>"))
        // nats.conf has `sync_interval: always`. Gathers with nats-server 2.15 or newer.
        .atomic_appends()
        .deny_delete()
}

/// The subject of a room's messages in the log.
pub fn logged(realm: Realm, room: &Room) -> String {
    format!("{realm}.{room}")
}

/// The account of people's connections.
pub const PEOPLE: &str = "PEOPLE";

/// Where a person asks for the own permissions.
pub const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// Where somebody who logged in with a password asks for a session token.
pub const SESSION: &str = "auth.session";

/// Where a person sends to, in every room of a realm.
pub fn sending(realm: Realm) -> String {
    format!("{realm}.send.*")
}

/// Where a person asks for history, in every room of a realm.
pub fn asking(realm: Realm) -> String {
    format!("{realm}.history.*")
}

/// What a person hears, in every room of a realm.
pub fn hearing(realm: Realm) -> String {
    format!("{LIVE}{realm}.*")
}

/// Where a person gets answers.
pub fn inbox(uid: &str) -> String {
    format!("_INBOX.u.{uid}.>")
}

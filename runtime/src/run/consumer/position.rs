//! The position of a delivery in its stream, read from its acknowledgement subject.

use async_nats::Message;

use crate::function::event::Key;

/// Which message a delivery is, and how often it has been delivered.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    pub(crate) time_ns: i64,
    pub(crate) delivered: u64,
}

impl Position {
    /// `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>`, or with
    /// domain and account before the stream (and perhaps more behind).
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let reply = message.reply.as_ref()?;
        let tokens: Vec<&str> = reply.split('.').collect();
        if tokens.len() < 9 || tokens[0] != "$JS" || tokens[1] != "ACK" {
            return None;
        }
        let at = if tokens.len() == 9 { 4 } else { 6 };
        Some(Self {
            delivered: tokens.get(at)?.parse().ok()?,
            seq: tokens.get(at + 1)?.parse().ok()?,
            time_ns: tokens.get(at + 3)?.parse().ok()?,
        })
    }

    pub(crate) fn key(self) -> Key {
        (self.seq, self.time_ns)
    }
}

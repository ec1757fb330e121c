//! A dead letter that was published again: for which function it is, and which message it was first.
//!
//! It says so in headers, which anybody may write who may publish to the stream. What such a publisher
//! wins is that a function passes over a message of the publisher's own, or takes it for another one
//! that the function has done; no other message is touched.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;

use crate::function::event::Message;

/// `<service>.<function>`: others acknowledge the message unseen, if they have no natural key.
pub(crate) const FOR: &str = "Dead-Letter-Replay-For";
/// `<stream>.<sequence>-<stream time in ns>`: the message's first place.
pub(crate) const OF: &str = "Dead-Letter-Replay-Of";
/// The message's first `Nats-Msg-Id`: the stream would take the same one for a duplicate.
pub(crate) const ID: &str = "Dead-Letter-Replay-Id";

/// What a replayed message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replay<'a> {
    /// `<service>.<function>`.
    pub(crate) function: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) seq: u64,
    pub(crate) time_ns: i64,
}

impl<'a> Replay<'a> {
    /// None for a message that is no replay.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).map(|value| value.as_str());
        let (stream, place) = text(OF)?.rsplit_once('.')?;
        let (seq, time_ns) = place.split_once('-')?;
        Some(Self {
            function: text(FOR)?,
            stream,
            seq: seq.parse().ok()?,
            time_ns: time_ns.parse().ok()?,
        })
    }
}

impl Message {
    /// Whether it was replayed for another function than this one, which passes over it.
    pub(crate) fn is_replay_for_another(&self, service: &str, function: &str) -> bool {
        Replay::of(&self.headers)
            .is_some_and(|replay| replay.function.split_once('.') != Some((service, function)))
    }

    /// Whether it is a dead letter that was published again. The inbox takes it alone.
    pub(crate) fn is_replay(&self) -> bool {
        Replay::of(&self.headers).is_some()
    }

    /// The sequence and the stream time in ns that it was first stored with: for a replayed dead
    /// letter those of the original.
    pub fn origin(&self) -> (u64, i64) {
        Replay::of(&self.headers).map_or((self.seq, self.time_ns), |replay| {
            (replay.seq, replay.time_ns)
        })
    }

    /// The `Nats-Msg-Id` that it was first published with, if any: for a replayed dead letter that
    /// of the original.
    pub fn message_id(&self) -> Option<&str> {
        let id = if Replay::of(&self.headers).is_some() {
            self.headers.get(ID)
        } else {
            self.headers.get(NATS_MESSAGE_ID)
        };
        id.map(|id| id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(replay_for: Option<&str>, replay_of: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(OF, replay_of);
        if let Some(function) = replay_for {
            headers.insert(FOR, function);
        }
        headers
    }

    #[test]
    fn place_and_function_come_back_as_they_were_written() {
        assert_eq!(
            Replay::of(&headers(Some("shop.store"), "ORDERS.7-1700000000123456789")),
            Some(Replay {
                function: "shop.store",
                stream: "ORDERS",
                seq: 7,
                time_ns: 1_700_000_000_123_456_789,
            })
        );
    }

    #[test]
    fn broken_headers_make_no_replay() {
        for of in ["", "ORDERS", "ORDERS.7", "ORDERS.x-1", "ORDERS.-1-1"] {
            assert_eq!(Replay::of(&headers(Some("shop.store"), of)), None, "{of}");
        }
        assert_eq!(Replay::of(&headers(None, "ORDERS.7-1")), None);
    }
}

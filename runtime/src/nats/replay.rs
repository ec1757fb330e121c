//! A republished dead letter: the function it is for, and the message it was originally.
//!
//! Headers carry this, and anybody who may publish to the stream may write them. A forger can only make
//! a function skip the forged message itself, or take it for one that is already done; other messages
//! are unaffected.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;

use crate::function::event::Message;

/// `<service>.<function>`: other functions without a natural key acknowledge the message without
/// running.
pub(crate) const FOR: &str = "Dead-Letter-Replay-For";
/// `<stream>.<sequence>-<stream time in ns>` of the original message.
pub(crate) const OF: &str = "Dead-Letter-Replay-Of";
/// The original `Nats-Msg-Id`: the stream would reject it as a duplicate if it were sent again.
pub(crate) const ID: &str = "Dead-Letter-Replay-Id";

/// The replay headers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replay<'a> {
    /// `<service>.<function>`.
    pub(crate) function: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) seq: u64,
    pub(crate) time_ns: i64,
}

impl<'a> Replay<'a> {
    /// `None` if the message is no replay.
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
    /// Whether it was replayed for another function; this one skips it then.
    pub(crate) fn is_replay_for_another(&self, service: &str, function: &str) -> bool {
        Replay::of(&self.headers)
            .is_some_and(|replay| replay.function.split_once('.') != Some((service, function)))
    }

    /// Whether it is a republished dead letter. The inbox takes it alone.
    pub(crate) fn is_replay(&self) -> bool {
        Replay::of(&self.headers).is_some()
    }

    /// The sequence and the stream time in ns of the first publication; a replayed dead letter has
    /// those of the original.
    pub fn origin(&self) -> (u64, i64) {
        Replay::of(&self.headers).map_or((self.seq, self.time_ns), |replay| {
            (replay.seq, replay.time_ns)
        })
    }

    /// The `Nats-Msg-Id` of the first publication, if any; a replayed dead letter has that of the
    /// original.
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

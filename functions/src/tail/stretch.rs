//! A room's messages in the log, as far as a page needs them.

use natsfn::{Client, Message, Range, Result};

use super::window::Window;
use crate::subjects::LOG;

/// Messages in one read of the log.
const CHUNK: usize = 1_000;

/// How far from the window's beginning the head may be for messages to be read one by one: so many there
/// are at most.
const NEAR: u64 = 32;

/// How much is read at most.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Messages.
    pub messages: usize,
    /// What they take on the wire, in bytes.
    pub bytes: usize,
}

/// What was read.
pub struct Stretch {
    /// The sequence of the room's last message when the reading began, 0 for none.
    pub head: u64,
    /// The room's messages in the window, in the log's order.
    pub messages: Vec<Message>,
    /// What they take on the wire.
    pub bytes: usize,
    /// How the reading ended.
    pub end: End,
}

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has everything of the window that was in the log when it began, and perhaps more.
    Whole,
    /// There is more than the bound allows.
    Long,
    /// The server that answers lacks the head: it is a replica that lags behind the leader, or the
    /// log was trimmed meanwhile.
    Behind,
}

/// Reads a room's messages in a window, up to the head that the room has at the beginning. So
/// everything that was acknowledged before the call is included; what comes later need not be.
/// The head may be known.
///
/// # Errors
/// [`natsfn::Kind::Unavailable`] if JetStream does not answer.
pub async fn stretch(
    client: &Client,
    subject: &str,
    window: Window,
    bound: Bound,
    head: Option<u64>,
) -> Result<Stretch> {
    let part = async |from: u64, messages: usize, bytes: usize| {
        let messages = CHUNK.min(bound.messages + 1 - messages);
        let bytes = bound.bytes - bytes;
        client.range(LOG, subject, from, messages, bytes).await
    };
    let head = match head {
        Some(head) => head,
        None => client
            .last(LOG, subject)
            .await?
            .map_or(0, |message| message.seq()),
    };
    let needed = head.min(window.upto);
    let near = Window {
        upto: needed,
        ..window
    };
    let mut range = if needed.saturating_sub(window.above) <= NEAR {
        one_by_one(client, subject, near, bound).await?
    } else {
        nothing()
    };
    let end = loop {
        let reached = range.messages.last().map_or(window.above, Message::seq);
        if reached >= needed {
            break End::Whole;
        }
        if range.messages.len() > bound.messages || range.bytes >= bound.bytes {
            break End::Long;
        }
        let next = part(reached + 1, range.messages.len(), range.bytes).await?;
        if next.messages.is_empty() {
            break End::Behind;
        }
        range.bytes += next.bytes;
        range.messages.extend(next.messages);
    };
    let inside = |message: &Message| message.seq() <= window.upto;
    range
        .messages
        .truncate(range.messages.partition_point(inside));
    Ok(Stretch {
        head,
        messages: range.messages,
        bytes: range.bytes,
        end,
    })
}

/// The messages of a window, from the leader, until one exceeds the bound. It answers at once, while the
/// answers to a range wait until the stream has acknowledged what it has taken in: while much arrives and
/// each message is synced, that is long.
async fn one_by_one(client: &Client, subject: &str, window: Window, bound: Bound) -> Result<Range> {
    let (mut range, mut reached) = (nothing(), window.above);
    while reached < window.upto
        && range.messages.len() <= bound.messages
        && range.bytes < bound.bytes
    {
        let Some(message) = client.next(LOG, subject, reached + 1).await? else {
            break;
        };
        reached = message.seq();
        range.bytes += size(&message);
        range.messages.push(message);
    }
    Ok(range)
}

/// About what a message takes on the wire.
fn size(message: &Message) -> usize {
    let headers = message.headers().iter();
    let headers = headers.flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        // `: ` between them and the line's end.
        values
            .iter()
            .map(|value| name.len() + value.as_str().len() + 4)
    });
    message.subject().len() + message.payload().len() + headers.sum::<usize>()
}

fn nothing() -> Range {
    Range {
        messages: Vec::new(),
        bytes: 0,
        more: false,
    }
}

//! A room's messages in the log, as far as a page needs them.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::try_join_all;
use natsfn::{Client, Message, Range, Result};

use super::window::Window;
use crate::subjects::LOG;

/// Messages in one read of the log.
const CHUNK: usize = 1_000;

/// How far from the window's beginning the head may be for messages to be read one by one: so many there
/// are at most.
const NEAR: u64 = 128;

/// Into how many parts such a window is divided at most, which are read at once, and how short a part may be.
const PARTS: u64 = 16;
const SHORTEST: u64 = 4;

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
    let (mut range, is_whole) = if needed.saturating_sub(window.above) <= NEAR {
        side_by_side(client, subject, near, bound.bytes).await?
    } else {
        (nothing(), false)
    };
    let end = loop {
        let reached = range.messages.last().map_or(window.above, Message::seq);
        if is_whole || reached >= needed {
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

/// The messages of a window that ends at the head or before it, from the leader, and whether these are all. It answers
/// at once, while the answers to a range wait until the stream has acknowledged what it has taken in: while much
/// arrives and each message is synced, that is long. Each answer waits for the server's writes of that moment, so the
/// parts of the window are read at once.
async fn side_by_side(
    client: &Client,
    subject: &str,
    window: Window,
    max_bytes: usize,
) -> Result<(Range, bool)> {
    let left = AtomicUsize::new(max_bytes);
    // Often it is the only one.
    let first = Window {
        upto: window.upto.min(window.above + 1),
        ..window
    };
    let (mut range, mut reached) = one_by_one(client, subject, first, &left).await?;
    if let Some(above) = reached
        && above < window.upto
    {
        let length = (window.upto - above).div_ceil(PARTS).max(SHORTEST);
        let parts = (0..PARTS).map(|n| Window {
            above: window.upto.min(above + n * length),
            upto: window.upto.min(above + (n + 1) * length),
        });
        let parts = parts.map(|part| one_by_one(client, subject, part, &left));
        for (part, upto) in try_join_all(parts).await? {
            range.bytes += part.bytes;
            range.messages.extend(part.messages);
            reached = upto;
            if upto.is_none() {
                break;
            }
        }
    }
    Ok((range, reached.is_some()))
}

/// The messages of a part of a window, as long as bytes are left, and up to where these are all: to the part's end, or
/// before the message that comes after it. A server that knows of none lacks the head, and perhaps more: `None`, as
/// where no bytes are left.
async fn one_by_one(
    client: &Client,
    subject: &str,
    part: Window,
    left: &AtomicUsize,
) -> Result<(Range, Option<u64>)> {
    let (mut range, mut reached) = (nothing(), part.above);
    while reached < part.upto {
        if left.load(Relaxed) == 0 {
            return Ok((range, None));
        }
        let Some(message) = client.next(LOG, subject, reached + 1).await? else {
            return Ok((range, None));
        };
        if message.seq() > part.upto {
            return Ok((range, Some(message.seq() - 1)));
        }
        reached = message.seq();
        let size = size(&message);
        let _ = left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(size)));
        range.bytes += size;
        range.messages.push(message);
    }
    Ok((range, Some(reached)))
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

//! The tail of the log: a room's messages that may not be in the database yet.

mod floor;
mod kept;
mod reader;
pub mod readings;
pub mod stretch;
pub mod waiting;
pub mod window;

use std::sync::Arc;
use std::time::Duration;

use natsfn::{Client, Db, Head, LiveTail, Result};

use crate::message::Message;
use crate::message::logged::Logged;
use crate::place::Place;
use crate::store::rows::{Cursor, Position, furthest};
use crate::subjects::{LIVE, LOG};
use floor::{Floor, StoredFloor};
use kept::Kept;
use reader::Reader;
use readings::{Held, Readings};
use stretch::Bound;
use waiting::{Waiting, waiting};
use window::Window;

/// What a request may read without waiting for memory; usually this is enough.
const SHORT: Bound = Bound {
    messages: 300,
    bytes: 128 << 10,
};

/// What the messages may take that are held in memory, in bytes; and for how long one is: the floor is past it by
/// then, unless `persist` is away.
const HELD: usize = 16 << 20;
const HELD_AGE: Duration = Duration::from_secs(4);

/// The floor that was read last, the readings in progress, and the newest messages of the rooms in which much arrives.
#[derive(Clone)]
pub struct Tails {
    floor: Floor,
    readings: Readings<Tail>,
    /// `None` for what cannot be stored.
    live: Arc<LiveTail<Option<Arc<Message>>>>,
}

impl Default for Tails {
    fn default() -> Self {
        let live = LiveTail::new(LOG, LIVE, HELD, HELD_AGE, |message| {
            Logged::from(message).message().ok().map(Arc::new)
        });
        Self {
            floor: Floor::default(),
            readings: Readings::default(),
            live: Arc::new(live),
        }
    }
}

/// A room's messages that the database may not have yet.
#[derive(Debug)]
pub struct Tail {
    /// The valid messages, in the log's order.
    pub rows: Vec<Waiting>,
    /// Up to here, every message of the page is in the database or in `rows`.
    pub upto: Position,
    /// Everything up to here is in the database.
    pub floor: Position,
    /// The room's last message is below the floor, has no row, and may need one: a dead letter, or the
    /// database was put back to an older state, which `persist` mends soon.
    pub doubtful: bool,
    /// Size of the messages on the wire.
    bytes: usize,
    /// The newest epoch when the log was read.
    epoch: i64,
    /// The client's count of connects when the log was read.
    connects: u64,
    /// The memory that a long tail reserves until it is dropped.
    held: Option<Held<Tail>>,
}

/// Reads the part of a room's tail that a page needs, where the room's last message in the log may be
/// known. The caller reads the rows of the database after this returns: otherwise a message that is
/// stored in between would be missed.
///
/// # Errors
/// [`Kind::Unavailable`](natsfn::Kind::Unavailable) if the log or the database is unavailable, or
/// the tail is too long.
pub async fn tail(
    tails: &Tails,
    client: &Client,
    db: &Db,
    place: &Place,
    cursor: Cursor,
    limit: u64,
    head: Option<&Head>,
) -> Result<Arc<Tail>> {
    let reader = Reader {
        tails,
        client,
        db,
        subject: place.subject(),
        head: head.map(Head::seq),
    };
    let needed = |known: &StoredFloor| Window::of(cursor, &known.life, known.floor);
    if let Some(head) = head
        && let Some(tail) = reader.held(needed, head).await?
    {
        return Ok(Arc::new(tail));
    }
    // A few requests probe how long the tail is. If others are in a long reading, it is long.
    let peek = tails.readings.peek(place).await?;
    if !tails.readings.are_going_on(place)
        && let Some(tail) = reader.read(needed, SHORT, None).await?
    {
        return Ok(Arc::new(tail));
    }
    // One message that cannot be stored holds the floor down, although everything above may be
    // stored: then the database's rows narrow the window.
    let furthest = furthest(db, place.realm, &place.room, cursor, limit).await?;
    let filled = |known: &StoredFloor| match furthest {
        Some(row) => needed(known).filled_up_to(cursor, &known.life, row),
        None => needed(known),
    };
    let known = reader.floor_for(reader.head, None).await?;
    // Some of these rows may be above the head that this request found: a page that ended there would hold as many
    // more below the window, where the log is not read. From here on each reading finds a head of its own.
    let reader = Reader {
        head: None,
        ..reader
    };
    if filled(&known) != needed(&known)
        && let Some(tail) = reader.read(filled, SHORT, None).await?
    {
        return Ok(Arc::new(tail));
    }
    let window = filled(&known);
    drop(peek);
    if window.is_open() {
        let above = known.position(window.above);
        let read = async |above: Position, held, former: Option<Arc<Tail>>| {
            let open = |known: &StoredFloor| Window {
                above: known.floor.max(known.life.seqs_upto(above)),
                upto: u64::MAX,
            };
            reader.long(open, held, former.as_deref()).await
        };
        return tails.readings.share(place, above, read).await;
    }
    let held = tails.readings.alone(place).await?;
    reader.long(filled, held, None).await.map(Arc::new)
}

impl Tail {
    /// What was read of a log whose last message in the room was `head`.
    fn of(known: &StoredFloor, connects: u64, read: Kept, head: u64) -> Self {
        Self {
            rows: waiting(read.messages),
            // Everything of the epochs before the newest one is below this.
            upto: Position {
                epoch: known.life.newest().id,
                seq: known.floor.max(head).max(read.upto).cast_signed(),
            },
            floor: known.life.end(known.floor.cast_signed()),
            doubtful: false,
            bytes: read.bytes,
            epoch: known.life.newest().id,
            connects,
            held: None,
        }
    }
}

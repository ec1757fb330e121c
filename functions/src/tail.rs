//! The tail of the log: a room's messages that may not be in the database yet.

mod floor;
mod kept;
pub mod readings;
pub mod stretch;
pub mod waiting;
pub mod window;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use natsfn::{Client, Db, Error, Head, LiveTail, Result};

use crate::message::Message;
use crate::message::logged::Logged;
use crate::place::Place;
use crate::store::rows::{Cursor, Position, furthest, rows_of};
use crate::subjects::{LIVE, LOG};
use floor::{Floor, Look, StoredFloor};
use kept::Kept;
use readings::{Held, READING_MIB, Readings};
use stretch::{Bound, End, stretch};
use waiting::{Waiting, waiting};
use window::Window;

/// Limit of a room's tail; beyond it the answer is a 503.
const LONG: Bound = Bound {
    messages: 10_000,
    bytes: (READING_MIB as usize) << 20,
};

/// What a request may read without waiting for memory; usually this is enough.
const SHORT: Bound = Bound {
    messages: 300,
    bytes: 128 << 10,
};

/// How often the log is read if it changes meanwhile.
const TRIES: u32 = 5;

/// Base of the pause between two tries; it doubles each time.
const PAUSE: Duration = Duration::from_millis(10);

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
    if filled(&known) != needed(&known)
        && let Some(tail) = reader.read(filled, SHORT, None).await?
    {
        return Ok(Arc::new(tail));
    }
    let window = filled(&known);
    drop(peek);
    if window.is_open() {
        let above = known.position(window.above);
        // Whoever shares it may have asked after this request found its head: it finds one of its own.
        let reader = Reader {
            head: None,
            ..reader
        };
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

/// What a reading needs.
struct Reader<'a> {
    tails: &'a Tails,
    client: &'a Client,
    db: &'a Db,
    subject: String,
    /// The sequence of the room's last message, 0 for none, as it was found after the question.
    head: Option<u64>,
}

impl Reader<'_> {
    /// Reads a tail up to [`LONG`], continuing from `former` if possible.
    async fn long(
        &self,
        window: impl Fn(&StoredFloor) -> Window,
        held: Held<Tail>,
        former: Option<&Tail>,
    ) -> Result<Tail> {
        let read = self.read(window, LONG, former).await?;
        let mut tail = read.ok_or_else(|| self.too_long())?;
        tail.held = Some(held.shrunk_to(tail.bytes));
        Ok(tail)
    }

    /// The tail from memory; `None` if not all of it is held. That the room's last message is held tells that the
    /// log is the one in which the floor was read.
    async fn held(
        &self,
        window: impl Fn(&StoredFloor) -> Window,
        head: &Head,
    ) -> Result<Option<Tail>> {
        let known = self.tails.floor.read(self.client, self.db, None).await?;
        // An older message is of a log before this one.
        let is_of_life = head.time_ns().is_some_and(|time| time >= known.created_ns);
        let (window, live) = (window(&known), &self.tails.live);
        let is_settled = head.seq() <= known.floor.max(known.noted());
        if !is_of_life || is_settled || window.upto <= window.above {
            return Ok(None);
        }
        let held = live.between(self.client, &self.subject, window.above, head, known.read);
        let Some(held) = held.await?.filter(|held| held.len() <= LONG.messages) else {
            return Ok(None);
        };
        let inside = held.into_iter().filter(|(seq, _)| *seq <= window.upto);
        let messages = inside.filter_map(|(seq, message)| Some((message?, known.position(seq))));
        let kept = Kept {
            messages: messages.collect(),
            ..Kept::default()
        };
        Ok(Some(Tail::of(&known, 0, kept, head.seq())))
    }

    /// Reads a tail; `None` if it exceeds `bound`.
    async fn read(
        &self,
        window: impl Fn(&StoredFloor) -> Window,
        bound: Bound,
        mut former: Option<&Tail>,
    ) -> Result<Option<Tail>> {
        let (mut asked_again, mut in_doubt) = (false, None);
        for tried in 0..TRIES {
            if tried > 0 {
                in_doubt = Some(Instant::now());
                tokio::time::sleep(PAUSE * (1 << tried)).await;
            }
            // The head too: it may be that of a log which was recreated since.
            let head = self.head.filter(|_| tried == 0);
            let known = self.floor_for(head, in_doubt).await?;
            let connects = self.client.nats().statistics().connects.load(Relaxed);
            let mut window = window(&known);
            // For the first try only: if `former` is the fault, the next one does without it.
            let former = former.take();
            let former = former.and_then(|tail| tail.kept(window, &known, connects));
            let went_on = former.is_some();
            let kept = former.unwrap_or_default();
            window.above = window.above.max(kept.upto);
            let left = Bound {
                messages: bound.messages.saturating_sub(kept.messages.len()),
                bytes: bound.bytes.saturating_sub(kept.bytes),
            };
            let read = stretch(self.client, &self.subject, window, left, head).await?;
            match read.end {
                End::Whole if kept.last() > read.head => continue,
                End::Whole => {}
                End::Long if went_on => continue,
                End::Long => return Ok(None),
                End::Behind => continue,
            }
            let mut doubtful = false;
            let first = match known.look(self.client, self.db, read.head).await? {
                Look::Same { first } => first,
                Look::OtherLife => {
                    asked_again = false;
                    continue;
                }
                Look::Doubtful if asked_again => {
                    doubtful = !self.needs_no_row(read.head).await?;
                    0
                }
                Look::Doubtful => {
                    asked_again = true;
                    continue;
                }
            };
            let kept = kept.and(&known, &read.messages, read.bytes);
            let mut tail = Tail::of(&known, connects, kept, read.head);
            // What left the log is in the database alone, also where the consumer is away and the floor 0.
            tail.upto.seq = tail.upto.seq.max(first.saturating_sub(1).cast_signed());
            tail.doubtful = doubtful;
            return Ok(Some(tail));
        }
        Err(Error::unavailable(format!(
            "{LOG} changes each time that {} is read: is the stream being recreated, or does a replica lag behind?",
            self.subject
        )))
    }

    /// Whether a message that is settled is poison, or a repeat.
    async fn needs_no_row(&self, seq: u64) -> Result<bool> {
        let Some(message) = self.client.message(LOG, seq).await? else {
            return Ok(false);
        };
        match Logged::from(&message).message() {
            Ok(message) => Ok(!rows_of(self.db, [&message]).await?.is_empty()),
            Err(_) => Ok(true),
        }
    }

    /// The floor, as it was read after `in_doubt`. Where the room's last message is above the one that is known, it is worth a look at how
    /// far `persist` is by now.
    async fn floor_for(&self, head: Option<u64>, in_doubt: Option<Instant>) -> Result<StoredFloor> {
        let floor = &self.tails.floor;
        let known = floor.read(self.client, self.db, in_doubt).await?;
        match head.is_some_and(|head| head > known.floor) {
            true => Ok(floor.raise(self.client, known).await),
            false => Ok(known),
        }
    }

    fn too_long(&self) -> Error {
        Error::unavailable(format!(
            "more than {} messages or {READING_MIB} MiB of {} wait to be stored; is `persist` running?",
            LONG.messages, self.subject
        ))
    }
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

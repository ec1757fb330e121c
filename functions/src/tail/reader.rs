//! One reading of a room's tail: from memory, or from the log.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use natsfn::{Client, Db, Error, Head, Result};

use super::floor::{Look, StoredFloor};
use super::kept::Kept;
use super::readings::{Held, READING_MIB};
use super::stretch::{Bound, End, stretch};
use super::window::Window;
use super::{Tail, Tails};
use crate::message::logged::Logged;
use crate::store::rows::rows_of;
use crate::subjects::LOG;

/// Limit of a room's tail; beyond it the answer is a 503.
const LONG: Bound = Bound {
    messages: 10_000,
    bytes: (READING_MIB as usize) << 20,
};

/// How often the log is read if it changes meanwhile.
const TRIES: u32 = 5;

/// Base of the pause between two tries; it doubles each time.
const PAUSE: Duration = Duration::from_millis(10);

/// What a reading needs.
pub(super) struct Reader<'a> {
    pub(super) tails: &'a Tails,
    pub(super) client: &'a Client,
    pub(super) db: &'a Db,
    pub(super) subject: String,
    /// The sequence of the room's last message, 0 for none, as it was found after the question.
    pub(super) head: Option<u64>,
}

impl Reader<'_> {
    /// Reads a tail up to [`LONG`], continuing from `former` if possible.
    pub(super) async fn long(
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
    pub(super) async fn held(
        &self,
        window: impl Fn(&StoredFloor) -> Window,
        head: &Head,
    ) -> Result<Option<Tail>> {
        // One that was read after the head was found would prove nothing.
        let Some(known) = self.tails.floor.at_hand() else {
            return Ok(None);
        };
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
    pub(super) async fn read(
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
    pub(super) async fn floor_for(
        &self,
        head: Option<u64>,
        in_doubt: Option<Instant>,
    ) -> Result<StoredFloor> {
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

//! The tail of the log: what a room holds that is not in the database yet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use natsfn::{Client, Db, Error, Kind, Range, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::epoch::epoch_of;
use crate::logged::Logged;
use crate::place::Place;
use crate::rows::{Position, Row, rows_at};
use crate::subjects::{CONSUMER, LOG};

/// The most messages of a room that may wait to be stored; behind more the answer is a 503.
const BOUND: usize = 10_000;

/// The most of them in MiB: a tail is read whole, for each question.
const BOUND_MIB: u32 = 16;

/// How many MiB of tails a process holds at once: four readings, or many short tails.
const ALL_MIB: u32 = 4 * BOUND_MIB;

const MIB: usize = 1 << 20;

/// For how long the floor that was read is good enough. An older one is safe: it only makes the
/// tail longer.
const FRESH: Duration = Duration::from_millis(250);

/// How often a reading begins anew when the log changes under it.
const TRIES: usize = 5;

/// How far the database is, as it was read last, and the memory that this process has for tails.
#[derive(Clone)]
pub struct Floor {
    known: Arc<Mutex<Option<Known>>>,
    memory: Arc<Semaphore>,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            memory: Arc::new(Semaphore::new(ALL_MIB as usize)),
        }
    }
}

#[derive(Clone, Copy)]
struct Known {
    created_ns: i64,
    epoch: i64,
    floor: u64,
    read: Instant,
}

/// A room's messages that the database may not have, and up to where they and the database are
/// everything.
#[derive(Debug)]
pub struct Tail {
    /// What can be stored by itself, in the log's order.
    pub rows: Vec<Row>,
    /// Everything of the room up to here is in the database or in the log's tail.
    pub upto: Position,
    /// Everything up to here is in the database.
    pub floor: Position,
    /// The memory that the rows take, until this is dropped: others wait for it.
    pub held: OwnedSemaphorePermit,
}

/// Reads the tail of a room. The caller reads the rows of the database after this returns: in the
/// other order a message that moves in between would be missed.
///
/// # Errors
/// [`Kind::Unavailable`] where the log or the database is away, or the tail is too long.
pub async fn tail(floor: &Floor, client: &Client, db: &Db, place: &Place) -> Result<Tail> {
    let subject = place.subject();
    let mut held = floor.reserve().await?;
    let mut asked_again = false;
    for _ in 0..TRIES {
        let known = floor.known(client, db).await?;
        let (head, range) = tokio::try_join!(
            client.last(LOG, &subject),
            client.range(
                LOG,
                &subject,
                known.floor + 1,
                BOUND + 1,
                BOUND_MIB as usize * MIB
            ),
        )?;
        if range.more {
            return Err(too_long(&subject, &range));
        }
        let head = head.map_or(0, |message| message.seq());
        let last = range.messages.last().map_or(0, |message| message.seq());
        // Direct reads may come from a replica that lags behind the leader.
        if head > known.floor && last < head {
            continue;
        }
        let position = |seq: u64| Position {
            epoch: known.epoch,
            seq: seq.cast_signed(),
        };
        let stored = async {
            if head == 0 || head > known.floor {
                return Ok(true);
            }
            Ok::<_, Error>(!rows_at(db, [position(head)]).await?.is_empty())
        };
        // Read after the messages: only if the stream is still the same are they of its epoch.
        let (info, stored) = tokio::try_join!(client.stream_info(LOG), stored)?;
        if info.created_ns() != known.created_ns {
            floor.forget();
            continue;
        }
        // A head without a row is a dead letter or a repeat; or the floor is that of another
        // database or another life of the log, which one look tells. And what was stored and
        // trimmed since the floor was read lies above it, in the database alone.
        let trimmed = head == 0 && info.state.first_seq > known.floor + 1;
        if (!stored || trimmed) && !asked_again {
            asked_again = true;
            floor.forget();
            continue;
        }
        let rows = range
            .messages
            .iter()
            .filter_map(|message| {
                let at = position(message.seq());
                Logged::from(message)
                    .message()
                    .ok()
                    .map(|message| Row { message, at })
            })
            .collect();
        let upto = position(known.floor.max(head).max(last));
        // What a shorter tail does not need is another reading's.
        drop(held.split(held.num_permits().saturating_sub(range.bytes.div_ceil(MIB))));
        return Ok(Tail {
            rows,
            upto,
            floor: position(known.floor),
            held,
        });
    }
    Err(Error::unavailable(
        "the log changes faster than it can be read",
    ))
}

impl Floor {
    /// Memory for the longest tail. The question's deadline ends the wait.
    async fn reserve(&self) -> Result<OwnedSemaphorePermit> {
        let memory = self.memory.clone();
        Ok(memory.acquire_many_owned(BOUND_MIB).await?)
    }

    async fn known(&self, client: &Client, db: &Db) -> Result<Known> {
        if let Some(known) = self.lock().filter(|known| known.read.elapsed() < FRESH) {
            return Ok(known);
        }
        let read = Instant::now();
        let stream = client.stream_info(LOG).await.map_err(absent)?;
        let floor = match client.consumer_info(LOG, CONSUMER).await {
            // A consumer older than its stream is that of a former life.
            Ok(consumer) if consumer.created >= stream.created => consumer.ack_floor.stream_seq,
            Ok(_) => 0,
            Err(error) if error.kind() == Kind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let epoch = epoch_of(db, LOG, stream.created_ns()).await?;
        let known = Known {
            created_ns: stream.created_ns(),
            epoch,
            floor,
            read,
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(known)
    }

    fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn lock(&self) -> Option<Known> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_long(subject: &str, range: &Range) -> Error {
    let what = if range.messages.len() > BOUND {
        format!("{BOUND} messages")
    } else {
        format!("{BOUND_MIB} MiB")
    };
    Error::unavailable(format!(
        "more than {what} of {subject} wait to be stored; is `persist` running?"
    ))
}

fn absent(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => Error::unavailable(format!("there is no stream {LOG}; run `chat setup`")),
        _ => error,
    }
}

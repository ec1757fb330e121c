//! Long readings of the log: requests for the same room share one, and no room takes all memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use natsfn::{Error, Result};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::place::Place;
use crate::store::rows::Position;

const MIB: usize = 1 << 20;

/// The most that one reading may take, in MiB.
pub const READING_MIB: u32 = 16;

/// What all readings of a process may hold at once, in MiB: four long ones, or many short ones.
const ALL_MIB: u32 = 4 * READING_MIB;

/// How many readings of one room may be held at once: one answers requests while the next is read,
/// and half of the memory is left for other rooms.
const IN_ROOM: usize = 2;

/// How many requests may probe the length of a room's tail at once. If it is long, the others learn
/// that from them, and read nothing in vain.
const PEEKS: usize = 8;

/// The rooms being read, and the memory for that. `T` is the result of a reading.
pub struct Readings<T> {
    rooms: Arc<Rooms<T>>,
    memory: Arc<Semaphore>,
}

type Rooms<T> = Mutex<HashMap<Place, Arc<Room<T>>>>;

/// A room that somebody reads or waits for, or whose messages are still held.
struct Room<T> {
    /// Changed only while the map of rooms is locked.
    visits: AtomicUsize,
    /// Requests for a shared reading at the moment.
    asking: AtomicUsize,
    last: tokio::sync::Mutex<Option<Reading<T>>>,
    /// The lowest position that waiting requests need.
    wanted: Mutex<Option<Position>>,
    turns: Arc<Semaphore>,
    peeks: Arc<Semaphore>,
}

/// A turn to find out how long a room's tail is.
pub struct Peek<T> {
    _turn: OwnedSemaphorePermit,
    _visit: Visit<T>,
}

/// A reading that has ended.
struct Reading<T> {
    began: Instant,
    above: Position,
    answer: Result<Arc<T>, Arc<Error>>,
}

/// Memory and a room's turn, for as long as what was read is held.
pub struct Held<T> {
    memory: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _visit: Visit<T>,
}

/// A room's entry, for as long as this is held.
struct Visit<T> {
    rooms: Arc<Rooms<T>>,
    place: Place,
    room: Arc<Room<T>>,
}

/// A request for a shared reading. When the last request leaves, the last reading is dropped.
struct Asking<T>(Visit<T>);

impl<T> Readings<T> {
    /// Whether a long reading of this room is in progress.
    pub fn are_going_on(&self, place: &Place) -> bool {
        self.rooms.lock().get(place).is_some_and(|room| {
            room.asking.load(SeqCst) > 0 || room.turns.available_permits() < IN_ROOM
        })
    }

    /// A turn to find out how long a room's tail is.
    ///
    /// # Errors
    /// None while the process lives; the deadline of the request ends the wait.
    pub async fn peek(&self, place: &Place) -> Result<Peek<T>> {
        let visit = self.visit(place);
        Ok(Peek {
            _turn: visit.room.peeks.clone().acquire_owned().await?,
            _visit: visit,
        })
    }

    /// A reading of a room's log above a position, its own or a shared one. It began after this
    /// call, so it has everything that was acknowledged before. It may continue from the previous
    /// one, if that is still held and reached as far down.
    ///
    /// # Errors
    /// Those of the reading.
    pub async fn share(
        &self,
        place: &Place,
        above: Position,
        read: impl AsyncFnOnce(Position, Held<T>, Option<Arc<T>>) -> Result<T>,
    ) -> Result<Arc<T>> {
        let asked = Instant::now();
        let asking = Asking::new(self.visit(place));
        let room = &asking.0.room;
        room.want(above);
        let mut last = room.last.lock().await;
        if let Some(reading) = &*last
            && reading.began > asked
            && reading.above <= above
        {
            return reading.answer();
        }
        // The last reading answers no further request.
        let mut former = last.take();
        let held = match self.at_once(place) {
            Some(held) => held,
            None => {
                // A waiting request holds no memory; its deadline ends the wait.
                former = None;
                self.alone(place).await?
            }
        };
        let began = Instant::now();
        // Covers every request that waits by now.
        let above = room.wanted().map_or(above, |wanted| wanted.min(above));
        let former = former.filter(|former| former.above <= above);
        let former = former.and_then(|former| former.answer.ok());
        let answer = read(above, held, former).await;
        let reading = Reading {
            began,
            above,
            answer: answer.map(Arc::new).map_err(Arc::new),
        };
        let answer = reading.answer();
        *last = Some(reading);
        answer
    }

    /// A turn and memory for a reading that nobody else can use.
    ///
    /// # Errors
    /// None while the process lives; the deadline of the request ends the wait.
    pub async fn alone(&self, place: &Place) -> Result<Held<T>> {
        let visit = self.visit(place);
        Ok(Held {
            _turn: visit.room.turns.clone().acquire_owned().await?,
            memory: self.memory.clone().acquire_many_owned(READING_MIB).await?,
            _visit: visit,
        })
    }

    /// The same without waiting: `None` if a turn or memory is not free.
    fn at_once(&self, place: &Place) -> Option<Held<T>> {
        let visit = self.visit(place);
        let (turns, memory) = (visit.room.turns.clone(), self.memory.clone());
        Some(Held {
            _turn: turns.try_acquire_owned().ok()?,
            memory: memory.try_acquire_many_owned(READING_MIB).ok()?,
            _visit: visit,
        })
    }

    fn visit(&self, place: &Place) -> Visit<T> {
        let mut rooms = self.rooms.lock();
        let room = rooms.entry(place.clone()).or_default().clone();
        room.visits.fetch_add(1, SeqCst);
        Visit {
            rooms: self.rooms.clone(),
            place: place.clone(),
            room,
        }
    }
}

impl<T> Held<T> {
    /// Gives back the memory that `bytes` do not need.
    #[must_use]
    pub fn shrunk_to(mut self, bytes: usize) -> Self {
        let surplus = self
            .memory
            .num_permits()
            .saturating_sub(bytes.div_ceil(MIB));
        drop(self.memory.split(surplus));
        self
    }
}

impl<T> Room<T> {
    fn want(&self, above: Position) {
        let mut wanted = self.wanted.lock();
        *wanted = Some(wanted.map_or(above, |wanted| wanted.min(above)));
    }

    fn wanted(&self) -> Option<Position> {
        self.wanted.lock().take()
    }
}

impl<T> Reading<T> {
    fn answer(&self) -> Result<Arc<T>> {
        match &self.answer {
            Ok(read) => Ok(read.clone()),
            Err(error) => Err(Error::new(error.kind(), error.to_string())),
        }
    }
}

impl<T> Asking<T> {
    fn new(visit: Visit<T>) -> Self {
        visit.room.asking.fetch_add(1, SeqCst);
        Self(visit)
    }
}

impl<T> Drop for Asking<T> {
    fn drop(&mut self) {
        let Visit { room, .. } = &self.0;
        if room.asking.fetch_sub(1, SeqCst) == 1
            && let Ok(mut last) = room.last.try_lock()
        {
            *last = None;
        }
    }
}

impl<T> Drop for Visit<T> {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        if self.room.visits.fetch_sub(1, SeqCst) == 1 {
            rooms.remove(&self.place);
        }
    }
}

impl<T> Clone for Readings<T> {
    fn clone(&self) -> Self {
        Self {
            rooms: self.rooms.clone(),
            memory: self.memory.clone(),
        }
    }
}

impl<T> Default for Readings<T> {
    fn default() -> Self {
        Self {
            rooms: Arc::default(),
            memory: Arc::new(Semaphore::new(ALL_MIB as usize)),
        }
    }
}

impl<T> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.memory).finish()
    }
}

impl<T> Default for Room<T> {
    fn default() -> Self {
        Self {
            visits: AtomicUsize::new(0),
            asking: AtomicUsize::new(0),
            last: tokio::sync::Mutex::default(),
            wanted: Mutex::default(),
            turns: Arc::new(Semaphore::new(IN_ROOM)),
            peeks: Arc::new(Semaphore::new(PEEKS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicI64;

    use futures_util::future::join_all;
    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    /// What a reading saw: from where on, and the log's end when it began.
    struct Read {
        above: Position,
        end: i64,
        _held: Held<Read>,
    }

    impl Read {
        fn new(above: Position, end: i64, held: Held<Self>) -> Self {
            Self {
                above,
                end,
                _held: held,
            }
        }

        fn seen(&self) -> (Position, i64) {
            (self.above, self.end)
        }
    }

    fn place(room: &str) -> Place {
        Place::of(&format!("chat.history.{room}")).unwrap()
    }

    fn above(seq: i64) -> Position {
        Position { epoch: 1, seq }
    }

    #[tokio::test]
    async fn requests_share_a_reading_only_if_it_began_after_they_came() {
        let readings = Readings::<Read>::default();
        let (log, begun) = (AtomicI64::new(1), AtomicI64::new(0));
        let (go, wait) = oneshot::channel::<()>();
        let general = place("general");
        let first = readings.share(&general, above(9), async |from, held, _| {
            begun.fetch_add(1, SeqCst);
            let end = log.load(SeqCst);
            wait.await.unwrap();
            Ok(Read::new(from, end, held))
        });
        let others = async {
            // The first one reads by now, and sees nothing of what is acknowledged here.
            log.store(2, SeqCst);
            let others = (0..100).map(|seq| {
                readings.share(&general, above(seq), async |from, held, _| {
                    begun.fetch_add(1, SeqCst);
                    Ok(Read::new(from, log.load(SeqCst), held))
                })
            });
            let all = join_all(others);
            tokio::pin!(all);
            assert!(poll!(&mut all).is_pending());
            go.send(()).unwrap();
            all.await
        };

        let (first, others) = tokio::join!(first, others);

        assert_eq!(first.unwrap().seen(), (above(9), 1));
        for other in others {
            assert_eq!(
                other.unwrap().seen(),
                (above(0), 2),
                "as far down as any needs"
            );
        }
        assert_eq!(begun.load(SeqCst), 2);
        assert!(!readings.are_going_on(&general));
    }

    #[tokio::test]
    async fn reading_continues_from_the_previous_one_if_that_reached_as_far_down() {
        let readings = Readings::<Read>::default();
        let general = place("general");
        let go = Semaphore::new(0);
        let end = async |seq: i64| {
            let read = async |from, held, former: Option<Arc<Read>>| {
                go.acquire().await.unwrap().forget();
                let former = former.map_or(0, |former| former.end);
                Ok(Read::new(from, former + 1, held))
            };
            let read = readings.share(&general, above(seq), read).await;
            read.unwrap().end
        };
        let ends = async |[one, two, three]: [i64; 3]| {
            let (mut one, mut two) = (pin!(end(one)), pin!(end(two)));
            let mut three = pin!(end(three));
            assert!(poll!(&mut one).is_pending(), "it reads");
            assert!(poll!(&mut two).is_pending(), "it waits");
            go.add_permits(1);
            let one = one.await;
            assert!(poll!(&mut two).is_pending(), "it reads");
            assert!(poll!(&mut three).is_pending(), "it waits");
            go.add_permits(1);
            let two = two.await;
            go.add_permits(1);
            (one, two, three.await)
        };

        assert_eq!(ends([5, 5, 7]).await, (1, 2, 3));
        assert_eq!(ends([5, 4, 4]).await, (1, 1, 2), "the second needs more");
        assert!(!readings.are_going_on(&general));
    }

    #[tokio::test]
    async fn cancelled_reading_gives_its_turn_to_the_next() {
        let readings = Readings::<Read>::default();
        let general = place("general");
        {
            let stuck = readings.share(&general, above(0), async |from, held, _| {
                std::future::pending::<()>().await;
                Ok(Read::new(from, 0, held))
            });
            tokio::pin!(stuck);
            assert!(poll!(&mut stuck).is_pending());
            assert!(readings.are_going_on(&general));
        }
        assert!(!readings.are_going_on(&general));
        readings
            .share(&general, above(0), async |from, held, _| {
                Ok(Read::new(from, 0, held))
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn failed_reading_fails_every_request_that_waits_for_it() {
        let readings = Readings::<Read>::default();
        let general = place("general");
        let begun = AtomicI64::new(0);
        let all = join_all((0..20).map(|_| {
            readings.share(&general, above(0), async |_, _, _| {
                begun.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
                Err(Error::unavailable("away"))
            })
        }));
        for answer in all.await {
            assert_eq!(answer.err().unwrap().kind(), natsfn::Kind::Unavailable);
        }
        assert!(begun.load(SeqCst) <= 2, "{begun:?}");
    }

    #[tokio::test]
    async fn room_at_its_limit_leaves_memory_for_others() {
        let readings = Readings::<Read>::default();
        let (long, other) = (place("long"), place("other"));
        let hold = |place| {
            readings.share(place, above(0), async |from, held, _| {
                Ok(Read::new(from, 0, held))
            })
        };
        let held = [hold(&long).await.unwrap(), hold(&long).await.unwrap()];
        let third = hold(&long);
        tokio::pin!(third);
        assert!(poll!(&mut third).is_pending());
        hold(&other).await.unwrap();
        drop(held);
        third.await.unwrap();
        assert!(!readings.are_going_on(&long), "nothing is held any more");
        assert_eq!(readings.memory.available_permits(), ALL_MIB as usize);
    }

    #[test]
    fn rooms_that_are_left_by_two_at_once_are_forgotten() {
        let readings = Readings::<Read>::default();
        let places: Vec<Place> = (0..20_000).map(|n| place(&n.to_string())).collect();
        let meet = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for place in &places {
                        let visit = readings.visit(place);
                        meet.wait();
                        drop(visit);
                    }
                });
            }
        });
        assert_eq!(readings.rooms.lock().len(), 0);
    }
}

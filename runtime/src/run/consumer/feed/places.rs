//! The places in the function that the messages of each key have, and who waits for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How many messages of one key wait in an instance.
const WAITING: usize = 1000;

/// How many bytes all that wait may have, those of one key, and what one has beside its own.
const BYTES: usize = 16 << 20;
const BYTES_OF_KEY: usize = BYTES / 8;
const OVERHEAD: usize = 512;

/// How many seconds a place of a key is held, where that is not known yet. What is given back comes again one after the
/// other, as often as there would be a place for it, where they are held for longer 20 a second for each place: a key
/// that hangs may be back at any moment.
const HELD: f64 = 0.05;

/// The most seconds that what is given back waits for those that wait here.
const LONGEST: f64 = 60.0;

/// The places of all keys of one feed. A key that nobody uses takes no memory.
pub(super) struct Places {
    most: usize,
    room: Arc<Semaphore>,
    keys: Keys,
}

type Keys = Arc<Mutex<HashMap<String, OfKey>>>;

struct OfKey {
    places: Arc<Semaphore>,
    /// For the bytes of those that wait.
    room: Arc<Semaphore>,
    /// Messages that have a place or wait for one.
    messages: usize,
    /// For how many seconds a place was held lately, in the mean.
    held: Option<f64>,
    /// When one was freed last.
    freed: Instant,
    /// When the last message that was given back comes again.
    again: Instant,
}

/// Whether a message may run.
pub(super) enum Admission {
    Now(Place),
    Later(Waiting),
    /// It is given back, and comes again after this time.
    Again(Duration),
}

/// A place, until this is dropped. The permit goes first: then the key may be forgotten.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    message: OfMessage,
    since: Instant,
}

/// Waits for a place.
pub(super) struct Waiting {
    places: Arc<Semaphore>,
    message: OfMessage,
    _room: [OwnedSemaphorePermit; 2],
}

struct OfMessage {
    key: String,
    keys: Keys,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.min(Semaphore::MAX_PERMITS),
            room: Arc::new(Semaphore::new(BYTES)),
            keys: Keys::default(),
        }
    }

    /// Decides on a message of this key, with so many bytes.
    pub(super) fn admit(&self, key: String, bytes: usize) -> Admission {
        let mut keys = self.keys.lock();
        let of_key = keys.entry(key.clone()).or_insert_with(|| OfKey {
            places: Arc::new(Semaphore::new(self.most)),
            room: Arc::new(Semaphore::new(BYTES_OF_KEY)),
            messages: 0,
            held: None,
            freed: Instant::now(),
            again: Instant::now(),
        });
        let places = of_key.places.clone();
        let message = |of_key: &mut OfKey| {
            of_key.messages += 1;
            let keys = self.keys.clone();
            OfMessage { key, keys }
        };
        if let Ok(permit) = places.clone().try_acquire_owned() {
            return Admission::Now(Place::new(permit, message(of_key)));
        }
        // A very large one may wait too, beside a few others.
        let bytes = (bytes + OVERHEAD).min(BYTES_OF_KEY / 4);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if of_key.messages < self.most.saturating_add(WAITING)
            && let Ok(own) = of_key.room.clone().try_acquire_many_owned(bytes)
            && let Ok(of_all) = self.room.clone().try_acquire_many_owned(bytes)
        {
            return Admission::Later(Waiting {
                places,
                message: message(of_key),
                _room: [own, of_all],
            });
        }
        let now = Instant::now();
        // Where all hang by now, the mean of those before says nothing.
        let hang = (now - of_key.freed).as_secs_f64();
        let held = of_key.held.unwrap_or(HELD).max(hang);
        let waiting = of_key.messages.saturating_sub(self.most);
        let before = waiting as f64 * held / self.most as f64;
        let seconds = Duration::from_secs_f64;
        let first = now + seconds(before.clamp(1.0, LONGEST));
        of_key.again = of_key.again.max(first) + seconds(held.min(HELD) / self.most as f64);
        Admission::Again(of_key.again - now)
    }
}

impl Waiting {
    /// Waits; none where the feed has ended.
    pub(super) async fn place(self) -> Option<Place> {
        let permit = self.places.acquire_owned().await.ok()?;
        Some(Place::new(permit, self.message))
    }
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, message: OfMessage) -> Self {
        Self {
            _permit: permit,
            message,
            since: Instant::now(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let held = self.since.elapsed().as_secs_f64();
        let mean = |before: f64| before + (held - before) / 8.0;
        if let Some(of_key) = self.message.keys.lock().get_mut(&self.message.key) {
            of_key.held = Some(of_key.held.map_or(held, mean));
            of_key.freed = Instant::now();
        }
    }
}

impl Drop for OfMessage {
    fn drop(&mut self) {
        let mut keys = self.keys.lock();
        if let Some(of_key) = keys.get_mut(&self.key) {
            of_key.messages -= 1;
            if of_key.messages == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_now(admission: &Admission) -> bool {
        matches!(admission, Admission::Now(_))
    }

    fn again(admission: &Admission) -> f64 {
        match admission {
            Admission::Again(delay) => delay.as_secs_f64(),
            _ => panic!("it is not given back"),
        }
    }

    #[tokio::test]
    async fn who_waits_has_the_next_place_and_nobody_takes_memory_afterwards() {
        let places = Places::new(1);
        let first = places.admit("a".into(), 0);
        assert!(is_now(&first));
        let Admission::Later(second) = places.admit("a".into(), 0) else {
            panic!("it does not wait");
        };
        assert!(is_now(&places.admit("b".into(), 0)));
        drop(first);
        let second = second.place().await.unwrap();
        assert!(!is_now(&places.admit("a".into(), 0)));
        drop(second);
        assert!(is_now(&places.admit("a".into(), 0)));
        assert!(places.keys.lock().is_empty());
        assert_eq!(places.room.available_permits(), BYTES);
    }

    /// The key `a` with all that may have a place or wait.
    fn full(places: &Places) -> Vec<Admission> {
        let all = (0..places.most + WAITING).map(|_| places.admit("a".into(), 0));
        let all: Vec<_> = all.collect();
        assert!(!matches!(all.last(), Some(Admission::Again(_))));
        all
    }

    /// How long the next thousand of it are away.
    fn delays(places: &Places) -> Vec<f64> {
        let next = (0..1000).map(|_| again(&places.admit("a".into(), 0)));
        next.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_not_wait_comes_again_one_after_the_other_behind_those_that_wait() {
        let places = Places::new(2);
        let _held = full(&places);
        let delays = delays(&places);
        // It is not known how long each takes: forty a second.
        assert!((25.0..25.1).contains(&delays[0]), "{delays:?}");
        assert!((49.9..50.1).contains(&delays[999]), "{delays:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn key_whose_messages_are_quick_is_not_kept_from_its_places() {
        let places = Places::new(1);
        let mut held = full(&places);
        // Each takes 5 ms.
        tokio::time::advance(Duration::from_millis(5)).await;
        held.remove(0);
        held.push(places.admit("a".into(), 0));
        let delays = delays(&places);
        assert!((4.9..5.1).contains(&delays[0]), "{delays:?}");
        assert!((9.9..10.1).contains(&delays[999]), "{delays:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn key_that_was_quick_and_hangs_is_not_asked_for_all_the_time() {
        let places = Places::new(1);
        drop(places.admit("a".into(), 0));
        let held = full(&places);
        tokio::time::advance(Duration::from_secs(1)).await;
        let delay = again(&places.admit("a".into(), 0));
        assert!(delay >= LONGEST, "{delay}");
        drop(held);
    }

    #[tokio::test]
    async fn large_messages_of_a_key_leave_room_for_those_of_others() {
        let places = Places::new(1);
        let mut held = Vec::new();
        for key in ["a", "b"] {
            held.push(places.admit(key.into(), 8 << 20));
            for _ in 0..4 {
                let waits = places.admit(key.into(), 8 << 20);
                assert!(matches!(waits, Admission::Later(_)));
                held.push(waits);
            }
            again(&places.admit(key.into(), 8 << 20));
        }
    }
}

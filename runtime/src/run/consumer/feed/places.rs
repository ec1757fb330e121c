//! The places in the function that the messages of each key have, and who waits for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How many messages of one key wait in an instance.
const WAITING: usize = 1000;

/// How many bytes all that wait may have, and what one has beside its payload.
const BYTES: usize = 16 << 20;
const OVERHEAD: usize = 1024;

/// How often a second, for each place of a key, a message comes again that may not even wait. Often enough that
/// its key is never idle, and no more where many are given back.
const AGAIN: f64 = 20.0;

/// The places of all keys of one feed. A key that nobody uses takes no memory.
pub(super) struct Places {
    most: usize,
    room: Arc<Semaphore>,
    keys: Keys,
}

type Keys = Arc<Mutex<HashMap<String, OfKey>>>;

struct OfKey {
    places: Arc<Semaphore>,
    /// Messages that have a place or wait for one.
    messages: usize,
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
    _message: OfMessage,
}

/// Waits for a place behind those that came before.
pub(super) struct Waiting {
    places: Arc<Semaphore>,
    message: OfMessage,
    _room: OwnedSemaphorePermit,
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

    /// Decides on a message of this key, with a payload of so many bytes.
    pub(super) fn admit(&self, key: String, bytes: usize) -> Admission {
        let mut keys = self.keys.lock();
        let of_key = keys.entry(key.clone()).or_insert_with(|| OfKey {
            places: Arc::new(Semaphore::new(self.most)),
            messages: 0,
            again: Instant::now(),
        });
        let places = of_key.places.clone();
        let message = |of_key: &mut OfKey| {
            of_key.messages += 1;
            let keys = self.keys.clone();
            OfMessage { key, keys }
        };
        if let Ok(permit) = places.clone().try_acquire_owned() {
            return Admission::Now(Place {
                _permit: permit,
                _message: message(of_key),
            });
        }
        let bytes = u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX);
        if of_key.messages < self.most.saturating_add(WAITING)
            && let Ok(room) = self.room.clone().try_acquire_many_owned(bytes)
        {
            return Admission::Later(Waiting {
                places,
                message: message(of_key),
                _room: room,
            });
        }
        let now = Instant::now();
        let step = Duration::from_secs_f64(1.0 / (AGAIN * self.most as f64));
        of_key.again = of_key.again.max(now + Duration::from_secs(1)) + step;
        Admission::Again(of_key.again - now)
    }
}

impl Waiting {
    /// Waits; none where the feed has ended.
    pub(super) async fn place(self) -> Option<Place> {
        let permit = self.places.acquire_owned().await.ok()?;
        Some(Place {
            _permit: permit,
            _message: self.message,
        })
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

    #[tokio::test(start_paused = true)]
    async fn what_may_not_wait_comes_again_one_after_the_other() {
        let places = Places::new(2);
        let held: Vec<_> = (0..WAITING + 2)
            .map(|_| places.admit("a".into(), 0))
            .collect();
        let delays: Vec<_> = (0..1000)
            .map(|_| again(&places.admit("a".into(), 0)))
            .collect();
        // Forty a second, behind the first second.
        assert!((1.0..1.1).contains(&delays[0]), "{delays:?}");
        assert!((25.9..26.1).contains(&delays[999]), "{delays:?}");
        drop(held);
    }

    #[tokio::test]
    async fn large_messages_leave_no_room_for_more() {
        let places = Places::new(1);
        let mut held = vec![places.admit("a".into(), 1 << 20)];
        held.extend((0..15).map(|_| places.admit("a".into(), 1 << 20)));
        let delay = again(&places.admit("a".into(), 1 << 20));
        assert!(delay > 0.9, "{delay}");
        assert!(is_now(&places.admit("b".into(), 1 << 20)));
    }
}

//! A reading that those who ask at once share.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::error::Result;

/// How long a request waits for others' readings: one whose answer is lost takes seconds to fail.
const PATIENCE: Duration = Duration::from_millis(500);

/// Readings of different things, each shared by requests that asked before it began: it is as fresh
/// as one of their own (group commit, for reads). Usually one reading of a thing at a time is in progress;
/// those who ask meanwhile share the next.
pub(super) struct SharedReads<K: Eq + Hash, T>(Arc<Readings<K, T>>);

/// The things that are being read.
type Readings<K, T> = Mutex<HashMap<K, Asked<K, T>>>;

/// Who asks for a thing while it is being read.
struct Asked<K: Eq + Hash, T> {
    /// How many have asked: the number of the next one.
    count: u64,
    /// In the order of their numbers.
    waiting: Vec<(u64, oneshot::Sender<Turn<K, T>>)>,
    /// How many readings are in progress.
    readings: usize,
    /// When the last of them began.
    began: Instant,
}

/// What one who waits gets.
enum Turn<K: Eq + Hash, T> {
    Answer(Result<T>),
    Read(Reading<K, T>),
}

/// The turn to read. It passes to another one when this is dropped, however it ended.
struct Reading<K: Eq + Hash, T> {
    of: Arc<Readings<K, T>>,
    key: Option<K>,
}

impl<K: Eq + Hash + Clone, T: Clone> SharedReads<K, T> {
    /// The result of `read`, or of another request's that began after this call. Where readings last long, another
    /// one begins each [`PATIENCE`], for all who wait: one for each of them would be too much for what is slow.
    ///
    /// # Errors
    /// Those of the reading; all who share it get the same.
    pub(super) async fn read(&self, key: &K, read: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let reading = match self.ask(key) {
            Ok(reading) => reading,
            Err(mut turn) => loop {
                match timeout(PATIENCE, &mut turn).await {
                    Ok(Ok(Turn::Answer(answer))) => return answer,
                    Ok(Ok(Turn::Read(reading))) => break reading,
                    Ok(Err(_)) => return read().await,
                    Err(_) => {
                        if let Some(reading) = self.overtake(key) {
                            break reading;
                        }
                    }
                }
            },
        };
        let sharing = reading.begin();
        let answer = read().await;
        for one in reading.take(sharing) {
            // It may have been cancelled.
            let _ = one.send(Turn::Answer(copy(&answer)));
        }
        answer
    }

    /// The turn, or a place in the queue while another one reads.
    fn ask(&self, key: &K) -> Result<Reading<K, T>, oneshot::Receiver<Turn<K, T>>> {
        let mut readings = self.0.lock();
        if let Some(asked) = readings.get_mut(key) {
            let (sender, turn) = oneshot::channel();
            asked.waiting.push((asked.count, sender));
            asked.count += 1;
            return Err(turn);
        }
        let first = Asked {
            count: 0,
            waiting: Vec::new(),
            readings: 1,
            began: Instant::now(),
        };
        readings.insert(key.clone(), first);
        Ok(self.reading(key))
    }

    /// One more turn, where no reading has begun for long.
    fn overtake(&self, key: &K) -> Option<Reading<K, T>> {
        let mut readings = self.0.lock();
        let asked = readings.get_mut(key)?;
        if asked.began.elapsed() < PATIENCE {
            return None;
        }
        asked.readings += 1;
        asked.began = Instant::now();
        Some(self.reading(key))
    }

    fn reading(&self, key: &K) -> Reading<K, T> {
        Reading {
            of: self.0.clone(),
            key: Some(key.clone()),
        }
    }
}

impl<K: Eq + Hash, T> Reading<K, T> {
    /// Begins. Those whose number is lower than this have asked by now, and share it.
    fn begin(&self) -> u64 {
        let mut readings = self.of.lock();
        let asked = self.key.as_ref().and_then(|key| readings.get_mut(key));
        asked.map_or(0, |asked| {
            asked.began = Instant::now();
            asked.count
        })
    }

    /// Those who wait and have a lower number.
    fn take(&self, below: u64) -> Vec<oneshot::Sender<Turn<K, T>>> {
        let mut readings = self.of.lock();
        let asked = self.key.as_ref().and_then(|key| readings.get_mut(key));
        let Some(asked) = asked else {
            return Vec::new();
        };
        let sharing = asked.waiting.partition_point(|(n, _)| *n < below);
        let sharing = asked.waiting.drain(..sharing);
        sharing.map(|(_, one)| one).collect()
    }
}

impl<K: Eq + Hash, T> Drop for Reading<K, T> {
    fn drop(&mut self) {
        loop {
            let mut readings = self.of.lock();
            let Some(key) = self.key.take() else { return };
            let Some(asked) = readings.get_mut(&key) else {
                return;
            };
            // Another one answers those who wait, or passes its turn on.
            if asked.readings > 1 {
                asked.readings -= 1;
                return;
            }
            let Some((_, next)) = asked.waiting.pop() else {
                readings.remove(&key);
                return;
            };
            drop(readings);
            let reading = Self {
                of: self.of.clone(),
                key: Some(key),
            };
            // If it is cancelled, it returns the turn, for the next one.
            if let Err(Turn::Read(mut reading)) = next.send(Turn::Read(reading)) {
                self.key = reading.key.take();
            } else {
                return;
            }
        }
    }
}

impl<K: Eq + Hash, T> Default for SharedReads<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

fn copy<T: Clone>(answer: &Result<T>) -> Result<T> {
    match answer {
        Ok(read) => Ok(read.clone()),
        Err(error) => Err(error.copy()),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::SeqCst;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use serde_json::json;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::error::{Error, Kind};

    /// A log that grows, and readings of it that end when they may.
    struct World {
        shared: SharedReads<u8, u64>,
        log: AtomicU64,
        readings: AtomicU64,
        may_end: Semaphore,
    }

    impl World {
        fn new() -> Self {
            Self {
                shared: SharedReads::default(),
                log: AtomicU64::new(0),
                readings: AtomicU64::new(0),
                may_end: Semaphore::new(0),
            }
        }

        async fn ask(&self, what: u8) -> Result<u64> {
            let read = async || {
                self.readings.fetch_add(1, SeqCst);
                let seen = self.log.load(SeqCst);
                self.may_end.acquire().await.unwrap().forget();
                Ok(seen)
            };
            self.shared.read(&what, read).await
        }

        fn is_at_rest(&self) -> bool {
            self.shared.0.lock().is_empty()
        }
    }

    #[tokio::test]
    async fn requests_share_a_reading_only_if_it_began_after_they_asked() {
        let world = World::new();
        let mut first = pin!(world.ask(1));
        assert!(first.as_mut().now_or_never().is_none(), "it reads");
        world.log.store(1, SeqCst);
        let mut others = pin!(join_all((0..100).map(|_| world.ask(1))));
        assert!(others.as_mut().now_or_never().is_none(), "they wait");

        world.may_end.add_permits(1);
        assert_eq!(first.await.unwrap(), 0);
        world.may_end.add_permits(1);
        let others = others.await;

        assert!(others.into_iter().all(|seen| seen.unwrap() == 1));
        assert_eq!(world.readings.load(SeqCst), 2);
        assert!(world.is_at_rest());
    }

    #[tokio::test]
    async fn readings_of_different_things_wait_for_no_other() {
        let world = World::new();
        let mut one = pin!(world.ask(1));
        let mut two = pin!(world.ask(2));
        assert!(one.as_mut().now_or_never().is_none());
        assert!(two.as_mut().now_or_never().is_none());
        assert_eq!(world.readings.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn cancelled_reading_passes_its_turn_on() {
        let world = World::new();
        let mut waiting = Vec::new();
        for _ in 0..5 {
            let mut one = Box::pin(world.ask(1));
            assert!(one.as_mut().now_or_never().is_none());
            waiting.push(one);
        }
        // One that waits, the one that reads, and then the one that was given the turn.
        drop(waiting.remove(2));
        drop(waiting.remove(0));
        drop(waiting.pop());
        world.may_end.add_permits(9);

        assert!(join_all(waiting).await.into_iter().all(|it| it.is_ok()));
        assert!(world.is_at_rest());
        // All of them at once.
        let mut all = Box::pin(join_all((0..3).map(|_| world.ask(2))));
        world.may_end.forget_permits(9);
        assert!(all.as_mut().now_or_never().is_none());
        drop(all);
        assert!(world.is_at_rest());
    }

    #[tokio::test]
    async fn failed_reading_fails_all_who_share_it_and_no_later_one() {
        let shared = SharedReads::<(), u64>::default();
        let ask = || {
            shared.read(&(), async || {
                tokio::task::yield_now().await;
                Err(Error::unavailable("away").with_details(json!({ "until": 7 })))
            })
        };
        for answer in join_all((0..20).map(|_| ask())).await {
            let error = answer.unwrap_err();
            assert_eq!((error.kind(), error.message()), (Kind::Unavailable, "away"));
            assert_eq!(error.details(), Some(&json!({ "until": 7 })));
        }
        assert_eq!(shared.read(&(), async || Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_readings_are_few_however_many_ask() {
        let world = World::new();
        let ask = async |after: u32| {
            tokio::time::sleep(PATIENCE / 10 * after).await;
            let before = world.readings.load(SeqCst);
            let read = async || {
                let reading = world.readings.fetch_add(1, SeqCst) + 1;
                tokio::time::sleep(3 * PATIENCE).await;
                Ok(reading)
            };
            world.shared.read(&1, read).await.unwrap() > before
        };
        let began = Instant::now();
        let all = join_all((0..100).map(|n| ask(n % 20))).await;

        assert!(all.into_iter().all(|began_later| began_later));
        let readings = world.readings.load(SeqCst);
        assert!(readings <= 8, "{readings}");
        assert!(began.elapsed() <= 8 * PATIENCE, "{:?}", began.elapsed());
        assert!(world.is_at_rest());
    }

    #[tokio::test(start_paused = true)]
    async fn reading_whose_answer_is_lost_keeps_nobody_waiting_for_long() {
        let world = World::new();
        let mut lost = pin!(world.ask(1));
        assert!(lost.as_mut().now_or_never().is_none(), "it reads");
        world.log.store(1, SeqCst);
        let read = async || {
            world.readings.fetch_add(1, SeqCst);
            Ok(world.log.load(SeqCst))
        };
        let others = join_all((0..100).map(|_| world.shared.read(&1, &read))).await;

        assert!(others.into_iter().all(|seen| seen.unwrap() == 1));
        assert_eq!(world.readings.load(SeqCst), 2);
        world.may_end.add_permits(1);
        assert_eq!(lost.await.unwrap(), 0);
        assert!(world.is_at_rest());
    }
}

//! From how many messages on a batch is stored sooner than the same messages one by one.
//!
//! That depends on the server and its disk: with `sync_interval: always` each message waits for a sync and a batch
//! for a few; otherwise a message waits for none and a batch does all the same. So it is measured.

use std::time::Duration;

use super::batch::LARGEST;

/// Fewer are published one by one, whatever was measured: that is what few callers are used to.
const FEWEST: f64 = 16.0;
const MOST: f64 = 4000.0;

/// The most messages of a batch until one of so many has paid.
const FIRST: usize = 128;

/// Where fewer are on their way, the time of an answer is that of the network.
const SEVERAL: usize = 8;

/// After so many plain publishes for each message of a batch that did not pay, a smaller one is tried; twice as
/// many after each failure.
const PATIENCE: f64 = 64.0;
const LONGEST_PATIENCE: f64 = 4096.0;

pub(super) struct Pace {
    /// What one plain publish among several takes of the server's time, in seconds.
    plain: Option<f64>,
    least: f64,
    most: usize,
    patience: f64,
    /// Plain publishes until a smaller batch is tried.
    rest: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            plain: None,
            least: FEWEST,
            most: FIRST,
            patience: PATIENCE,
            rest: 0.0,
        }
    }
}

impl Pace {
    /// Whether so many messages are better published as a batch.
    pub(super) fn pays(&self, messages: usize) -> bool {
        messages as f64 >= self.least
    }

    /// How many messages a batch may have: where batches do not pay, a trial delays few.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A plain publish was answered that was one of so many on their way.
    pub(super) fn plain(&mut self, took: Duration, among: usize) {
        if among >= SEVERAL {
            let each = took.as_secs_f64() / among as f64;
            let plain = self.plain.get_or_insert(each);
            *plain += (each - *plain) / 16.0;
        }
        self.rest -= 1.0;
        if self.rest <= 0.0 && self.least > FEWEST {
            self.least = (self.least / 2.0).max(FEWEST);
            self.rest = self.patience * self.least;
        }
    }

    /// A batch was stored.
    pub(super) fn batch(&mut self, took: Duration, messages: usize) {
        if let Some(plain) = self.plain {
            self.cost(took.as_secs_f64() / plain, messages);
        }
    }

    /// A batch was refused, and each message had to be published all the same.
    pub(super) fn refused(&mut self, messages: usize) {
        self.cost(2.0 * messages as f64, messages);
    }

    /// A batch took as long as so many plain publishes.
    fn cost(&mut self, plain: f64, messages: usize) {
        let messages = messages as f64;
        // One that the disk held up tells little; those that it did not may have gone the same way.
        let cost = plain.min(3.0 * messages);
        if cost <= messages {
            self.patience = PATIENCE;
            if messages >= self.most as f64 {
                self.most = (2 * self.most).min(LARGEST);
            }
        } else {
            self.patience = (2.0 * self.patience).min(LONGEST_PATIENCE);
            self.most = (self.most / 2).max(FIRST);
        }
        self.least = (self.least + (cost - self.least) / 4.0).clamp(FEWEST, MOST);
        self.rest = self.patience * self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// Of rounds with so many callers, how many were batches, where one message and one batch take so long.
    fn batches(rounds: usize, callers: usize, message: u32, batch: impl Fn(u32) -> u32) -> usize {
        let mut pace = Pace::default();
        (1..=16).for_each(|n| pace.plain(MICROSECOND * message * n as u32, n));
        let mut batches = 0;
        for _ in 0..rounds {
            let n = callers.min(pace.most());
            if pace.pays(n) {
                pace.batch(MICROSECOND * batch(n as u32), n);
                batches += 1;
            } else {
                (1..=callers).for_each(|n| pace.plain(MICROSECOND * message * n as u32, n));
            }
        }
        batches
    }

    #[test]
    fn where_each_message_is_synced_many_go_in_batches_and_few_do_not() {
        let synced = |n: u32| 2000 + 10 * n;
        let mut pace = Pace::default();
        (1..=16).for_each(|n| pace.plain(MICROSECOND * 130 * n, n as usize));
        for _ in 0..100 {
            assert!(pace.pays(240));
            pace.batch(MICROSECOND * synced(240), 240);
        }
        assert!(!pace.pays(15));
        // The disk stands still for a second.
        pace.batch(Duration::from_secs(1), 240);
        assert!(pace.pays(240));
    }

    #[test]
    fn where_no_message_waits_for_a_sync_a_batch_is_tried_ever_less() {
        let tried = batches(10_000, 256, 10, |n| 4000 + 100 * n);
        assert!((1..20).contains(&tried), "{tried}");
    }
}

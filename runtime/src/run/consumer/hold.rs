//! Why a function holds: shown in its state while it lasts, and logged when it begins, once a minute, and
//! when it has ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::Error;
use crate::telemetry::stats::{State, Stats};

/// How often a hold that lasts is logged.
const REPEAT: Duration = Duration::from_secs(60);

/// A hold that begins again within this time has not ended: a full disk lets one commit in twenty through.
const QUIET: Duration = Duration::from_secs(5);

/// Why a function holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The function says that something is away ([`crate::Kind::Unavailable`]).
    Dependency,
    /// The stream or its consumer cannot be asked, or is another's.
    Consumer,
    /// Messages that are given up cannot be kept.
    DeadLetters,
    /// No message succeeds.
    NoSuccess,
}

const CAUSES: [Cause; 4] = [
    Cause::Dependency,
    Cause::Consumer,
    Cause::DeadLetters,
    Cause::NoSuccess,
];

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dependency => "a dependency is down",
            Self::Consumer => "the consumer cannot be used",
            Self::DeadLetters => "dead letters cannot be written",
            Self::NoSuccess => "no message succeeds",
        })
    }
}

/// The holds of one consumer in this instance.
pub(crate) struct Holds {
    consumer: String,
    stats: Arc<Stats>,
    /// Wakes the reader.
    wake: Arc<Notify>,
    all: Mutex<All>,
    /// Wakes those that wait for a dependency, once it is back for one of them.
    back: Notify,
}

#[derive(Default)]
struct All {
    /// The consumer has been found once.
    found: bool,
    by_cause: [Option<Hold>; CAUSES.len()],
}

struct Hold {
    /// How many hold for this; none once it has ended.
    holders: usize,
    error: String,
    tries: u64,
    began: Instant,
    told: Instant,
    ended: Instant,
}

impl Holds {
    pub(crate) fn new(consumer: String, stats: Arc<Stats>, wake: Arc<Notify>) -> Self {
        Self {
            consumer,
            stats,
            wake,
            all: Mutex::default(),
            back: Notify::new(),
        }
    }

    /// Holds for something that only [`Holds::release`] ends; saying it again counts a try.
    pub(crate) fn hold(&self, cause: Cause, error: &Error) {
        self.note(cause, error, |holders| holders.max(1));
    }

    /// Ends the hold for a cause.
    pub(crate) fn release(&self, cause: Cause) {
        self.end(cause, |_| 0);
    }

    /// Holds from the first failed try until the guard is dropped.
    pub(crate) fn enter(&self, cause: Cause) -> Holding<'_> {
        Holding {
            holds: self,
            cause,
            counted: false,
        }
    }

    /// The consumer is found.
    pub(crate) fn found(&self) {
        self.all.lock().found = true;
        self.release(Cause::Consumer);
    }

    /// Whether it holds for any of these causes.
    pub(crate) fn lasts(&self) -> bool {
        let all = self.all.lock();
        all.by_cause.iter().flatten().any(Hold::lasts)
    }

    /// Whether it holds for this.
    pub(crate) fn lasts_for(&self, cause: Cause) -> bool {
        let all = self.all.lock();
        all.by_cause[cause as usize]
            .as_ref()
            .is_some_and(Hold::lasts)
    }

    /// Whether messages may be fetched at all. While dead letters cannot be written good messages
    /// go on, and while nothing succeeds a few are tried.
    pub(crate) fn lets_read(&self) -> bool {
        !self.lasts_for(Cause::Dependency) && !self.lasts_for(Cause::Consumer)
    }

    /// Returns when a dependency is back for somebody else.
    pub(crate) async fn back(&self) {
        self.back.notified().await;
    }

    /// Logs the holds that last, and those that have ended for good.
    pub(crate) fn tell(&self) {
        let consumer = &self.consumer;
        let now = Instant::now();
        let mut all = self.all.lock();
        for cause in CAUSES {
            let slot = &mut all.by_cause[cause as usize];
            let Some(hold) = slot else { continue };
            if hold.lasts() {
                if now - hold.told >= REPEAT {
                    hold.told = now;
                    let (lasted, tries) = (seconds(now - hold.began), hold.tries);
                    tracing::warn!(%consumer, lasted, tries, error = hold.error, "still holding: {cause}");
                }
            } else if now - hold.ended >= QUIET {
                let (lasted, tries) = (seconds(hold.ended - hold.began), hold.tries);
                tracing::info!(%consumer, lasted, tries, "no longer holding: {cause}");
                *slot = None;
            }
        }
    }

    fn note(&self, cause: Cause, error: &Error, holders: impl FnOnce(usize) -> usize) {
        let consumer = &self.consumer;
        let now = Instant::now();
        let mut all = self.all.lock();
        let slot = &mut all.by_cause[cause as usize];
        let hold = slot.get_or_insert_with(|| {
            tracing::warn!(%consumer, %error, "holding: {cause}");
            Hold {
                holders: 0,
                error: String::new(),
                tries: 0,
                began: now,
                told: now,
                ended: now,
            }
        });
        hold.tries += 1;
        hold.error = error.to_string();
        hold.holders = holders(hold.holders);
        self.show(&all);
    }

    fn end(&self, cause: Cause, holders: impl FnOnce(usize) -> usize) {
        let mut all = self.all.lock();
        if let Some(hold) = &mut all.by_cause[cause as usize]
            && hold.lasts()
        {
            hold.holders = holders(hold.holders);
            hold.ended = Instant::now();
        }
        self.show(&all);
        drop(all);
        self.wake.notify_one();
    }

    fn show(&self, all: &All) {
        let lasting = CAUSES.into_iter().find_map(|cause| {
            let hold = all.by_cause[cause as usize].as_ref();
            Some((cause, hold.filter(|hold| hold.lasts())?))
        });
        match lasting {
            Some((Cause::Dependency | Cause::Consumer, hold)) => {
                self.stats.enter(State::Holding(hold.error.clone()));
            }
            Some((cause, hold)) => {
                let reason = format!("{cause}: {}", hold.error);
                self.stats.enter(State::Holding(reason));
            }
            None if all.found => self.stats.enter(State::Running),
            None => {}
        }
    }
}

impl Hold {
    fn lasts(&self) -> bool {
        self.holders > 0
    }
}

/// Holds for as long as it lives.
pub(crate) struct Holding<'a> {
    holds: &'a Holds,
    cause: Cause,
    counted: bool,
}

impl Holding<'_> {
    /// Counts a failed try.
    pub(crate) fn again(&mut self, error: &Error) {
        let more = usize::from(!self.counted);
        self.counted = true;
        self.holds.note(self.cause, error, |holders| holders + more);
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let fewer = usize::from(self.counted);
        self.holds
            .end(self.cause, |holders| holders.saturating_sub(fewer));
        self.holds.back.notify_waiters();
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

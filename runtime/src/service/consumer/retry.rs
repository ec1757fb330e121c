//! How a message that fails is tried again, and for how long.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Consumer;

/// How long a message that fails alone is tried where the definition does not say, at least.
pub(crate) const WITHIN: Duration = Duration::from_secs(3600);

/// The longest time that makes sense; a much longer one is more nanoseconds than the server can count.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// How a message that fails is tried again, and when it is given up: see [`Consumer::retry`].
///
/// ```
/// use std::time::Duration;
///
/// use natsfn::{Consumer, Retry, Stream};
///
/// let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
/// let orders = || Stream::new("ORDERS", ["orders.{customer}"]);
/// // A customer's webhook: after 1 s, 2 s, 4 s, ... then every quarter of an hour, for a day; its function says
/// // `Error::retry_later` where a receiver is down.
/// let retry = Retry::exponential(second..=15 * minute).within(24 * 60 * minute);
/// let call = Consumer::new("call", orders()).retry(retry);
/// // An import: what fails three times, ten seconds apart, becomes a dead letter.
/// let import = Consumer::new("import", orders()).retry(Retry::fixed(10 * second).attempts(3));
/// ```
///
/// It holds without a condition for an error that concerns its message alone:
/// [`Error::retry_later`](crate::Error::retry_later) and [`Error::retry_in`](crate::Error::retry_in). Any other
/// failure may be that of something that all messages need, so while several fail and none succeeds, waits stay
/// short and nothing is given up: see [`Consumer::retry`]. A whole webhook is in `runtime/examples/webhook.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    shortest: Duration,
    longest: Duration,
    attempts: Option<u32>,
    within: Option<Duration>,
}

impl Default for Retry {
    /// A second to a minute, ten attempts (about four minutes), and an hour for a message whose
    /// failures do not count as attempts.
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1)..=Duration::from_secs(60))
            .attempts(10)
            .within(WITHIN)
    }
}

impl Retry {
    /// The first wait is the range's start; each further one is twice as long, up to its end. Each is
    /// up to a quarter shorter or longer, so that what failed together does not come back together.
    ///
    /// Without [`Self::attempts`] and [`Self::within`], a message is tried for an hour.
    pub fn exponential(waits: RangeInclusive<Duration>) -> Self {
        Self {
            shortest: *waits.start(),
            longest: *waits.end(),
            attempts: None,
            within: None,
        }
    }

    /// The same wait each time, up to a quarter shorter or longer.
    pub fn fixed(wait: Duration) -> Self {
        Self::exponential(wait..=wait)
    }

    /// After so many attempts in all a message is a dead letter; 1 is none after the first. Which
    /// failures count as attempts [`Consumer::retry`] says: while no other message succeeds, only those of errors
    /// that concern their message alone.
    ///
    /// Without [`Self::within`], one whose failures do not count is tried for an hour, or for twice as
    /// long as this many attempts take where that is longer.
    #[must_use]
    pub fn attempts(mut self, n: u32) -> Self {
        self.attempts = Some(n.max(1));
        self
    }

    /// A message whose first delivery was this long ago, or longer, is a dead letter when it fails; a year
    /// at most. While several messages fail and none succeeds, nothing is given up, however long it takes: what
    /// all of them need may be away. Only an error that concerns its message alone
    /// ([`Error::retry_later`](crate::Error::retry_later), [`Error::retry_in`](crate::Error::retry_in)) makes a dead
    /// letter also then; what it was tried for before its first such error is not counted.
    ///
    /// Of the time before this process began, only a part is known: as many waits as the server has made
    /// deliveries, and no more than the message is old; each wait of 6 seconds at most, or as long as this
    /// schedule has it where the error concerns the message alone. So a restart may prolong the time, or, in this
    /// case, shorten it where deliveries came sooner than the schedule says. No message is given up at its first
    /// failure in a process, and each instance counts its own.
    ///
    /// One message that waits for a day keeps its consumer's ack floor where it is: for that day the inbox
    /// keeps a row of every later message, and a stream that is trimmed up to what is settled keeps them all.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// The wait after delivery `n`, without jitter.
    pub(crate) fn wait(&self, n: u64) -> Duration {
        let doublings = u32::try_from(n.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.shortest.saturating_mul(factor).min(self.longest)
    }

    pub(crate) fn max_attempts(&self) -> u32 {
        self.attempts.unwrap_or(u32::MAX)
    }

    /// How long a message is tried.
    pub(crate) fn time(&self) -> Duration {
        match (self.within, self.attempts) {
            (Some(within), _) => within,
            (None, None) => WITHIN,
            (None, Some(n)) => {
                let waits = self.sum(u64::from(n) - 1, Duration::MAX);
                waits.saturating_mul(2).clamp(WITHIN, LONGEST)
            }
        }
    }

    /// What `n` waits take, without jitter, none of them longer than `longest`.
    pub(crate) fn sum(&self, n: u64, longest: Duration) -> Duration {
        let wait = |n| self.wait(n).min(longest);
        let growing = (1..=n.min(64)).map(wait);
        let sum = growing.fold(Duration::ZERO, Duration::saturating_add);
        let rest = u32::try_from(n.saturating_sub(64)).unwrap_or(u32::MAX);
        sum.saturating_add(wait(64).saturating_mul(rest))
    }

    /// Why the definition is invalid.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let longest = self.longest.max(self.within.unwrap_or_default());
        if self.shortest.is_zero() || self.shortest > self.longest {
            Some("the waits of Retry must be longer than 0, and the first no longer than the last")
        } else if longest > LONGEST {
            Some("the waits of Retry, and Retry::within, must be no longer than a year")
        } else if self.within.is_some_and(|time| time.is_zero()) {
            Some("Retry::within must be longer than 0; .attempts(1) tries a message once")
        } else {
            None
        }
    }
}

impl Consumer {
    /// How a message that fails is tried again, and when it becomes a dead letter. By default
    /// `Retry::exponential(1s..=1min).attempts(10).within(1h)`: the waits are 1, 2, 4, 8, 16, 32, 60,
    /// 60 and 60 seconds.
    ///
    /// What becomes of which error [`Kind`](crate::Kind) says. One failure is an attempt where the
    /// message was alone in the call, or named in [`Outcomes`](crate::Outcomes), and other messages of
    /// the function have succeeded since its last try, or the error concerns the message alone
    /// ([`Error::retry_later`](crate::Error::retry_later), and [`Error::retry_in`](crate::Error::retry_in) but with
    /// `Unavailable` and `TooManyRequests`). While none does and several fail, a dependency is away
    /// or the program is wrong: no message waits longer than 6 seconds, or than the first wait where that is
    /// longer, and nothing is given up but what concerns its message alone. The limits of time hold also for
    /// failures that do not count, where others have succeeded meanwhile or no other fails.
    ///
    /// The server keeps the waits, so they go on where the process stops, crashes or is deployed anew,
    /// and no message waits for another, except those that a process has got over ten times without having
    /// returned them itself: they run apart, in groups, since one may end the process. It also counts the deliveries, of every instance: by them a
    /// new process knows how long the next wait is, and how long the message has been tried at least
    /// ([`Retry::within`]). How they ended it does not know, so the attempts begin anew with each process.
    ///
    /// Every message that waits is one that the server has delivered and that is not settled, of which
    /// a consumer may have 100,000 (`max_ack_pending`, which an operator may raise to 200,000): beyond it
    /// no good message comes in either, and the function's `warning` in STATS says so.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest_and_stay_there() {
        let retry = Retry::exponential(SECOND..=60 * SECOND);
        let waits: Vec<u64> = (1..=9).map(|n| retry.wait(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let sum = |n| retry.sum(n, Duration::MAX);
        assert_eq!(sum(9), 243 * SECOND);
        assert_eq!(retry.wait(u64::MAX), 60 * SECOND);
        assert_eq!(sum(1_000), (63 + 994 * 60) * SECOND);
        assert_eq!(retry.sum(5, 3 * SECOND), 12 * SECOND);
    }

    #[test]
    fn time_follows_from_the_attempts_where_nothing_says_it() {
        let long = Retry::exponential(SECOND..=900 * SECOND);
        assert_eq!(long.time(), WITHIN);
        assert_eq!(long.attempts(3).time(), WITHIN);
        let waits = long.sum(99, Duration::MAX);
        assert_eq!(long.attempts(100).time(), waits * 2);
        assert_eq!(long.attempts(u32::MAX).time(), LONGEST);
        assert_eq!(long.attempts(100).within(SECOND).time(), SECOND);
        assert_eq!(Retry::default().time(), WITHIN);
    }
}

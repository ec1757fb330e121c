//! Decides whether a failure is the message's fault. A failure of unknown cause counts against its message
//! only if others have succeeded meanwhile: while none succeeds, a dependency is down or the program is
//! wrong, and giving messages up would lose good ones.
//!
//! An instance knows only what it has seen itself. A wrongly deployed one beside a good one therefore gives
//! nothing up: the messages that it fails at are redelivered, in time to the good one.

mod seen;

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{Kind, Policy};
use crate::function::event::Key;
use crate::run::backoff::{backoff, jitter};
use seen::{Doubt, STALE, Seen};

/// How often a message may run into the deadline alone before that counts as an attempt: a database
/// that is slow for a moment is not the message's fault.
const FREE_TIMEOUTS: u32 = 3;

/// After so many refusals among others (429) a message runs alone, so that they need not wait for it.
const REFUSED_TOGETHER: u32 = 3;

/// After so many deliveries with unknown outcome, a message may be what crashes the process.
const UNEXPLAINED_DELIVERIES: u64 = 10;

/// The longest a message waits while nothing succeeds, and so the longest that recovery takes once the
/// cause is gone.
const LONGEST_WAIT: Duration = Duration::from_secs(6);

/// How many messages are tried in a round while nothing succeeds, and the pauses between rounds.
const PROBES: u32 = 4;
const SHORTEST_PAUSE: Duration = Duration::from_millis(125);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What one consumer in this instance has seen succeed and fail.
pub(crate) struct Evidence {
    max_attempts: u32,
    give_up_after: Duration,
    seen: Mutex<Seen>,
}

/// What is to become of a message that has failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is redelivered after `delay`. `counted` is the number of attempts, if this counted as one.
    Again {
        delay: Duration,
        counted: Option<u32>,
    },
    /// It becomes a dead letter. `after` is how long it was tried, if that was too long.
    GiveUp {
        attempts: u32,
        after: Option<Duration>,
    },
}

/// A failure, as it is judged.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// The message was alone in the call, or the function has named it.
    pub(crate) alone: bool,
    /// The successes when the call began.
    pub(crate) since: u64,
}

impl Evidence {
    pub(crate) fn new(max_attempts: u32, give_up_after: Duration) -> Self {
        Self {
            max_attempts,
            give_up_after,
            seen: Mutex::default(),
        }
    }

    /// How many messages have succeeded so far.
    pub(crate) fn successes(&self) -> u64 {
        self.seen.lock().successes
    }

    /// Counts `n` successes. True if this ends a time without any; `before`, the messages that had
    /// succeeded earlier, also end it, since trying those one by one would take long and show nothing. But
    /// they are no evidence against a message that fails now.
    pub(crate) fn succeeded(&self, n: usize, before: usize) -> bool {
        let mut seen = self.seen.lock();
        seen.successes += n as u64;
        n + before > 0 && seen.doubt.take().is_some()
    }

    /// The message is settled.
    pub(crate) fn forget(&self, key: Key) {
        self.seen.lock().failing.remove(&key);
    }

    /// Judges a failure; true where others have succeeded since the message was last tried.
    pub(crate) fn judge(&self, key: Key, failure: Failure) -> (Verdict, bool) {
        let now = Instant::now();
        let policy = failure.kind.policy();
        let mut seen = self.seen.lock();
        let successes = seen.successes;
        let others = seen.others_fail(key, now);
        let record = seen.record(key);
        let first = *record.first.get_or_insert(now);
        if record.tries == 0 {
            record.successes = failure.since;
        }
        record.tries += 1;
        record.last = Some(now);
        let evidence = successes > record.successes;
        record.successes = successes;
        let unknown = match policy {
            Policy::Attempt => true,
            Policy::RetryAlone => {
                record.alone = true;
                record.timeouts += u32::from(failure.alone);
                record.timeouts > FREE_TIMEOUTS
            }
            Policy::Retry => {
                record.alone |= !failure.alone && record.tries >= REFUSED_TOGETHER;
                false
            }
            _ => false,
        };
        let counts = unknown && failure.alone && evidence;
        record.attempts += u32::from(counts);
        let attempts = record.attempts;
        let tried = now - first;
        let verdict = if policy == Policy::DeadLetter {
            let attempts = attempts + 1;
            Verdict::GiveUp {
                attempts,
                after: None,
            }
        } else if counts && attempts >= self.max_attempts {
            Verdict::GiveUp {
                attempts,
                after: None,
            }
        } else if failure.alone
            && policy != Policy::Hold
            && tried >= self.give_up_after
            && (evidence || !others)
        {
            Verdict::GiveUp {
                attempts: record.tries,
                after: Some(tried),
            }
        } else {
            record.returned += 1;
            let delay = backoff(record.tries.into());
            // A message that may not be at fault must not wait long once the cause is gone.
            let short = matches!(policy, Policy::Attempt | Policy::RetryAlone) && !counts;
            let delay = if short {
                delay.min(jitter(LONGEST_WAIT))
            } else {
                delay
            };
            let counted = counts.then_some(attempts);
            Verdict::Again { delay, counted }
        };
        if matches!(verdict, Verdict::GiveUp { .. }) && !others {
            // Nothing else fails: nothing is doubtful any more.
            seen.doubt = None;
        }
        (verdict, evidence)
    }

    /// Nothing succeeds: from now on messages are tried one by one, a few at a time.
    pub(crate) fn doubt(&self) {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        let doubt = seen.doubt.get_or_insert(Doubt {
            rounds: 0,
            next: now + SHORTEST_PAUSE,
            budget: 0,
            failed: now,
        });
        doubt.failed = now;
    }

    /// Whether nothing succeeds at present.
    pub(crate) fn doubts(&self) -> bool {
        self.seen.lock().doubt.is_some()
    }

    /// Ends a doubt that no failure has confirmed for a while: another instance has handled the messages.
    pub(crate) fn ends_by_itself(&self) -> bool {
        let mut seen = self.seen.lock();
        let ends = seen.doubt.as_ref();
        let ends = ends.is_some_and(|doubt| doubt.failed.elapsed() >= STALE);
        if ends {
            seen.doubt = None;
        }
        ends
    }

    /// When another message may be tried; none while all may.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        let seen = self.seen.lock();
        let doubt = seen.doubt.as_ref()?;
        Some(if doubt.budget > 0 {
            Instant::now()
        } else {
            doubt.next
        })
    }

    /// Whether a message may be tried now, while nothing succeeds.
    pub(crate) fn admit(&self) -> bool {
        let mut seen = self.seen.lock();
        let Some(doubt) = &mut seen.doubt else {
            return true;
        };
        let now = Instant::now();
        if doubt.budget == 0 && now >= doubt.next {
            let pause = SHORTEST_PAUSE * (1 << doubt.rounds.min(8));
            doubt.rounds += 1;
            doubt.budget = PROBES;
            doubt.next = now + pause.min(LONGEST_PAUSE);
        }
        let admitted = doubt.budget > 0;
        doubt.budget -= u32::from(admitted);
        admitted
    }

    /// The delay of a message that is given back untried.
    pub(crate) fn wait(&self, key: Key) -> Duration {
        let mut seen = self.seen.lock();
        let record = seen.record(key);
        record.returned += 1;
        backoff(record.returned).min(jitter(LONGEST_WAIT))
    }

    /// How often the message has been tried in vain.
    pub(crate) fn tries(&self, key: Key) -> u32 {
        let seen = self.seen.lock();
        seen.failing.get(&key).map_or(0, |record| record.tries)
    }

    /// Whether the message must run alone: it was slow.
    pub(crate) fn was_slow(&self, key: Key) -> bool {
        self.seen
            .lock()
            .failing
            .get(&key)
            .is_some_and(|record| record.alone)
    }

    /// Whether the message has been delivered so often, without having been given back, that it may
    /// be what ends the process.
    pub(crate) fn may_crash(&self, key: Key, delivered: u64) -> bool {
        let seen = self.seen.lock();
        let returned = seen.failing.get(&key).map_or(0, |record| record.returned);
        delivered > UNEXPLAINED_DELIVERIES + returned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Key = (1, 1);
    const OTHER: Key = (2, 2);
    const HOUR: Duration = Duration::from_secs(3600);

    fn fails(evidence: &Evidence, kind: Kind) -> Verdict {
        fails_as(evidence, BAD, kind)
    }

    fn fails_as(evidence: &Evidence, key: Key, kind: Kind) -> Verdict {
        let since = evidence.successes();
        let alone = true;
        evidence.judge(key, Failure { kind, alone, since }).0
    }

    fn counted(verdict: &Verdict) -> Option<u32> {
        match verdict {
            Verdict::Again { counted, .. } => *counted,
            Verdict::GiveUp { .. } => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn failure_counts_only_after_another_message_has_succeeded() {
        let evidence = Evidence::new(2, HOUR);
        for _ in 0..100 {
            assert_eq!(counted(&fails(&evidence, Kind::Internal)), None);
        }
        evidence.succeeded(1, 0);
        assert_eq!(counted(&fails(&evidence, Kind::Internal)), Some(1));
        assert_eq!(counted(&fails(&evidence, Kind::Internal)), None);
        evidence.succeeded(1, 0);
        let last = fails(&evidence, Kind::Internal);
        let given_up = Verdict::GiveUp {
            attempts: 2,
            after: None,
        };
        assert_eq!(last, given_up);
    }

    #[test]
    fn success_during_the_call_is_evidence() {
        let evidence = Evidence::new(1, HOUR);
        let since = evidence.successes();
        evidence.succeeded(1, 0);
        let failure = Failure {
            kind: Kind::Internal,
            alone: true,
            since,
        };
        let (verdict, _) = evidence.judge(BAD, failure);
        assert!(
            matches!(verdict, Verdict::GiveUp { attempts: 1, .. }),
            "{verdict:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_fails_alone_is_given_up_in_the_end_and_several_never() {
        let evidence = Evidence::new(5, HOUR);
        fails(&evidence, Kind::Internal);
        fails_as(&evidence, OTHER, Kind::Internal);
        tokio::time::advance(HOUR).await;
        fails_as(&evidence, OTHER, Kind::Internal);
        assert_eq!(counted(&fails(&evidence, Kind::Internal)), None);
        evidence.forget(OTHER);
        let verdict = fails(&evidence, Kind::Internal);
        assert!(
            matches!(verdict, Verdict::GiveUp { after: Some(_), .. }),
            "{verdict:?}"
        );
    }

    #[test]
    fn deadline_counts_after_a_few_that_are_free() {
        let evidence = Evidence::new(1, HOUR);
        for _ in 0..FREE_TIMEOUTS {
            evidence.succeeded(1, 0);
            assert_eq!(counted(&fails(&evidence, Kind::Timeout)), None);
        }
        assert!(evidence.was_slow(BAD));
        evidence.succeeded(1, 0);
        let verdict = fails(&evidence, Kind::Timeout);
        assert!(matches!(verdict, Verdict::GiveUp { .. }), "{verdict:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_counts_by_time_alone() {
        let evidence = Evidence::new(1, HOUR);
        for _ in 0..100 {
            evidence.succeeded(1, 0);
            assert_eq!(counted(&fails(&evidence, Kind::TooManyRequests)), None);
        }
        tokio::time::advance(HOUR).await;
        let verdict = fails(&evidence, Kind::TooManyRequests);
        assert!(
            matches!(verdict, Verdict::GiveUp { after: Some(_), .. }),
            "{verdict:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn success_before_a_long_outage_gives_nothing_up_after_it() {
        let evidence = Evidence::new(5, HOUR);
        let since = evidence.successes();
        // Another batch succeeds while these are in the function; from then on nothing does.
        evidence.succeeded(1, 0);
        for key in [BAD, OTHER] {
            let (kind, alone) = (Kind::Internal, true);
            evidence.judge(key, Failure { kind, alone, since });
        }
        tokio::time::advance(HOUR).await;
        fails_as(&evidence, OTHER, Kind::Internal);
        assert_eq!(counted(&fails(&evidence, Kind::Internal)), None);
        evidence.succeeded(1, 0);
        let verdict = fails(&evidence, Kind::Internal);
        assert!(
            matches!(verdict, Verdict::GiveUp { after: Some(_), .. }),
            "{verdict:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_tried_while_nothing_succeeds() {
        let evidence = Evidence::new(1, HOUR);
        evidence.doubt();
        let mut tried = 0;
        for _ in 0..6000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            tried += u32::from(evidence.admit());
        }
        assert!((60..=300).contains(&tried), "{tried} in a minute");
        assert!(evidence.succeeded(1, 0));
        assert!(evidence.admit() && !evidence.doubts());
    }

    #[test]
    fn what_was_done_before_ends_the_doubt_and_is_no_evidence() {
        let evidence = Evidence::new(1, HOUR);
        fails(&evidence, Kind::Internal);
        evidence.doubt();
        assert!(evidence.succeeded(0, 1));
        assert!(!evidence.doubts());
        assert_eq!(counted(&fails(&evidence, Kind::Internal)), None);
    }

    #[test]
    fn what_this_instance_gave_back_is_no_crash() {
        let evidence = Evidence::new(1, HOUR);
        for _ in 0..50 {
            evidence.wait(BAD);
        }
        assert!(!evidence.may_crash(BAD, 60));
        assert!(evidence.may_crash(BAD, 61));
    }
}

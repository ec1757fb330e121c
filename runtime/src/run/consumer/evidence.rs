//! Decides whether a failure is the message's fault. A failure of unknown cause counts against its message
//! only if others have succeeded meanwhile: while none succeeds, a dependency is down or the program is
//! wrong, and giving messages up would lose good ones.
//!
//! A message whose error concerns it alone is judged by itself: it is given up for its attempts and its time,
//! whatever becomes of others, and is no evidence about them.
//!
//! An instance knows only what it has seen itself. A wrongly deployed one beside a good one therefore gives
//! nothing up: the messages that it fails at are redelivered, in time to the good one.

mod delay;
mod seen;

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Policy;
use crate::function::event::Key;
use crate::run::backoff::{backoff, jitter};
use crate::service::consumer::retry::Retry;
use delay::LONGEST_WAIT;
use seen::{Doubt, STALE, Seen, age};

/// How often a message may run into the deadline alone before that counts as an attempt: a database
/// that is slow for a moment is not the message's fault.
const FREE_TIMEOUTS: u32 = 3;

/// How often a process must have seen a message fail to give it up for its time: what happened elsewhere
/// it only infers from the number of deliveries.
const FEWEST_HERE: u32 = 2;

/// After so many refusals among others (429) a message runs alone, so that they need not wait for it.
const REFUSED_TOGETHER: u32 = 3;

/// After so many deliveries with unknown outcome, a message may be what crashes the process.
const UNEXPLAINED_DELIVERIES: u64 = 10;

/// So many failures in a row, as soon as this after a success, do not yet mean that nothing succeeds.
const IN_A_ROW: u32 = 16;
const RECENT: Duration = Duration::from_secs(1);

/// How many messages are tried in a round while nothing succeeds, and the pauses between rounds.
const PROBES: u32 = 4;
const SHORTEST_PAUSE: Duration = Duration::from_millis(125);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What one consumer in this instance has seen succeed and fail.
pub(crate) struct Evidence {
    retry: Retry,
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
    pub(crate) policy: Policy,
    /// When the function wants to see the message again.
    pub(crate) asked: Option<Duration>,
    /// The error concerns this message alone.
    pub(crate) own: bool,
    /// How often the server has delivered the message.
    pub(crate) delivered: u64,
    /// The message was alone in the call, or the function has named it.
    pub(crate) alone: bool,
    /// The successes when the call began.
    pub(crate) since: u64,
}

impl Evidence {
    pub(crate) fn new(retry: Retry) -> Self {
        Self {
            retry,
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
        if n > 0 {
            seen.last_success = Some(Instant::now());
            seen.in_vain = 0;
        }
        n + before > 0 && seen.doubt.take().is_some()
    }

    /// The message is settled.
    pub(crate) fn forget(&self, key: Key) {
        self.seen.lock().forget(key);
    }

    /// Judges a failure; true where others have succeeded since the message was last tried.
    pub(crate) fn judge(&self, key: Key, failure: Failure) -> (Verdict, bool) {
        let now = Instant::now();
        let (policy, own, retry) = (failure.policy, failure.own, &self.retry);
        let mut seen = self.seen.lock();
        let successes = seen.successes;
        let others = seen.others_fail(key, now);
        let record = seen.record(key);
        // Deliveries before this process began, or to another one: nobody knows how they ended, so they are
        // no attempts.
        let elsewhere = failure.delivered.saturating_sub(1 + record.returned);
        let first = *record.first.get_or_insert_with(|| {
            record.before = (elsewhere, age(key));
            now
        });
        let before = delay::before(retry, record.before, failure);
        if record.tries == 0 {
            record.successes = failure.since;
        }
        record.tries += 1;
        record.own_tries += u32::from(own);
        let (first, tries) = match own {
            true => (*record.own_first.get_or_insert(now), record.own_tries),
            false => (first, record.tries),
        };
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
        let counts = unknown && failure.alone && (evidence || own);
        record.attempts += u32::from(counts);
        let attempts = record.attempts;
        let tried = before + (now - first);
        let is_over = failure.alone
            && policy != Policy::Hold
            && tried >= retry.time()
            && tries >= FEWEST_HERE + u32::from(record.hurried && !own)
            && (own || evidence || !others);
        let mut due = now;
        let verdict = if policy == Policy::DeadLetter {
            Verdict::GiveUp {
                attempts: attempts + 1,
                after: None,
            }
        } else if counts && attempts >= retry.max_attempts() {
            Verdict::GiveUp {
                attempts,
                after: None,
            }
        } else if is_over {
            Verdict::GiveUp {
                attempts: tries,
                after: Some(tried),
            }
        } else {
            record.returned += 1;
            let is_unknown = !own && matches!(policy, Policy::Attempt | Policy::RetryAlone);
            // After a restart this one may be the first of many to fail.
            record.hurried |= is_unknown && elsewhere > 0 && record.tries == 1 && successes == 0;
            let may_be_first = record.hurried && record.tries == 1;
            let is_held = !own && policy == Policy::Hold;
            let is_outage = is_held || is_unknown && !counts && (others || may_be_first);
            let n = elsewhere + u64::from(tries);
            let delay = match failure.asked {
                Some(wait) => delay::asked(retry, wait),
                None => delay::after(retry, n, is_outage),
            };
            due += delay;
            let counted = counts.then_some(attempts);
            Verdict::Again { delay, counted }
        };
        seen.set_due(key, (!own).then_some(due));
        if matches!(verdict, Verdict::GiveUp { .. }) && !others {
            // Nothing else fails: nothing is doubtful any more.
            seen.doubt = None;
        }
        (verdict, evidence)
    }

    /// Notes `n` failures that nothing explains. True if nothing succeeds: from now on messages are tried
    /// one by one, a few at a time. Bad messages in a row among good ones are not enough.
    pub(crate) fn doubt(&self, n: u32) -> bool {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        seen.in_vain = seen.in_vain.saturating_add(n);
        let is_recent = seen.last_success.is_some_and(|last| now - last < RECENT);
        if seen.doubt.is_none() && is_recent && seen.in_vain <= IN_A_ROW {
            return false;
        }
        let doubt = seen.doubt.get_or_insert(Doubt {
            rounds: 0,
            next: now + SHORTEST_PAUSE,
            budget: 0,
            failed: now,
        });
        doubt.failed = now;
        true
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
        let seen = self.seen.lock();
        seen.failing.get(&key).is_some_and(|record| record.alone)
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
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::error::Kind;

    const BAD: Key = (1, 1);
    const OTHER: Key = (2, 2);
    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    fn fails(evidence: &Evidence, kind: Kind) -> Verdict {
        fails_as(evidence, BAD, kind)
    }

    fn fails_as(evidence: &Evidence, key: Key, kind: Kind) -> Verdict {
        evidence.judge(key, failure(evidence, key, kind)).0
    }

    /// A failure alone of a message that no other process has had.
    fn failure(evidence: &Evidence, key: Key, kind: Kind) -> Failure {
        let seen = evidence.seen.lock();
        Failure {
            policy: kind.policy(),
            asked: None,
            own: false,
            delivered: 1 + seen.failing.get(&key).map_or(0, |record| record.returned),
            alone: true,
            since: seen.successes,
        }
    }

    /// One whose error concerns the message alone.
    fn own(evidence: &Evidence, key: Key) -> Failure {
        Failure {
            own: true,
            ..failure(evidence, key, Kind::Internal)
        }
    }

    /// A message that the stream stored so long ago.
    fn stored(age: Duration) -> Key {
        let since = (SystemTime::now() - age)
            .duration_since(UNIX_EPOCH)
            .unwrap();
        (1, i64::try_from(since.as_nanos()).unwrap())
    }

    fn evidence(attempts: u32) -> Evidence {
        Evidence::new(retry().attempts(attempts))
    }

    fn retry() -> Retry {
        Retry::exponential(Duration::from_secs(1)..=Duration::from_secs(60)).within(HOUR)
    }

    /// Whether a delay is this one but for the jitter.
    fn waits(verdict: &Verdict, seconds: u64) {
        let Verdict::Again { delay, .. } = verdict else {
            panic!("{verdict:?}");
        };
        let plain = Duration::from_secs(seconds);
        let range = plain.mul_f64(0.75)..=plain.mul_f64(1.25);
        assert!(range.contains(delay), "{delay:?}, not {plain:?}");
    }

    fn counted(verdict: &Verdict) -> Option<u32> {
        match verdict {
            Verdict::Again { counted, .. } => *counted,
            Verdict::GiveUp { .. } => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn failure_counts_only_after_another_message_has_succeeded() {
        let evidence = evidence(2);
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
    fn message_whose_dependency_is_away_comes_again_soon_unless_the_dependency_is_its_own() {
        let evidence = evidence(5);
        for _ in 0..10 {
            fails(&evidence, Kind::Unavailable);
        }
        waits(&fails(&evidence, Kind::Unavailable), LONGEST_WAIT.as_secs());
        let failure = Failure {
            policy: Policy::Hold,
            ..own(&evidence, OTHER)
        };
        for _ in 0..10 {
            evidence.judge(OTHER, failure);
        }
        waits(&evidence.judge(OTHER, failure).0, 60);
    }

    #[test]
    fn success_during_the_call_is_evidence() {
        let evidence = evidence(1);
        let since = evidence.successes();
        evidence.succeeded(1, 0);
        let failure = Failure {
            since,
            ..failure(&evidence, BAD, Kind::Internal)
        };
        let (verdict, _) = evidence.judge(BAD, failure);
        assert!(
            matches!(verdict, Verdict::GiveUp { attempts: 1, .. }),
            "{verdict:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_fails_alone_is_given_up_in_the_end_and_several_never() {
        let evidence = evidence(5);
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
        let evidence = evidence(1);
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
        let evidence = evidence(1);
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
        let evidence = evidence(5);
        let since = evidence.successes();
        // Another batch succeeds while these are in the function; from then on nothing does.
        evidence.succeeded(1, 0);
        for key in [BAD, OTHER] {
            let failure = failure(&evidence, key, Kind::Internal);
            evidence.judge(key, Failure { since, ..failure });
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
        let evidence = evidence(1);
        assert!(evidence.doubt(1));
        let mut tried = 0;
        for _ in 0..6000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            tried += u32::from(evidence.admit());
        }
        assert!((60..=300).contains(&tried), "{tried} in a minute");
        assert!(evidence.succeeded(1, 0));
        assert!(evidence.admit() && !evidence.doubts());
    }

    #[tokio::test(start_paused = true)]
    async fn bad_messages_among_good_ones_are_no_reason_to_doubt() {
        let evidence = evidence(1);
        for _ in 0..100 {
            evidence.succeeded(1, 0);
            for _ in 0..IN_A_ROW {
                assert!(!evidence.doubt(1));
            }
        }
        assert!(evidence.doubt(1));
        evidence.succeeded(1, 0);
        // A batch of them, or one after a while.
        assert!(evidence.doubt(IN_A_ROW + 1));
        evidence.succeeded(1, 0);
        tokio::time::advance(RECENT).await;
        assert!(evidence.doubt(1));
    }

    #[test]
    fn what_was_done_before_ends_the_doubt_and_is_no_evidence() {
        let evidence = evidence(1);
        fails(&evidence, Kind::Internal);
        assert!(evidence.doubt(1));
        assert!(evidence.succeeded(0, 1));
        assert!(!evidence.doubts());
        assert_eq!(counted(&fails(&evidence, Kind::Internal)), None);
    }

    #[test]
    fn what_this_instance_gave_back_is_no_crash() {
        let evidence = evidence(1);
        for _ in 0..50 {
            evidence.wait(BAD);
        }
        assert!(!evidence.may_crash(BAD, 60));
        assert!(evidence.may_crash(BAD, 61));
    }

    #[test]
    fn waits_grow_and_go_on_where_another_process_was() {
        let evidence = Evidence::new(retry());
        for seconds in [1, 2, 4, 8] {
            evidence.succeeded(1, 0);
            waits(&fails(&evidence, Kind::Internal), seconds);
        }
        let after_a_restart = Evidence::new(retry());
        for (delivered, seconds) in [(5, 16), (6, 32), (9, 60)] {
            after_a_restart.succeeded(1, 0);
            let failure = Failure {
                delivered,
                ..failure(&after_a_restart, BAD, Kind::Internal)
            };
            waits(&after_a_restart.judge(BAD, failure).0, seconds);
        }
    }

    #[test]
    fn first_to_fail_after_a_restart_in_an_outage_waits_no_longer_than_the_others() {
        let evidence = Evidence::new(retry());
        for key in [BAD, OTHER] {
            let failure = Failure {
                delivered: 9,
                ..failure(&evidence, key, Kind::Internal)
            };
            waits(&evidence.judge(key, failure).0, LONGEST_WAIT.as_secs());
        }
    }

    #[test]
    fn message_that_others_may_follow_in_an_outage_is_tried_once_more_before_it_is_given_up() {
        let evidence = Evidence::new(retry().within(HOUR / 60));
        // Tried for an hour elsewhere.
        for delivered in 600..602 {
            let failure = Failure {
                delivered,
                ..failure(&evidence, BAD, Kind::Internal)
            };
            assert_eq!(counted(&evidence.judge(BAD, failure).0), None);
        }
        let verdict = fails(&evidence, Kind::Internal);
        assert!(matches!(verdict, Verdict::GiveUp { .. }), "{verdict:?}");
    }

    #[test]
    fn deliveries_elsewhere_are_no_attempts() {
        let evidence = evidence(2);
        for (delivered, expected) in [(100, Some(1)), (101, None)] {
            let failure = Failure {
                delivered,
                ..failure(&evidence, BAD, Kind::Internal)
            };
            evidence.succeeded(1, 0);
            match evidence.judge(BAD, failure).0 {
                Verdict::Again { counted, .. } => assert_eq!(counted, expected),
                Verdict::GiveUp { attempts, .. } => assert_eq!((attempts, None), (2, expected)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn delivery_elsewhere_took_no_longer_than_a_wait_in_an_outage() {
        let judge = |age: Duration, here: Duration| async move {
            let evidence = Evidence::new(retry());
            evidence.succeeded(1, 0);
            let key = stored(age);
            for delivered in [64, 65] {
                let failure = Failure {
                    delivered,
                    ..failure(&evidence, key, Kind::Internal)
                };
                let verdict = evidence.judge(key, failure).0;
                if let Verdict::GiveUp { after, .. } = verdict {
                    assert_eq!(delivered, 65);
                    return after;
                }
                tokio::time::advance(here).await;
            }
            None
        };
        // 63 waits: 1, 2 and 4 s, and 60 of 6 s.
        let waits = Duration::from_secs(7 + 60 * 6);
        let minute = Duration::from_secs(60);
        assert_eq!(judge(2 * HOUR, 53 * minute).await, None);
        let after = judge(2 * HOUR, 54 * minute).await;
        assert_eq!(after, Some(waits + 54 * minute));
        assert_eq!(judge(minute, 54 * minute).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn outage_is_not_counted_against_what_a_message_fails_for_later() {
        let evidence = evidence(5);
        let both = |own_error: bool| {
            let of = |key| match own_error {
                true => own(&evidence, key),
                false => failure(&evidence, key, Kind::Internal),
            };
            [BAD, OTHER].map(|key| evidence.judge(key, of(key)).0)
        };
        for _ in 0..60 {
            both(false);
            tokio::time::advance(2 * 60 * SECOND).await;
        }
        for _ in 0..2 {
            for verdict in both(true) {
                let Verdict::Again { delay, .. } = verdict else {
                    panic!("{verdict:?}");
                };
                assert!(delay <= 3 * SECOND, "{delay:?}");
            }
        }
        tokio::time::advance(HOUR).await;
        for verdict in both(true) {
            assert!(matches!(verdict, Verdict::GiveUp { .. }), "{verdict:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_is_judged_by_itself_waited_elsewhere_as_here() {
        let minute = Duration::from_secs(60);
        // 63 waits: 1, 2, 4, ... 32 s, and 57 of a minute; or none longer than the function asks.
        for (asked, before) in [
            (None, 57 * minute + 63 * SECOND),
            (Some(6 * SECOND), 367 * SECOND),
        ] {
            let evidence = Evidence::new(retry());
            let key = stored(2 * HOUR);
            let mut verdicts = Vec::new();
            for (delivered, here) in [(64, HOUR - before), (65, Duration::ZERO)] {
                let failure = Failure {
                    delivered,
                    asked,
                    ..own(&evidence, key)
                };
                verdicts.push(evidence.judge(key, failure).0);
                tokio::time::advance(here).await;
            }
            assert_eq!(counted(&verdicts[0]), Some(1));
            assert!(
                matches!(
                    verdicts[1],
                    Verdict::GiveUp {
                        after: Some(HOUR),
                        ..
                    }
                ),
                "{verdicts:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_are_judged_by_themselves_keep_their_waits_and_are_given_up_in_time() {
        let evidence = Evidence::new(retry());
        for seconds in [1, 2, 4, 8, 16, 32, 60] {
            for key in [BAD, OTHER] {
                let (verdict, _) = evidence.judge(key, own(&evidence, key));
                waits(&verdict, seconds);
            }
        }
        tokio::time::advance(HOUR).await;
        for key in [BAD, OTHER] {
            let (verdict, _) = evidence.judge(key, own(&evidence, key));
            assert!(
                matches!(verdict, Verdict::GiveUp { after: Some(_), .. }),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn attempts_of_messages_that_are_judged_by_themselves_count_while_nothing_succeeds() {
        let evidence = evidence(2);
        for key in [BAD, OTHER] {
            let (verdict, _) = evidence.judge(key, own(&evidence, key));
            assert_eq!(counted(&verdict), Some(1));
        }
        for key in [BAD, OTHER] {
            let (verdict, _) = evidence.judge(key, own(&evidence, key));
            assert!(
                matches!(verdict, Verdict::GiveUp { attempts: 2, .. }),
                "{verdict:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_is_judged_by_itself_is_no_evidence_about_another() {
        let evidence = Evidence::new(retry());
        for seconds in [1, 2, 4, 8] {
            evidence.judge(OTHER, own(&evidence, OTHER));
            waits(&fails(&evidence, Kind::Internal), seconds);
        }
        tokio::time::advance(HOUR).await;
        evidence.judge(OTHER, own(&evidence, OTHER));
        let verdict = fails(&evidence, Kind::Internal);
        assert!(matches!(verdict, Verdict::GiveUp { .. }), "{verdict:?}");
    }

    #[test]
    fn message_whose_last_error_is_its_own_is_no_evidence_any_more() {
        let evidence = Evidence::new(retry());
        fails_as(&evidence, OTHER, Kind::Internal);
        evidence.judge(OTHER, own(&evidence, OTHER));
        for seconds in [1, 2, 4, 8] {
            waits(&fails(&evidence, Kind::Internal), seconds);
        }
    }

    #[test]
    fn message_waits_as_long_as_the_function_asks_but_never_so_short_that_it_runs_all_the_time() {
        let evidence = Evidence::new(retry());
        let shortest = Retry::fixed(Duration::from_millis(10)).within(HOUR);
        for (evidence, asked, least) in [
            (&evidence, Duration::from_secs(10), Duration::from_secs(10)),
            (&evidence, Duration::ZERO, Duration::from_secs(1)),
            (
                &Evidence::new(shortest),
                Duration::ZERO,
                Duration::from_millis(10),
            ),
            (
                &Evidence::new(Retry::fixed(HOUR)),
                Duration::ZERO,
                Duration::from_secs(1),
            ),
            (&evidence, Duration::from_secs(86_400), HOUR),
            (&evidence, Duration::MAX, HOUR),
        ] {
            let failure = Failure {
                asked: Some(asked),
                ..own(evidence, BAD)
            };
            let Verdict::Again { delay, .. } = evidence.judge(BAD, failure).0 else {
                panic!("given up");
            };
            assert!(delay >= least && delay <= least.mul_f64(1.25), "{delay:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_wait_long_see_each_other_fail() {
        let wait = 10 * Duration::from_secs(60);
        let evidence = Evidence::new(Retry::fixed(wait).within(HOUR));
        for _ in 0..20 {
            for key in [BAD, OTHER] {
                assert_eq!(counted(&fails_as(&evidence, key, Kind::Internal)), None);
                tokio::time::advance(wait / 2).await;
            }
        }
        // The other one was handled elsewhere, or has left the stream.
        tokio::time::advance(2 * wait).await;
        let verdict = fails(&evidence, Kind::Internal);
        assert!(matches!(verdict, Verdict::GiveUp { .. }), "{verdict:?}");
    }

    #[test]
    fn message_that_fails_alone_keeps_its_waits_and_one_of_many_is_tried_soon() {
        let evidence = Evidence::new(retry());
        for seconds in [1, 2, 4, 8, 16, 32, 60] {
            waits(&fails(&evidence, Kind::Internal), seconds);
        }
        fails_as(&evidence, OTHER, Kind::Internal);
        let Verdict::Again { delay, .. } = fails(&evidence, Kind::Internal) else {
            panic!("given up");
        };
        assert!(delay <= LONGEST_WAIT.mul_f64(1.25), "{delay:?}");
    }

    #[test]
    fn wait_is_never_shorter_than_the_first_one_that_the_definition_says() {
        let evidence = Evidence::new(Retry::exponential(HOUR / 60..=HOUR));
        for seconds in [60, 120, 240] {
            waits(&fails(&evidence, Kind::Internal), seconds);
        }
        fails_as(&evidence, OTHER, Kind::Internal);
        waits(&fails(&evidence, Kind::Internal), 60);
    }
}

//! How long a message waits that has failed, and has waited before.

use std::time::Duration;

use super::Failure;
use crate::run::backoff::jitter;
use crate::service::consumer::retry::Retry;

/// The longest a message waits while nothing succeeds, unless its definition has longer waits only, and so
/// the longest that recovery takes once the cause is gone.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(6);

/// No function asks for less, unless its definition has shorter waits: a message that comes again at once
/// would run all the time.
const SHORTEST_ASKED: Duration = Duration::from_secs(1);

/// The wait after delivery `n`. While others fail too, the cause may be a common one, and once it is gone no
/// message must wait long.
pub(super) fn after(retry: &Retry, n: u64, is_outage: bool) -> Duration {
    let longest = if is_outage {
        LONGEST_WAIT.max(retry.wait(1))
    } else {
        Duration::MAX
    };
    jitter(retry.wait(n).min(longest))
}

/// The wait that the function asks for: never shorter, and up to a quarter longer, which spreads what was
/// refused together.
pub(super) fn asked(retry: &Retry, wait: Duration) -> Duration {
    let least = SHORTEST_ASKED.min(retry.wait(1));
    let wait = wait.min(retry.time()).max(least);
    wait.mul_f64(1.0 + 0.25 * fastrand::f64())
}

/// How long a message was tried before this process had it, by the deliveries until then and its age then. One
/// that is judged by itself has waited by its schedule, or as the function asks where that is less; any other
/// one, for all that is known, in an outage.
pub(super) fn before(retry: &Retry, (n, age): (u64, Duration), failure: Failure) -> Duration {
    let longest = if failure.own {
        failure.asked.unwrap_or(Duration::MAX)
    } else {
        LONGEST_WAIT
    };
    retry.sum(n, longest).min(age)
}

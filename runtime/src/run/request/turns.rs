//! How many requests are at work, wait for that, or wait with a refusal: more would fill the memory.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::outage::Outage;

/// How many requests may wait for their turn: more are refused at once.
pub(super) const MAX_WAITING: usize = 16_384;

/// How many refusals may wait to be sent: where the connection takes no more, further ones are dropped.
pub(super) const MAX_REFUSALS: usize = 16_384;

/// The turns of an endpoint. A request has its turn until its answer is sent.
pub(super) struct Turns {
    at_work: Semaphore,
    waiting: Semaphore,
    /// Answers without a turn.
    refusals: Semaphore,
    dropped: Outage,
}

impl Turns {
    pub(super) fn new(max_in_flight: usize) -> Self {
        Self {
            at_work: Semaphore::new(max_in_flight.min(Semaphore::MAX_PERMITS)),
            waiting: Semaphore::new(MAX_WAITING),
            refusals: Semaphore::new(MAX_REFUSALS),
            dropped: Outage::default(),
        }
    }

    /// Waits for a turn; returns the permit, and when it was acquired. None if that takes longer than
    /// the deadline, or too many wait.
    pub(super) async fn take(&self, deadline: Instant) -> Option<(SemaphorePermit<'_>, Instant)> {
        let now = Instant::now();
        if deadline <= now {
            return None;
        }
        if let Ok(turn) = self.at_work.try_acquire() {
            return Some((turn, now));
        }
        let _waiting = self.waiting.try_acquire().ok()?;
        let turn = Box::pin(timeout_at(deadline, self.at_work.acquire())).await;
        Some((turn.ok()?.ok()?, Instant::now()))
    }

    /// The place of a refusal among those that wait to be sent. None if there are too many.
    pub(super) fn refusal(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.refusals.try_acquire().ok();
        if place.is_some() {
            // Half of them are sent: the connection takes them again, and not one now and then.
            let sent = self.refusals.available_permits() > MAX_REFUSALS / 2;
            if sent && let Some(dropped) = self.dropped.ends() {
                tracing::info!(dropped, "refusals are sent again");
            }
        } else if self.dropped.fails() {
            tracing::warn!(
                "{MAX_REFUSALS} refusals wait to be sent, since the connection to NATS does not take them: further ones are dropped"
            );
        }
        place
    }
}

//! Where messages are handled: in place while that is quick, else each in a task of its own.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{BoxFuture, poll_fn};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::function::invoke::guard;

/// The most that the messages behind may be kept waiting, on average, by one that is handled in place.
const QUICK: Duration = Duration::from_micros(50);

/// Before anything is known nothing is handled in place.
const UNKNOWN: Duration = Duration::from_millis(1);

/// The average rises by this part of what is above it. One slow message in some hundreds keeps the others waiting
/// as much as many that are less slow, so it is felt at once, and for long.
const RISES: u64 = 64;

/// The average falls by this part of what is below it.
const FALLS: u64 = 1024;

/// How long the messages of a subscription take until their handling is finished or waits for something: a moving
/// average that is quicker to rise than to fall, in nanoseconds.
pub(super) struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(nanoseconds(UNKNOWN)))
    }
}

impl Pace {
    /// Handles a message that arrived just now. A task costs more than many a function, so where messages are
    /// quick this polls in place, and only what waits for something gets a task.
    pub(super) fn handle(
        self: &Arc<Self>,
        mut work: BoxFuture<'static, ()>,
        arrived: Instant,
        tasks: &TaskTracker,
    ) {
        if self.0.load(Relaxed) > nanoseconds(QUICK) {
            tasks.spawn(self.clone().observe(work));
            return;
        }
        // The task polls again at once, so nothing is missed that would wake this.
        let mut context = Context::from_waker(Waker::noop());
        let polled = guard(|| Ok(work.as_mut().poll(&mut context)));
        self.took(arrived.elapsed());
        // A panic ends this message alone, as it would in a task.
        if let Ok(Poll::Pending) = polled {
            tasks.spawn(work);
        }
    }

    /// Notes how long the first poll takes.
    async fn observe(self: Arc<Self>, mut work: BoxFuture<'static, ()>) {
        let first = poll_fn(|context| {
            let started = Instant::now();
            let polled = work.as_mut().poll(context);
            self.took(started.elapsed());
            Poll::Ready(polled)
        });
        if first.await.is_pending() {
            work.await;
        }
    }

    /// Two tasks may overwrite each other's: it is an estimate.
    fn took(&self, time: Duration) {
        let (average, time) = (self.0.load(Relaxed), nanoseconds(time));
        let next = if time > average {
            average + (time - average) / RISES
        } else {
            average - (average - time).div_ceil(FALLS)
        };
        self.0.store(next, Relaxed);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Mutex;
    use std::thread::{self, ThreadId};

    use super::*;

    /// A message that is handled at once, and notes in which task.
    fn noted(ids: &Arc<Mutex<Vec<Option<tokio::task::Id>>>>) -> BoxFuture<'static, ()> {
        let ids = ids.clone();
        Box::pin(async move { ids.lock().unwrap().push(tokio::task::try_id()) })
    }

    fn quick() -> Arc<Pace> {
        let pace = Arc::new(Pace::default());
        for _ in 0..10 * FALLS {
            pace.took(Duration::from_micros(1));
        }
        pace
    }

    #[tokio::test]
    async fn quick_messages_are_handled_in_place_once_they_are_known_to_be_quick() {
        let (pace, tasks, ids) = (
            Arc::new(Pace::default()),
            TaskTracker::new(),
            Arc::default(),
        );
        pace.handle(noted(&ids), Instant::now(), &tasks);
        assert_eq!(tasks.len(), 1, "nothing is known of them");
        quick().handle(noted(&ids), Instant::now(), &tasks);
        assert_eq!(
            *ids.lock().unwrap(),
            [None],
            "in place, and the other has not begun"
        );
        tasks.close();
        tasks.wait().await;
        assert!(ids.lock().unwrap()[1].is_some(), "in a task");
    }

    #[tokio::test]
    async fn a_panic_ends_one_message_alone() {
        let (pace, tasks, ids) = (quick(), TaskTracker::new(), Arc::default());
        pace.handle(
            Box::pin(async { panic!("in place") }),
            Instant::now(),
            &tasks,
        );
        assert!(tasks.is_empty(), "in place");
        pace.handle(noted(&ids), Instant::now(), &tasks);
        // A panic takes its time, so the next may have a task.
        tasks.close();
        tasks.wait().await;
        assert_eq!(ids.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn one_slow_message_in_some_hundreds_gives_each_a_task() {
        let (pace, tasks) = (quick(), TaskTracker::new());
        for _ in 0..10 {
            pace.took(Duration::from_millis(20));
            (0..500).for_each(|_| pace.took(Duration::from_micros(1)));
            pace.handle(Box::pin(pending()), Instant::now(), &tasks);
        }
        assert_eq!(tasks.len(), 10);
        assert!(pace.0.load(Relaxed) > nanoseconds(QUICK));
    }

    #[tokio::test]
    async fn what_waits_for_something_goes_on_in_a_task() {
        let (pace, tasks) = (quick(), TaskTracker::new());
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            let _ = receiver.await;
        };
        pace.handle(Box::pin(work), Instant::now(), &tasks);
        pace.handle(Box::pin(pending()), Instant::now(), &TaskTracker::new());
        assert_eq!(tasks.len(), 1);
        tasks.close();
        sender.send(()).unwrap();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn slow_messages_have_tasks_until_they_are_quick_again() {
        let (pace, tasks) = (quick(), TaskTracker::new());
        pace.took(Duration::from_secs(1));
        pace.handle(Box::pin(ready(())), Instant::now(), &tasks);
        assert_eq!(tasks.len(), 1);
        for _ in 0..20 * FALLS {
            pace.handle(Box::pin(ready(())), Instant::now(), &tasks);
            tokio::task::yield_now().await;
        }
        tasks.close();
        tasks.wait().await;
        let here = Arc::new(Mutex::new(None::<ThreadId>));
        let noted = here.clone();
        let work = async move { *noted.lock().unwrap() = Some(thread::current().id()) };
        pace.handle(Box::pin(work), Instant::now(), &tasks);
        assert_eq!(
            *here.lock().unwrap(),
            Some(thread::current().id()),
            "in place again"
        );
    }
}

//! Runs background work, and starts it again after each failure.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::backoff::backoff;
use crate::function::invoke;
use crate::nats::connect::TELL;
use crate::service::Task;
use crate::service::background::Background;

/// Work that has failed goes on again once it has lasted this long.
const STEADY: Duration = Duration::from_secs(30);

/// Work that was begun again and has lasted this long is at work, as far as anybody can tell.
const BEGUN: Duration = Duration::from_secs(1);

/// Why background work is not at work; none while it is.
pub(super) type Failure = Arc<Mutex<Option<String>>>;

/// Work that fails.
struct Failing {
    tries: u64,
    began: Instant,
    told: Option<Instant>,
}

/// Does the work until it has ended or is told to stop, again after each failure. The log says when
/// it begins to fail, once a minute, and when it goes on.
pub(super) async fn work(task: Task, mut background: Background, failure: Failure) {
    let function = task.function.as_str();
    let mut failing: Option<Failing> = None;
    loop {
        let given = background.clone();
        let run = async { (task.run)(given).await };
        let mut run = std::pin::pin!(invoke::background(run));
        let early = match &failing {
            None => None,
            Some(_) => match tokio::time::timeout(BEGUN, &mut run).await {
                Ok(ended) => Some(ended),
                Err(_) => {
                    *failure.lock() = None;
                    tokio::time::timeout(STEADY - BEGUN, &mut run).await.ok()
                }
            },
        };
        let ended = match early {
            Some(ended) => ended,
            None => {
                if let Some(Failing { tries, began, .. }) = failing.take() {
                    let lasted = began.elapsed().as_secs();
                    tracing::info!(function, tries, lasted, "background work goes on");
                }
                run.await
            }
        };
        let Err(error) = ended else {
            *failure.lock() = None;
            return;
        };
        *failure.lock() = Some(error.to_string());
        let now = Instant::now();
        let failing = failing.get_or_insert(Failing {
            tries: 0,
            began: now,
            told: None,
        });
        failing.tries += 1;
        if failing.told.is_none_or(|told| now - told >= TELL) {
            failing.told = Some(now);
            let tries = failing.tries;
            tracing::warn!(function, tries, %error, "background work failed and begins again");
        }
        tokio::select! {
            () = sleep(backoff(failing.tries)) => {}
            () = background.stopped() => return,
        }
    }
}

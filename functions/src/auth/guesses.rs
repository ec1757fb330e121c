//! Wrong passwords: a few are forgiven, more must wait.

use std::collections::HashMap;
use std::time::Duration;

use natsfn::{Error, Kind, Result};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

/// How many keys are remembered before those that are forgiven are removed.
const CLEAN_AT: usize = 4_096;

/// Wrong passwords of many: each key has some at once, and one more after each pause. A right
/// password costs nothing, and a wrong one is forgiven soon, so guessing is slow and nobody is
/// locked out for long.
pub struct Guesses {
    at_once: u32,
    pause: Duration,
    keys: Mutex<HashMap<String, Tries>>,
}

/// The tries of a key.
struct Tries {
    /// Until when its wrong passwords are remembered.
    wrong_until: Instant,
    /// Those that nobody has decided yet: each may turn out to be wrong.
    undecided: u32,
}

/// A try that has begun. Dropped without [`Guess::failed`], it costs nothing.
pub struct Guess<'a> {
    of: &'a Guesses,
    key: String,
}

impl Guesses {
    /// `at_once` wrong passwords, and one more after each `pause`.
    pub fn new(at_once: u32, pause: Duration) -> Self {
        Self {
            at_once,
            pause,
            keys: Mutex::default(),
        }
    }

    /// Begins a try, which counts as wrong until it is decided: many at once are no way around the
    /// limit.
    ///
    /// # Errors
    /// [`Kind::TooManyRequests`] after too many wrong passwords, [`Kind::Unavailable`] while too many
    /// tries are undecided.
    pub fn begin(&self, key: &str) -> Result<Guess<'_>> {
        let now = Instant::now();
        let mut keys = self.keys.lock();
        if keys.len() >= CLEAN_AT {
            keys.retain(|_, tries| tries.undecided > 0 || tries.wrong_until > now);
        }
        let tries = keys.entry(key.to_owned()).or_insert(Tries {
            wrong_until: now,
            undecided: 0,
        });
        let spent = tries.wrong_until.saturating_duration_since(now);
        let all_but_one = self.pause * (self.at_once - 1);
        let wait = spent.saturating_sub(all_but_one);
        if !wait.is_zero() {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            let said = format!("too many wrong passwords: try again in {wait_ms} ms");
            return Err(Error::new(Kind::TooManyRequests, said)
                .with_details(json!({ "retry_after_ms": wait_ms })));
        }
        // Nobody is refused for what may turn out to be right.
        if spent + self.pause * tries.undecided > all_but_one {
            return Err(Error::unavailable("too many log-ins at once, try again"));
        }
        tries.undecided += 1;
        Ok(Guess {
            of: self,
            key: key.to_owned(),
        })
    }
}

impl Guess<'_> {
    /// The password was wrong.
    pub fn failed(self) {
        let now = Instant::now();
        if let Some(tries) = self.of.keys.lock().get_mut(&self.key) {
            tries.wrong_until = tries.wrong_until.max(now) + self.of.pause;
        }
    }
}

impl Drop for Guess<'_> {
    fn drop(&mut self) {
        if let Some(tries) = self.of.keys.lock().get_mut(&self.key) {
            tries.undecided -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn guesses() -> Guesses {
        Guesses::new(3, Duration::from_secs(5))
    }

    #[tokio::test(start_paused = true)]
    async fn after_some_wrong_passwords_there_is_one_more_each_pause() {
        let guesses = guesses();
        let guess = |key| guesses.begin(key).map(Guess::failed);
        let pass = |seconds| advance(Duration::from_secs(seconds));
        for _ in 0..3 {
            guess("alice").unwrap();
        }

        pass(1).await;
        let refused = guess("alice").unwrap_err();
        assert_eq!(refused.kind(), Kind::TooManyRequests);
        assert_eq!(refused.details().unwrap()["retry_after_ms"], 4_000);
        guess("bob").unwrap();

        pass(4).await;
        guess("alice").unwrap();
        pass(4).await;
        guess("alice").unwrap_err();
        pass(1).await;
        guess("alice").unwrap();
        // All is forgiven in the end.
        pass(60).await;
        for _ in 0..3 {
            guess("alice").unwrap();
        }
        guess("alice").unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn try_counts_as_wrong_until_it_is_decided() {
        let guesses = guesses();
        guesses.begin("alice").unwrap().failed();
        let (first, second) = (
            guesses.begin("alice").unwrap(),
            guesses.begin("alice").unwrap(),
        );

        let refused = guesses.begin("alice").err().unwrap();
        assert_eq!(refused.kind(), Kind::Unavailable);
        guesses.begin("bob").unwrap();

        drop(first);
        second.failed();
        guesses.begin("alice").unwrap().failed();
        let refused = guesses.begin("alice").err().unwrap();
        assert_eq!(refused.kind(), Kind::TooManyRequests);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgiven_takes_no_memory() {
        let guesses = guesses();
        let undecided = guesses.begin("undecided").unwrap();
        for n in 1..CLEAN_AT {
            guesses.begin(&n.to_string()).unwrap().failed();
        }
        advance(Duration::from_secs(6)).await;
        guesses.begin("last").unwrap().failed();
        assert_eq!(guesses.keys.lock().len(), 2);
        drop(undecided);
    }
}

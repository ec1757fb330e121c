//! Wrong passwords: a few are forgiven, more must wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use natsfn::{Error, Kind, Result};
use parking_lot::Mutex;
use serde_json::json;

/// How many wrong passwords are remembered before those that are forgiven are removed.
const CLEAN_AT: usize = 4_096;

/// Wrong passwords of many: each key has some at once, and one more after each pause. A right
/// password costs nothing, and a wrong one is forgiven soon, so guessing is slow and nobody is
/// locked out for long.
pub struct Guesses {
    at_once: u32,
    pause: Duration,
    /// By key: until when its wrong passwords are remembered.
    wrong: Mutex<HashMap<String, Instant>>,
}

impl Guesses {
    /// `at_once` wrong passwords, and one more after each `pause`.
    pub fn new(at_once: u32, pause: Duration) -> Self {
        Self {
            at_once,
            pause,
            wrong: Mutex::default(),
        }
    }

    /// Whether a key may try again.
    ///
    /// # Errors
    /// [`Kind::TooManyRequests`] after too many wrong passwords.
    pub fn check(&self, key: &str, now: Instant) -> Result<()> {
        let wrong = self.wrong.lock();
        let Some(until) = wrong.get(key) else {
            return Ok(());
        };
        let all_but_one = self.pause * (self.at_once - 1);
        let wait = until.saturating_duration_since(now + all_but_one);
        if wait.is_zero() {
            return Ok(());
        }
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let said = format!("too many wrong passwords: try again in {wait_ms} ms");
        Err(Error::new(Kind::TooManyRequests, said)
            .with_details(json!({ "retry_after_ms": wait_ms })))
    }

    /// Counts a wrong password.
    pub fn add(&self, key: &str, now: Instant) {
        let mut wrong = self.wrong.lock();
        if wrong.len() >= CLEAN_AT {
            wrong.retain(|_, until| *until > now);
        }
        let until = wrong.entry(key.to_owned()).or_insert(now);
        *until = (*until).max(now) + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_wrong_passwords_there_is_one_more_each_pause() {
        let guesses = Guesses::new(3, Duration::from_secs(5));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            guesses.check("alice", at(0)).unwrap();
            guesses.add("alice", at(0));
        }

        let refused = guesses.check("alice", at(1)).unwrap_err();
        assert_eq!(refused.kind(), Kind::TooManyRequests);
        assert_eq!(refused.details().unwrap()["retry_after_ms"], 4_000);
        guesses.check("bob", at(1)).unwrap();

        guesses.check("alice", at(5)).unwrap();
        guesses.add("alice", at(5));
        guesses.check("alice", at(9)).unwrap_err();
        guesses.check("alice", at(10)).unwrap();
        // All is forgiven in the end.
        for _ in 0..3 {
            guesses.check("alice", at(60)).unwrap();
            guesses.add("alice", at(60));
        }
        guesses.check("alice", at(60)).unwrap_err();
    }

    #[test]
    fn what_is_forgiven_takes_no_memory() {
        let guesses = Guesses::new(3, Duration::from_secs(5));
        let start = Instant::now();
        for n in 0..CLEAN_AT {
            guesses.add(&n.to_string(), start);
        }
        guesses.add("last", start + Duration::from_secs(6));
        assert_eq!(guesses.wrong.lock().len(), 1);
    }
}

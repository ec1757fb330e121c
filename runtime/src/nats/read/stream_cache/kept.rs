//! The answers that are kept, and which of them go first.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashlink::LinkedHashMap;

use crate::function::reply::Response;
use crate::nats::read::head::Head;

/// What an answer takes beside its payload, headers and subject: its place in the map, and what the
/// allocator rounds up.
const OVERHEAD: usize = 512;

/// A subject, and what was asked about it.
pub(super) type Key<Q> = (Arc<str>, Q);

/// Answers, the least recently used first.
pub(super) struct Kept<Q: Eq + Hash> {
    entries: LinkedHashMap<Key<Q>, Entry>,
    bytes: usize,
    max_bytes: usize,
    max_age: Duration,
}

/// An answer that is valid while its subject has this last message.
pub(super) struct Entry {
    pub(super) answer: Response,
    /// What a look found before it was read.
    pub(super) head: Head,
    /// When it began to be read.
    pub(super) since: Instant,
}

impl<Q: Eq + Hash> Kept<Q> {
    pub(super) fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            entries: LinkedHashMap::new(),
            bytes: 0,
            max_bytes,
            max_age,
        }
    }

    /// Whether there is an answer that a look at the stream may find valid.
    pub(super) fn has(&mut self, key: &Key<Q>) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| entry.since.elapsed() < self.max_age)
    }

    /// The answer, if this is the last message still. One that it is not ends here: the next question
    /// needs no look to find that out.
    pub(super) fn get(&mut self, key: &Key<Q>, head: &Head) -> Option<Response> {
        if !self.has(key) {
            return None;
        }
        if self.entries.get(key)?.head != *head {
            self.remove(key);
            return None;
        }
        let entry = self.entries.to_back(key)?;
        Some(entry.answer.clone())
    }

    pub(super) fn keep(&mut self, key: Key<Q>, entry: Entry) {
        self.remove(&key);
        self.bytes += size(&key, &entry);
        self.entries.insert(key, entry);
        // What is over answers nothing, so it comes to the front.
        while (self.bytes > self.max_bytes || self.is_front_over())
            && let Some((key, entry)) = self.entries.pop_front()
        {
            self.bytes -= size(&key, &entry);
        }
    }

    fn is_front_over(&self) -> bool {
        let front = self.entries.front();
        front.is_some_and(|(_, entry)| entry.since.elapsed() >= self.max_age)
    }

    fn remove(&mut self, key: &Key<Q>) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.bytes -= size(&key, &entry);
        }
    }
}

/// What an entry takes, in bytes.
fn size<Q>((subject, _): &Key<Q>, entry: &Entry) -> usize {
    let headers = entry.answer.headers.iter();
    let headers = headers.flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values
            .iter()
            .map(|value| name.len() + value.as_str().len() + OVERHEAD / 4)
    });
    size_of::<Q>() + subject.len() + entry.answer.payload.len() + headers.sum::<usize>() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn key(subject: &str) -> Key<()> {
        (subject.into(), ())
    }

    fn entry(connects: u64, age: Duration) -> Entry {
        Entry {
            answer: Response::json(&1).unwrap(),
            head: Head::of_none(connects),
            since: Instant::now().checked_sub(age).unwrap(),
        }
    }

    #[test]
    fn answer_ends_when_another_last_message_is_seen() {
        let mut kept = Kept::new(1 << 20, HOUR);
        kept.keep(key("a"), entry(1, Duration::ZERO));
        assert!(kept.get(&key("a"), &Head::of_none(1)).is_some());
        assert!(kept.get(&key("a"), &Head::of_none(2)).is_none());
        assert!(!kept.has(&key("a")));
        assert_eq!(kept.bytes, 0);
    }

    #[test]
    fn answers_that_are_over_take_no_memory_once_another_one_is_kept() {
        let mut kept = Kept::new(1 << 20, HOUR);
        for subject in ["a", "b", "c"] {
            kept.keep(key(subject), entry(1, HOUR / 2));
        }
        let one = kept.bytes / 3;
        kept.max_age = HOUR / 4;
        kept.keep(key("d"), entry(1, Duration::ZERO));
        assert_eq!((kept.entries.len(), kept.bytes), (1, one));
        assert!(kept.has(&key("d")));
    }
}

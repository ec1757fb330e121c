//! A subject's messages without a gap between them. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A message, and what was made of it.
pub(super) struct Link<T> {
    pub(super) seq: u64,
    pub(super) time_ns: i64,
    /// What it took on the wire.
    pub(super) bytes: usize,
    /// When it came.
    pub(super) came: Instant,
    pub(super) value: T,
}

/// A subject's newest messages: each names the one before it, so none is missing between them.
pub(super) struct Chain<T> {
    links: VecDeque<Link<T>>,
    /// Between this sequence and the first message that is held, the subject has none.
    above: u64,
    /// The last message's sequence, also where it is held no longer; `None` before the first.
    last: Option<u64>,
    /// When the first message came. Those that are held no longer count.
    began: Instant,
    /// Of the connection: messages may have been missed between two.
    connects: u64,
    bytes: usize,
}

impl<T> Chain<T> {
    pub(super) fn new() -> Self {
        Self {
            links: VecDeque::new(),
            above: 0,
            last: None,
            began: Instant::now(),
            connects: 0,
            bytes: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn connects(&self) -> u64 {
        self.connects
    }

    /// Whether there is nothing to wait for: it has come to this sequence, or has not begun.
    pub(super) fn has_reached(&self, seq: u64) -> bool {
        self.last.is_none_or(|last| last >= seq)
    }

    /// Adds a message, which says that its subject's message before it has the sequence `previous`, 0 for none or an
    /// unknown one. Where that is not the last one here, a new chain begins.
    pub(super) fn push(&mut self, link: Link<T>, previous: u64, connects: u64) {
        let follows = self.last == Some(previous) && self.connects == connects;
        if !follows || previous >= link.seq {
            self.end();
            // Unknown is not none: nothing is known of what comes before.
            self.above = match previous {
                0 => link.seq.saturating_sub(1),
                previous => previous.min(link.seq.saturating_sub(1)),
            };
            (self.began, self.connects) = (link.came, connects);
        }
        self.last = Some(link.seq);
        self.bytes += link.bytes;
        self.links.push_back(link);
    }

    /// Ends the chain: the next message begins one.
    pub(super) fn end(&mut self) {
        self.links.clear();
        (self.last, self.bytes) = (None, 0);
    }

    /// Drops the first message.
    pub(super) fn drop_first(&mut self) {
        if let Some(link) = self.links.pop_front() {
            self.above = link.seq;
            self.bytes -= link.bytes;
        }
    }

    /// Drops the messages that came longer ago.
    pub(super) fn drop_older(&mut self, age: Duration) {
        let is_older = |link: &Link<T>| link.came.elapsed() > age;
        while self.links.front().is_some_and(is_older) {
            self.drop_first();
        }
    }
}

impl<T: Clone> Chain<T> {
    /// The subject's messages above a sequence, up to this message; `None` if they may not be all, or are not those of
    /// the stream as it was at `known`.
    pub(super) fn between(
        &self,
        above: u64,
        (seq, time_ns): (u64, i64),
        known: Instant,
        connects: u64,
    ) -> Option<Vec<(u64, T)>> {
        if self.above > above || self.began > known || self.connects != connects {
            return None;
        }
        let end = self.links.partition_point(|link| link.seq <= seq);
        // A stream that was made again, or put back to an older state, has another message with this sequence.
        let last = self.links.get(end.checked_sub(1)?)?;
        if (last.seq, last.time_ns) != (seq, time_ns) {
            return None;
        }
        let first = self.links.partition_point(|link| link.seq <= above);
        let messages = self.links.range(first.min(end)..end);
        Some(
            messages
                .map(|link| (link.seq, link.value.clone()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with this sequence; its time is that of its stream.
    fn link(seq: u64, time_ns: i64) -> Link<u64> {
        Link {
            seq,
            time_ns,
            bytes: 10,
            came: Instant::now(),
            value: seq * 100,
        }
    }

    /// 3, 5 and 8, of a subject that has 1 too.
    fn chain() -> Chain<u64> {
        let mut chain = Chain::new();
        for (previous, seq) in [(1, 3), (3, 5), (5, 8)] {
            chain.push(link(seq, 1), previous, 1);
        }
        chain
    }

    fn seqs(chain: &Chain<u64>, above: u64, last: (u64, i64)) -> Option<Vec<u64>> {
        let held = chain.between(above, last, Instant::now(), 1)?;
        assert!(held.iter().all(|(seq, value)| *value == seq * 100));
        Some(held.into_iter().map(|(seq, _)| seq).collect())
    }

    #[test]
    fn messages_are_told_where_none_is_missing() {
        let chain = chain();
        for (above, last, told) in [
            (1, 8, Some(vec![3, 5, 8])),
            (2, 5, Some(vec![3, 5])),
            (3, 8, Some(vec![5, 8])),
            (7, 8, Some(vec![8])),
            (8, 8, Some(vec![])),
            // 1 is not held.
            (0, 8, None),
            // Not a message of the subject as it was heard, or not yet.
            (3, 7, None),
            (3, 9, None),
            (1, 1, None),
        ] {
            assert_eq!(seqs(&chain, above, (last, 1)), told, "{above} {last}");
        }
    }

    #[test]
    fn other_message_with_the_same_sequence_is_of_another_stream() {
        assert_eq!(seqs(&chain(), 3, (8, 2)), None);
    }

    #[test]
    fn what_was_missed_begins_a_new_chain() {
        // Missed; of a stream that was made again; unknown; of another connection.
        for (previous, seq, connects, above) in
            [(9, 10, 1, 9), (2, 4, 1, 2), (0, 9, 1, 8), (8, 9, 2, 8)]
        {
            let mut chain = chain();
            chain.push(link(seq, 1), previous, connects);
            let told = |above| {
                let held = chain.between(above, (seq, 1), Instant::now(), connects);
                held.map(|held| held.len())
            };
            assert_eq!(told(above), Some(1), "{previous} {seq}");
            assert_eq!(told(above - 1), None, "{previous} {seq}");
            assert_eq!(chain.bytes(), 10);
        }
    }

    #[test]
    fn chain_that_began_after_the_caller_looked_at_the_stream_may_be_of_another_one() {
        let before = Instant::now();
        let chain = chain();
        assert!(chain.between(1, (8, 1), before, 1).is_none());
        assert!(chain.between(1, (8, 1), Instant::now(), 1).is_some());
        assert!(
            chain.between(1, (8, 1), Instant::now(), 2).is_none(),
            "reconnected"
        );
    }

    #[test]
    fn what_is_dropped_is_not_told_and_the_rest_is() {
        let mut chain = chain();
        chain.drop_first();
        assert_eq!(seqs(&chain, 2, (8, 1)), None);
        assert_eq!(seqs(&chain, 3, (8, 1)), Some(vec![5, 8]));
        chain.drop_older(Duration::from_secs(60));
        assert_eq!(chain.bytes(), 20);
        chain.drop_older(Duration::ZERO);
        assert_eq!((chain.bytes(), seqs(&chain, 8, (8, 1))), (0, None));
        // It goes on.
        chain.push(link(9, 1), 8, 1);
        assert_eq!(seqs(&chain, 8, (9, 1)), Some(vec![9]));
        assert!(chain.has_reached(9) && !chain.has_reached(10));
        chain.end();
        assert!(
            chain.has_reached(10),
            "nobody waits for a chain that has not begun"
        );
        chain.drop_first();
        assert_eq!(chain.bytes(), 0);
    }
}

//! A set of sequences, kept as ranges.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// So many ranges take a few MB.
const MOST: usize = 100_000;

/// Sequences; consecutive ones take the room of one.
#[derive(Debug, Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a sequence; forgets the lowest ones where there are too many ranges.
    pub(crate) fn insert(&mut self, seq: u64) {
        let before = self.0.range(..=seq).next_back();
        let (mut first, mut last) = (seq, seq);
        if let Some((&start, &end)) = before {
            if end >= seq {
                return;
            }
            if end + 1 == seq {
                first = start;
            }
        }
        if let Some(end) = self.0.remove(&(seq + 1)) {
            last = end;
        }
        self.0.insert(first, last);
        if self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// Forgets everything up to a sequence.
    pub(crate) fn forget_to(&mut self, seq: u64) {
        let rest = self.0.split_off(&(seq + 1));
        if let Some((_, &end)) = self.0.last_key_value()
            && end > seq
        {
            self.0 = rest;
            self.0.insert(seq + 1, end);
        } else {
            self.0 = rest;
        }
    }

    /// Forgets everything after a sequence.
    pub(crate) fn forget_after(&mut self, seq: u64) {
        self.0.split_off(&(seq + 1));
        if let Some(mut last) = self.0.last_entry() {
            *last.get_mut() = seq.min(*last.get());
        }
    }

    /// The parts of `range` that are not in the set.
    pub(crate) fn gaps(&self, range: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
        let (mut next, last) = range.into_inner();
        let mut gaps = Vec::new();
        if let Some((_, &end)) = self.0.range(..=next).next_back() {
            next = next.max(end + 1);
        }
        for (&start, &end) in self.0.range(next..) {
            if start > last {
                break;
            }
            if start > next {
                gaps.push(next..=start - 1);
            }
            next = end + 1;
        }
        if next <= last {
            gaps.push(next..=last);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Ranges;

    proptest! {
        #[test]
        fn gaps_are_what_was_not_inserted(
            inserted in proptest::collection::btree_set(1u64..60, 0..60),
            (from, to) in (1u64..60, 1u64..60),
            (floor, top) in (0u64..60, 0u64..70),
        ) {
            let mut ranges = Ranges::default();
            for seq in &inserted {
                ranges.insert(*seq);
            }
            ranges.forget_to(floor);
            ranges.forget_after(top);
            let gaps: Vec<u64> = ranges.gaps(from..=to).into_iter().flatten().collect();
            let expected: Vec<u64> = (from..=to)
                .filter(|seq| *seq <= floor || *seq > top || !inserted.contains(seq))
                .collect();
            prop_assert_eq!(gaps, expected);
        }
    }
}

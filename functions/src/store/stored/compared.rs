//! How far the rows and the log have been compared. Pure.

/// Sequences without a row, whose messages the log no longer holds.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) count: usize,
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Lost {
    /// Adds sequences, which come in ascending order.
    fn add(&mut self, seqs: &[i64]) {
        if let (Some(from), Some(to)) = (seqs.first(), seqs.last()) {
            self.from = if self.count == 0 { *from } else { self.from };
            self.to = *to;
            self.count += seqs.len();
        }
    }
}

/// What the log holds at sequences without a row.
#[derive(Default)]
pub(super) struct Look {
    /// The first one whose message must be stored.
    pub(super) needed: Option<i64>,
    /// Those below it that the log no longer holds.
    pub(super) vanished: Vec<i64>,
}

/// How far the database and the log have been compared.
pub(super) struct Compared {
    /// The first sequence that the log holds.
    first: i64,
    /// The saved floor.
    floor: i64,
    /// Up to here everything that needs a row has one.
    pub(super) stored: i64,
    /// How many of those above the floor have none.
    pub(super) without_row: usize,
    /// Those that the log holds and that need none.
    pub(super) seen: Vec<i64>,
    pub(super) lost: Lost,
}

impl Compared {
    /// Starts below the log's first message or at the saved floor, whichever is lower.
    pub(super) fn new(first: i64, floor: i64) -> Self {
        Self {
            first,
            floor,
            stored: floor.min(first - 1),
            without_row: 0,
            seen: Vec::new(),
            lost: Lost::default(),
        }
    }

    /// Adds the sequences up to `end`, of which `missing` have no row, and what the log says of these.
    /// False where it ends at a gap.
    pub(super) fn add(&mut self, end: i64, missing: &[i64], mut look: Look) -> bool {
        let (gone, held) = missing.split_at(self.held_from(missing));
        self.lost.add(gone);
        look.vanished.retain(|seq| *seq > self.floor);
        self.lost.add(&look.vanished);
        let needs_none = |seq: &&i64| look.needed.is_none_or(|needed| **seq < needed);
        let passed = missing.iter().filter(needs_none);
        self.without_row += passed.filter(|seq| **seq > self.floor).count();
        self.seen.extend(held.iter().filter(needs_none));
        self.stored = look.needed.map_or(end, |seq| seq - 1);
        look.needed.is_none()
    }

    /// Which of these sequences is the first that the log may still hold.
    pub(super) fn held_from(&self, seqs: &[i64]) -> usize {
        seqs.partition_point(|seq| *seq < self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(needed: i64, vanished: &[i64]) -> Look {
        Look {
            needed: Some(needed),
            vanished: vanished.to_vec(),
        }
    }

    fn vanished(vanished: &[i64]) -> Look {
        Look {
            needed: None,
            vanished: vanished.to_vec(),
        }
    }

    fn bounds(lost: &Lost) -> (usize, i64, i64) {
        (lost.count, lost.from, lost.to)
    }

    #[test]
    fn gap_ends_what_is_stored_and_nothing_above_it_counts() {
        let mut compared = Compared::new(1, 0);
        assert!(!compared.add(10, &[3, 5, 8], needed(5, &[])));
        assert_eq!((compared.stored, compared.without_row), (4, 1));
        assert_eq!(compared.seen, [3]);
        assert_eq!(compared.lost.count, 0);
    }

    #[test]
    fn gap_at_the_first_sequence_leaves_nothing_stored() {
        let mut compared = Compared::new(1, 0);
        assert!(!compared.add(10, &[1, 2], needed(1, &[])));
        assert_eq!((compared.stored, compared.without_row), (0, 0));
        assert!(compared.seen.is_empty());
    }

    #[test]
    fn parts_without_a_gap_add_up() {
        let mut compared = Compared::new(1, 0);
        assert!(compared.add(10, &[3, 8], Look::default()));
        assert!(compared.add(20, &[], Look::default()));
        assert!(compared.add(30, &[21], Look::default()));
        assert_eq!((compared.stored, compared.without_row), (30, 3));
        assert_eq!(compared.seen, [3, 8, 21]);
        assert_eq!(compared.lost.count, 0);
    }

    #[test]
    fn sequences_that_the_log_has_dropped_are_lost_and_not_seen_again() {
        let mut compared = Compared::new(6, 2);
        assert_eq!(compared.stored, 2);
        assert_eq!(compared.held_from(&[3, 5, 7, 9]), 2);
        assert!(!compared.add(10, &[3, 5, 7, 9], needed(9, &[7])));
        assert_eq!((compared.stored, compared.without_row), (8, 3));
        assert_eq!(compared.seen, [7]);
        assert_eq!(bounds(&compared.lost), (3, 3, 7));
    }

    #[test]
    fn rows_below_the_floor_may_have_been_deleted_and_count_as_no_loss() {
        let mut compared = Compared::new(1, 4);
        assert_eq!(compared.stored, 0);
        assert!(compared.add(10, &[3, 7], vanished(&[3, 7])));
        assert_eq!((compared.stored, compared.without_row), (10, 1));
        assert_eq!(compared.seen, [3, 7]);
        assert_eq!(bounds(&compared.lost), (1, 7, 7));
    }
}

//! Which part of the log's tail a page needs. Pure.

use crate::store::epoch::Life;
use crate::store::rows::{Cursor, Position};

/// Sequences of the log as it is now: those above one, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The page needs nothing up to here.
    pub above: u64,
    /// The page needs nothing above this.
    pub upto: u64,
}

impl Window {
    /// The part of the log that a page may need: up to `floor`, everything of this life is stored.
    pub fn of(cursor: Cursor, life: &Life, floor: u64) -> Self {
        let all = Self {
            above: floor,
            upto: u64::MAX,
        };
        match cursor {
            Cursor::Last => all,
            Cursor::Before(at) => all.below(life, at),
            Cursor::After(at) => all.beyond(life, at),
        }
    }

    /// Narrows the window if the database fills the page up to the row at `furthest`. Rows are
    /// never deleted, so nothing beyond that row can be on the page, however low the floor.
    #[must_use]
    pub fn filled_up_to(self, cursor: Cursor, life: &Life, furthest: Position) -> Self {
        match cursor {
            Cursor::After(_) => self.below(life, furthest),
            Cursor::Last | Cursor::Before(_) => self.beyond(life, furthest),
        }
    }

    /// Whether it reaches to the log's end, wherever that is.
    pub fn is_open(self) -> bool {
        self.upto == u64::MAX
    }

    fn below(self, life: &Life, at: Position) -> Self {
        Self {
            upto: self.upto.min(life.seqs_below(at)),
            ..self
        }
    }

    fn beyond(self, life: &Life, at: Position) -> Self {
        Self {
            above: self.above.max(life.seqs_upto(at)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: i64, seq: i64) -> Position {
        Position { epoch, seq }
    }

    /// Epoch 2 alone.
    fn life() -> Life {
        Life::of_epochs(&[(2, 0)])
    }

    fn window(above: u64, upto: u64) -> Window {
        Window { above, upto }
    }

    fn is_empty(window: Window) -> bool {
        window.upto <= window.above
    }

    #[test]
    fn window_is_above_the_floor_and_in_the_pages_direction() {
        let of = |cursor| Window::of(cursor, &life(), 100);
        let all = window(100, u64::MAX);
        assert_eq!(of(Cursor::Last), all);
        assert_eq!(of(Cursor::After(at(1, 999))), all);
        assert_eq!(of(Cursor::After(at(2, 50))), all);
        assert_eq!(of(Cursor::After(at(2, 150))), window(150, u64::MAX));
        assert_eq!(of(Cursor::Before(at(2, 150))), window(100, 149));
        assert_eq!(of(Cursor::Before(at(3, 1))), all);
        for empty in [
            Cursor::Before(at(2, 101)),
            Cursor::Before(at(2, -7)),
            Cursor::Before(at(1, 999)),
            Cursor::After(at(3, 1)),
        ] {
            assert!(is_empty(of(empty)), "{empty:?}");
        }
    }

    #[test]
    fn window_ends_at_the_furthest_row_if_the_database_fills_the_page() {
        let filled = |cursor, furthest| {
            Window::of(cursor, &life(), 100).filled_up_to(cursor, &life(), furthest)
        };
        let before = Cursor::Before(at(2, 500));
        assert_eq!(filled(Cursor::Last, at(2, 400)), window(400, u64::MAX));
        assert_eq!(filled(Cursor::Last, at(1, 400)), window(100, u64::MAX));
        assert_eq!(filled(before, at(2, 400)), window(400, 499));
        assert_eq!(filled(before, at(2, 7)), window(100, 499));
        assert_eq!(
            filled(Cursor::After(at(2, 150)), at(2, 200)),
            window(150, 199)
        );
        assert!(is_empty(filled(Cursor::After(at(1, 1)), at(1, 400))));
    }

    #[test]
    fn window_across_a_rollback_is_in_the_pages_direction() {
        // Rolled back to 10, when it had come to 50.
        let life = Life::of_epochs(&[(2, 0), (3, 11)]);
        let of = |cursor, floor| Window::of(cursor, &life, floor);
        assert_eq!(of(Cursor::Last, 8), window(8, u64::MAX));
        assert_eq!(of(Cursor::After(at(2, 50)), 8), window(10, u64::MAX));
        assert_eq!(of(Cursor::After(at(2, 9)), 8), window(9, u64::MAX));
        assert_eq!(of(Cursor::After(at(3, 15)), 8), window(15, u64::MAX));
        assert_eq!(of(Cursor::Before(at(2, 50)), 8), window(8, 10));
        assert_eq!(of(Cursor::Before(at(3, 11)), 8), window(8, 10));
        assert_eq!(of(Cursor::Before(at(3, 15)), 8), window(8, 14));
        assert_eq!(of(Cursor::Before(at(4, 1)), 8), window(8, u64::MAX));
        let filled = of(Cursor::Last, 8).filled_up_to(Cursor::Last, &life, at(2, 40));
        assert_eq!(filled, window(10, u64::MAX));
    }
}

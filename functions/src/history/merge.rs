//! Merges a room's rows with the log's tail. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::store::rows::{Cursor, Position, Row};
use crate::tail::waiting::Waiting;

/// A page of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Oldest first.
    pub rows: Vec<Row>,
    /// Whether there are more in the page's direction.
    pub more: bool,
}

/// The `n` messages of a tail that are nearest in the page's direction.
pub fn nearest(tail: &[Waiting], cursor: Cursor, n: usize) -> &[Waiting] {
    match cursor {
        Cursor::Last => &tail[tail.len().saturating_sub(n)..],
        Cursor::Before(position) => {
            let end = tail.partition_point(|waiting| waiting.at < position);
            &tail[end.saturating_sub(n)..end]
        }
        Cursor::After(position) => {
            let start = tail.partition_point(|waiting| waiting.at <= position);
            &tail[start..tail.len().min(start + n)]
        }
    }
}

/// Leaves out of the tail what `persist` will not store: a message whose `(uid, id)` is in the
/// table at another position, or earlier in the tail.
///
/// A repeat that came after the tail was read may be stored first, while the first message is in
/// retry. The repeat is above `upto` and not in the answer, so it must not hide the first message.
pub fn storable(
    tail: &[Waiting],
    known: &HashMap<(String, String), Row>,
    upto: Position,
) -> Vec<Row> {
    let will_be_stored = |Waiting { message, at, first }: &&Waiting| {
        let key = (message.uid.clone(), message.id.clone());
        // A repeat in this room above `upto` does not count.
        let stored = known
            .get(&key)
            .filter(|stored| stored.at <= upto || !stored.message.same_room(message));
        stored.map_or(*first, |stored| stored.at == *at)
    };
    let storable = tail.iter().filter(will_be_stored);
    storable.map(Waiting::row).collect()
}

/// Merges a page of rows with the tail. `rows` are the nearest in the page's direction, up to
/// `limit + 1`; a message in both counts once.
pub fn merge(rows: Vec<Row>, tail: Vec<Row>, cursor: Cursor, limit: usize) -> Merged {
    let mut all: BTreeMap<Position, Row> = rows.into_iter().map(|row| (row.at, row)).collect();
    for row in tail {
        let wanted = match cursor {
            Cursor::Last => true,
            Cursor::Before(position) => row.at < position,
            Cursor::After(position) => row.at > position,
        };
        if wanted {
            all.entry(row.at).or_insert(row);
        }
    }
    let more = all.len() > limit;
    let surplus = all.len().saturating_sub(limit);
    let rows = all.into_values();
    let rows = match cursor {
        Cursor::After(_) => rows.take(limit).collect(),
        Cursor::Last | Cursor::Before(_) => rows.skip(surplus).collect(),
    };
    Merged { rows, more }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::message::Message;
    use crate::message::room::Realm;
    use crate::store::epoch::Life;
    use crate::tail::waiting::waiting;
    use crate::tail::window::Window;

    /// What stands at one sequence of the log.
    #[derive(Clone, Copy, Debug)]
    enum Logged {
        /// A message of the room, with one of a few ids: many are repeats.
        Here(u8),
        /// A message of another room.
        Elsewhere(u8),
        /// Nothing that can be stored.
        Undecodable,
    }

    /// A life of the log and how far `persist` is.
    #[derive(Clone, Debug)]
    struct World {
        /// The log's former life, which is stored.
        former: Vec<Logged>,
        /// Its life now, and whether each is stored although it lies above the floor.
        now: Vec<(Logged, bool)>,
        /// How many of `now` are settled.
        floor: usize,
        /// What came after the tail was read and was stored at once.
        later: Vec<Logged>,
    }

    type Table = BTreeMap<Position, Row>;

    /// How much of what is stored above the floor was stored already.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Early {
        Half,
        All,
    }

    const FORMER: i64 = 1;
    const NOW: i64 = 2;

    fn row(epoch: i64, seq: usize, logged: Logged) -> Option<Row> {
        let (room, id) = match logged {
            Logged::Here(id) => ("here", id),
            Logged::Elsewhere(id) => ("elsewhere", id),
            Logged::Undecodable => return None,
        };
        let message = Message {
            id: id.to_string(),
            user: "Bob".into(),
            uid: "bob".into(),
            text: "x".into(),
            timestamp: 1,
            room: room.parse().unwrap(),
            realm: Realm::Chat,
        };
        let seq = i64::try_from(seq).unwrap();
        Some(Row {
            message,
            at: Position { epoch, seq },
        })
    }

    /// What `persist` does with one message.
    fn store(table: &mut Table, row: Option<Row>) {
        let Some(row) = row else { return };
        let id = &row.message.id;
        if table.values().all(|stored| stored.message.id != *id) {
            table.insert(row.at, row);
        }
    }

    /// A page of the room from a table: what the database answers, and what the model expects.
    fn page_of(table: &Table, cursor: Cursor, upto: Position, limit: usize) -> Vec<Row> {
        let rows = table.values().filter(|row| {
            let wanted = match cursor {
                Cursor::Last => true,
                Cursor::Before(position) => row.at < position,
                Cursor::After(position) => row.at > position,
            };
            wanted && row.at <= upto && row.message.room.as_str() == "here"
        });
        let rows: Vec<Row> = rows.cloned().collect();
        match cursor {
            Cursor::After(_) => rows.into_iter().take(limit).collect(),
            Cursor::Last | Cursor::Before(_) => rows[rows.len().saturating_sub(limit)..].to_vec(),
        }
    }

    impl World {
        fn logged(&self) -> impl Iterator<Item = (usize, Option<Row>, bool)> {
            let numbered = (1..).zip(&self.now);
            numbered.map(|(seq, (logged, stored))| (seq, row(NOW, seq, *logged), *stored))
        }

        /// The table at the moment of the question, before or after what came later.
        fn table(&self, early: Early, with_later: bool) -> Table {
            let mut table = Table::new();
            for (seq, logged) in (1..).zip(&self.former) {
                store(&mut table, row(FORMER, seq, *logged));
            }
            let settled = self.logged().filter(|(seq, ..)| *seq <= self.floor);
            for (_, row, _) in settled {
                store(&mut table, row);
            }
            self.store_early(&mut table, |seq| seq % 2 == 0);
            if with_later {
                for (seq, logged) in (self.now.len() + 1..).zip(&self.later) {
                    store(&mut table, row(NOW, seq, *logged));
                }
            }
            if early == Early::All {
                self.store_early(&mut table, |seq| seq % 2 == 1);
            }
            table
        }

        /// Stores what is stored although it lies above the floor.
        fn store_early(&self, table: &mut Table, half: impl Fn(usize) -> bool) {
            let early = self.logged().filter(|(_, _, stored)| *stored);
            for (_, row, _) in early.filter(|(seq, ..)| *seq > self.floor && half(*seq)) {
                store(table, row);
            }
        }

        /// The part of the log that the page needs, computed before the tail is read, when less
        /// above the floor was stored.
        fn window(&self, cursor: Cursor, limit: usize) -> Window {
            let life = Life::of_epochs(&[(NOW, 0)]);
            let window = Window::of(cursor, &life, self.floor as u64);
            let rows = page_of(
                &self.table(Early::Half, false),
                cursor,
                self.upto(),
                limit + 1,
            );
            let furthest = match cursor {
                Cursor::Last | Cursor::Before(_) => rows.first(),
                Cursor::After(_) => rows.last(),
            };
            match furthest.filter(|_| rows.len() > limit) {
                Some(furthest) => window.filled_up_to(cursor, &life, furthest.at),
                None => window,
            }
        }

        /// The room's messages above the floor, as the log has them.
        fn tail(&self) -> Vec<Row> {
            let waiting = self.logged().filter(|(seq, ..)| *seq > self.floor);
            let rows = waiting.filter_map(|(_, row, _)| row);
            rows.filter(|row| row.message.room.as_str() == "here")
                .collect()
        }

        fn upto(&self) -> Position {
            Position {
                epoch: NOW,
                seq: i64::try_from(self.now.len()).unwrap(),
            }
        }
    }

    fn logged() -> impl Strategy<Value = Logged> {
        prop_oneof![
            6 => (0..12_u8).prop_map(Logged::Here),
            2 => (0..12_u8).prop_map(Logged::Elsewhere),
            1 => Just(Logged::Undecodable),
        ]
    }

    fn world() -> impl Strategy<Value = World> {
        let parts = (
            vec(logged(), 0..6),
            vec((logged(), any::<bool>()), 0..14),
            vec(logged(), 0..4),
            0..14_usize,
        );
        parts.prop_map(|(former, now, later, floor)| World {
            floor: floor.min(now.len()),
            former,
            now,
            later,
        })
    }

    fn page() -> impl Strategy<Value = Cursor> {
        let position =
            || (FORMER..=NOW, 0..16_i64).prop_map(|(epoch, seq)| Position { epoch, seq });
        prop_oneof![
            Just(Cursor::Last),
            position().prop_map(Cursor::Before),
            position().prop_map(Cursor::After),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// The model is a table that holds everything: the stored rows, then the tail in its order.
        /// Only the part of the tail that the page needs is read, so the model stores that part
        /// first: of two unstored messages with one id, the one in that part counts.
        #[test]
        fn page_equals_that_of_a_table_with_all_messages(
            world in world(),
            cursor in page(),
            limit in 1..8_usize,
            with_later in any::<bool>(),
        ) {
            let (table, upto) = (world.table(Early::All, with_later), world.upto());
            let window = world.window(cursor, limit);
            let inside = |row: &Row| {
                let seq = row.at.seq.cast_unsigned();
                seq > window.above && seq <= window.upto
            };
            let (tail, outside): (Vec<Row>, Vec<Row>) = world.tail().into_iter().partition(inside);
            let in_room = |row: &Row| row.message.room.as_str() == "here";
            let mut everything = table.clone();
            everything.retain(|at, row| *at <= upto || !in_room(row));
            for row in tail.iter().chain(&outside) {
                store(&mut everything, Some(row.clone()));
            }
            let known = table.values().map(|row| {
                ((row.message.uid.clone(), row.message.id.clone()), row.clone())
            });
            let known: HashMap<_, _> = known.collect();

            let rows = page_of(&table, cursor, upto, limit + 1);
            let tail = tail.into_iter();
            let tail = waiting(tail.map(|row| (Arc::new(row.message), row.at)).collect());
            let storable = (1..)
                .map(|n| (n, nearest(&tail, cursor, n)))
                .map(|(n, near)| (near.len() < n, storable(near, &known, upto)))
                .find(|(is_all, storable)| *is_all || storable.len() > limit);
            let merged = merge(rows, storable.unwrap().1, cursor, limit);

            prop_assert_eq!(&merged.rows, &page_of(&everything, cursor, upto, limit));
            let all = page_of(&everything, cursor, upto, usize::MAX);
            prop_assert_eq!(merged.more, all.len() > limit);
        }
    }
}

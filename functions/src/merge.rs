//! One room from two places: the rows of the database and the tail of the log. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::rows::{Page, Position, Row};

/// A page of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Oldest first.
    pub rows: Vec<Row>,
    /// More lie in the direction that was asked for.
    pub more: bool,
}

/// Leaves out of the tail what `persist` will not store: a message whose `(uid, id)` is in the
/// table at another place, or earlier in the tail.
///
/// A repeat that came after the tail was read may be stored before the first one is, which is in
/// retry. It lies above `upto` and is not answered, so it must not hide the first one either.
pub fn storable(
    tail: Vec<Row>,
    known: &HashMap<(String, String), Row>,
    upto: Position,
) -> Vec<Row> {
    let mut seen = HashSet::new();
    tail.into_iter()
        .filter(|row| {
            let key = (row.message.uid.clone(), row.message.id.clone());
            let elsewhere = known.get(&key).is_some_and(|stored| {
                let is_answered = stored.at <= upto || !stored.message.same_room(&row.message);
                stored.at != row.at && is_answered
            });
            !elsewhere && seen.insert(key)
        })
        .collect()
}

/// Merges a page of rows with the tail. `rows` are the nearest in the page's direction, one more
/// than `limit` where there are so many; a message that is in both counts once.
pub fn merge(rows: Vec<Row>, tail: Vec<Row>, page: Page, limit: usize) -> Merged {
    let mut all: BTreeMap<Position, Row> = rows.into_iter().map(|row| (row.at, row)).collect();
    for row in tail {
        let wanted = match page {
            Page::Last => true,
            Page::Before(position) => row.at < position,
            Page::After(position) => row.at > position,
        };
        if wanted {
            all.entry(row.at).or_insert(row);
        }
    }
    let more = all.len() > limit;
    let surplus = all.len().saturating_sub(limit);
    let rows = all.into_values();
    let rows = match page {
        Page::After(_) => rows.take(limit).collect(),
        Page::Last | Page::Before(_) => rows.skip(surplus).collect(),
    };
    Merged { rows, more }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::message::Message;
    use crate::room::Realm;

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
    fn page_of(table: &Table, page: Page, upto: Position, limit: usize) -> Vec<Row> {
        let rows = table.values().filter(|row| {
            let wanted = match page {
                Page::Last => true,
                Page::Before(position) => row.at < position,
                Page::After(position) => row.at > position,
            };
            wanted && row.at <= upto && row.message.room.as_str() == "here"
        });
        let rows: Vec<Row> = rows.cloned().collect();
        match page {
            Page::After(_) => rows.into_iter().take(limit).collect(),
            Page::Last | Page::Before(_) => rows[rows.len().saturating_sub(limit)..].to_vec(),
        }
    }

    impl World {
        fn logged(&self) -> impl Iterator<Item = (usize, Option<Row>, bool)> {
            let numbered = (1..).zip(&self.now);
            numbered.map(|(seq, (logged, stored))| (seq, row(NOW, seq, *logged), *stored))
        }

        /// The table at the moment of the question, before or after what came later.
        fn table(&self, with_later: bool) -> Table {
            let mut table = Table::new();
            for (seq, logged) in (1..).zip(&self.former) {
                store(&mut table, row(FORMER, seq, *logged));
            }
            let settled = self.logged().filter(|(seq, ..)| *seq <= self.floor);
            for (_, row, _) in settled {
                store(&mut table, row);
            }
            if with_later {
                for (seq, logged) in (self.now.len() + 1..).zip(&self.later) {
                    store(&mut table, row(NOW, seq, *logged));
                }
            }
            let early = self
                .logged()
                .filter(|(seq, _, stored)| *seq > self.floor && *stored);
            for (_, row, _) in early {
                store(&mut table, row);
            }
            table
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

    fn page() -> impl Strategy<Value = Page> {
        let position =
            || (FORMER..=NOW, 0..16_i64).prop_map(|(epoch, seq)| Position { epoch, seq });
        prop_oneof![
            Just(Page::Last),
            position().prop_map(Page::Before),
            position().prop_map(Page::After),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// The model holds everything: what is stored, and then the tail in its order.
        #[test]
        fn page_is_that_of_a_table_that_holds_everything(
            world in world(),
            page in page(),
            limit in 1..8_usize,
            with_later in any::<bool>(),
        ) {
            let (table, tail, upto) = (world.table(with_later), world.tail(), world.upto());
            let in_room = |row: &Row| row.message.room.as_str() == "here";
            let mut everything = table.clone();
            everything.retain(|at, row| *at <= upto || !in_room(row));
            for row in &tail {
                store(&mut everything, Some(row.clone()));
            }
            let known = table.values().map(|row| {
                ((row.message.uid.clone(), row.message.id.clone()), row.clone())
            });
            let known: HashMap<_, _> = known.collect();

            let rows = page_of(&table, page, upto, limit + 1);
            let merged = merge(rows, storable(tail, &known, upto), page, limit);

            prop_assert_eq!(&merged.rows, &page_of(&everything, page, upto, limit));
            let all = page_of(&everything, page, upto, usize::MAX);
            prop_assert_eq!(merged.more, all.len() > limit);
        }
    }
}

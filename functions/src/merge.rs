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
pub fn storable(tail: Vec<Row>, known: &HashMap<(String, String), Row>) -> Vec<Row> {
    let mut seen = HashSet::new();
    tail.into_iter()
        .filter(|row| {
            let key = (row.message.uid.clone(), row.message.id.clone());
            let elsewhere = known.get(&key).is_some_and(|stored| stored.at != row.at);
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

//! Marks the repeats in the log's tail. Pure.

use std::collections::HashSet;

use crate::store::rows::Row;

/// A message of the log's tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The message.
    pub row: Row,
    /// Whether no earlier message of the tail has the same `(uid, id)`.
    pub first: bool,
}

/// The messages of a tail, in the log's order.
pub fn waiting(rows: Vec<Row>) -> Vec<Waiting> {
    let mut seen = HashSet::new();
    let first: Vec<bool> = rows
        .iter()
        .map(|row| seen.insert((&row.message.uid, &row.message.id)))
        .collect();
    let marked = rows.into_iter().zip(first);
    marked.map(|(row, first)| Waiting { row, first }).collect()
}

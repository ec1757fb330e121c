//! Marks the repeats in the log's tail. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use crate::message::Message;
use crate::store::rows::{Position, Row};

/// A message of the log's tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What was said, by whom, where.
    pub message: Arc<Message>,
    /// Where it stands in the log.
    pub at: Position,
    /// Whether no earlier message of the tail has the same `(uid, id)`.
    pub first: bool,
}

impl Waiting {
    /// The row that it will be.
    pub fn row(&self) -> Row {
        Row {
            message: Message::clone(&self.message),
            at: self.at,
        }
    }
}

/// The messages of a tail, in the log's order.
pub fn waiting(messages: Vec<(Arc<Message>, Position)>) -> Vec<Waiting> {
    let mut seen = HashSet::new();
    let first: Vec<bool> = messages
        .iter()
        .map(|(message, _)| seen.insert((&message.uid, &message.id)))
        .collect();
    let marked = messages.into_iter().zip(first);
    marked
        .map(|((message, at), first)| Waiting { message, at, first })
        .collect()
}

//! A reading of a room's tail that goes on from a former one.

use std::sync::Arc;

use super::Tail;
use super::floor::StoredFloor;
use super::waiting::Waiting;
use super::window::Window;
use crate::message::Message;
use crate::message::logged::Logged;
use crate::store::rows::Position;

/// The part of a former tail that a reading continues from.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) messages: Vec<(Arc<Message>, Position)>,
    /// Their approximate size on the wire.
    pub(super) bytes: usize,
    /// Every message of the room up to this sequence is in `messages`, or below the window.
    pub(super) upto: u64,
}

impl Kept {
    pub(super) fn last(&self) -> u64 {
        let last = self.messages.last();
        last.map_or(0, |(_, at)| at.seq.cast_unsigned())
    }
}

impl Kept {
    /// With what was read after it.
    pub(super) fn and(
        mut self,
        known: &StoredFloor,
        read: &[natsfn::Message],
        bytes: usize,
    ) -> Self {
        self.messages.extend(read.iter().filter_map(|message| {
            let at = known.position(message.seq());
            let message = Logged::from(message).message().ok()?;
            Some((Arc::new(message), at))
        }));
        self.upto = read.last().map_or(self.upto, natsfn::Message::seq);
        self.bytes += bytes;
        self
    }
}

impl Tail {
    /// The rows inside a window that begins no lower than this tail. `None` if the log may be
    /// another one: restoring an older copy takes a restart of the server, and so a new connection.
    pub(super) fn kept(&self, window: Window, known: &StoredFloor, connects: u64) -> Option<Kept> {
        if (self.epoch, self.connects) != (known.life.newest().id, connects) {
            return None;
        }
        // The consumer was recreated: rows between the two floors may be missing.
        if known.life.end(known.floor.cast_signed()) < self.floor {
            return None;
        }
        let is_below = |it: &Waiting| it.at.seq.cast_unsigned() <= window.above;
        let rows = &self.rows[self.rows.partition_point(is_below)..];
        Some(Kept {
            bytes: (self.bytes * rows.len()).div_ceil(self.rows.len().max(1)),
            messages: rows.iter().map(|it| (it.message.clone(), it.at)).collect(),
            upto: self.upto.seq.cast_unsigned(),
        })
    }
}

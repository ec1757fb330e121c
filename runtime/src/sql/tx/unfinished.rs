//! What a dropped future leaves behind.

use std::sync::atomic::Ordering;

use super::Tx;
use super::condition::{BROKEN, DOUBTFUL};

/// Takes note where the future of a statement is dropped before its end.
pub(super) struct Unfinished<'a>(pub(super) Option<&'a Tx>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(tx) = self.0 {
            tx.now(DOUBTFUL);
            tx.0.unfinished.store(true, Ordering::Release);
        }
    }
}

/// The transaction is broken, unless this is disarmed.
pub(super) struct Gone<'a>(pub(super) Option<&'a Tx>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if let Some(tx) = self.0 {
            tx.now(BROKEN);
        }
    }
}

//! Which subjects of which streams may hold a message that costs the connection to read.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reads that began and have not ended well. It outlives a connection, since the next one must
/// know what the last one died of.
static READING: Mutex<Option<HashSet<Place>>> = Mutex::new(None);

/// A stream and a subject.
pub(crate) type Place = (String, String);

/// Notes that a place is being read; true where an earlier read of it has not ended well.
pub(crate) fn begin(place: &Place) -> bool {
    !lock().get_or_insert_default().insert(place.clone())
}

/// The read has met nothing bad.
pub(crate) fn clear(place: &Place) {
    lock().get_or_insert_default().remove(place);
}

fn lock() -> MutexGuard<'static, Option<HashSet<Place>>> {
    READING.lock().unwrap_or_else(PoisonError::into_inner)
}

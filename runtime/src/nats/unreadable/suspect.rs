//! Which messages of which streams cost the connection to read.

use std::collections::HashMap;

use parking_lot::Mutex;

/// It outlives a connection, since the next one must know what the last one was lost over.
static SUSPECTS: Mutex<Option<HashMap<StreamSubject, Suspect>>> = Mutex::new(None);

/// A stream and a subject.
pub(crate) type StreamSubject = (String, String);

/// Why reading a stream's subject needs care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspect {
    /// A read lost the connection before it got the next message from this sequence on. It may be
    /// that message, or the network: one look at it tells.
    Possible(u64),
    /// No client can read the message with this sequence off the wire.
    Confirmed(u64),
}

/// What is suspected of a subject, where reading it from the sequence `from` on would meet it.
pub(crate) fn ahead(subject: &StreamSubject, from: u64) -> Option<Suspect> {
    let suspect = SUSPECTS
        .lock()
        .get_or_insert_default()
        .get(subject)
        .copied()?;
    let (Suspect::Possible(seq) | Suspect::Confirmed(seq)) = suspect;
    (seq >= from).then_some(suspect)
}

/// Notes a suspicion. The one that lies furthest ahead counts: of several reads that lost one
/// connection, that is the one that can have met the message.
pub(crate) fn suspect(subject: &StreamSubject, seq: u64) {
    let mut suspects = SUSPECTS.lock();
    let known = suspects
        .get_or_insert_default()
        .entry(subject.clone())
        .or_insert(Suspect::Possible(seq));
    if matches!(*known, Suspect::Possible(before) if before < seq) {
        *known = Suspect::Possible(seq);
    }
}

/// Notes what a look has found.
pub(crate) fn confirm(subject: &StreamSubject, seq: u64) {
    let mut suspects = SUSPECTS.lock();
    let suspects = suspects.get_or_insert_default();
    let known = suspects
        .entry(subject.clone())
        .or_insert(Suspect::Confirmed(seq));
    if !matches!(*known, Suspect::Confirmed(before) if before > seq) {
        *known = Suspect::Confirmed(seq);
    }
}

/// Takes a suspicion back that a look has not borne out.
pub(crate) fn acquit(subject: &StreamSubject, suspect: Suspect) {
    let mut suspects = SUSPECTS.lock();
    let suspects = suspects.get_or_insert_default();
    if suspects.get(subject) == Some(&suspect) {
        suspects.remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicion_counts_as_long_as_it_lies_ahead_and_is_taken_back_once_looked_at() {
        let subject = ("LOG".to_owned(), "a.suspicion".to_owned());
        assert_eq!(ahead(&subject, 1), None);
        suspect(&subject, 7);
        suspect(&subject, 3);
        assert_eq!(ahead(&subject, 7), Some(Suspect::Possible(7)));
        assert_eq!(ahead(&subject, 8), None);
        acquit(&subject, Suspect::Possible(3));
        assert_eq!(ahead(&subject, 1), Some(Suspect::Possible(7)));
        acquit(&subject, Suspect::Possible(7));
        assert_eq!(ahead(&subject, 1), None);
    }

    #[test]
    fn what_was_found_stands_until_reading_begins_behind_it() {
        let subject = ("LOG".to_owned(), "a.finding".to_owned());
        suspect(&subject, 7);
        confirm(&subject, 9);
        suspect(&subject, 20);
        confirm(&subject, 8);
        assert_eq!(ahead(&subject, 9), Some(Suspect::Confirmed(9)));
        assert_eq!(ahead(&subject, 10), None);
    }
}

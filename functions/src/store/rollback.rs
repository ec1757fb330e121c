//! Detects a rollback: an older copy of the log was restored, so new messages get sequences that
//! stand for others in the database.

use std::time::Duration;

use natsfn::jetstream::{StreamInfo, StreamState};
use natsfn::{Client, Db, Error, Result};

use super::epoch::{Life, newest_life};
use super::rows::{Row, last_among};
use crate::message::logged::Logged;
use crate::subjects::LOG;

/// How long a new leader of a replicated log may need to catch up.
const ELECTION: Duration = Duration::from_secs(2);

/// Whether the log agrees with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The log holds the same message there, or has trimmed it.
    Same,
    /// The log holds another one there, or ends below.
    Other,
}

/// Whether this life is the newest one, and the log agrees with its newest row. `history` asks this: if not, the log or
/// the database was restored to another state.
///
/// # Errors
/// The log or the database is unavailable.
pub async fn agrees(client: &Client, db: &Db, life: &Life) -> Result<bool> {
    // An old log may have been restored after a newer one had replaced it.
    let known = newest_life(db, LOG).await?;
    if known.is_some_and(|known| known.newest().id > life.newest().id) {
        return Ok(false);
    }
    // The row is read first: whatever is stored was in the log before.
    let Some(row) = newest_row(db, life).await? else {
        return Ok(true);
    };
    Ok(verdict(client, &row).await? == Verdict::Same)
}

/// Checks for a rollback. If there was one, begins an epoch directly behind the last message that
/// log and database have in common. Returns the current life.
///
/// # Errors
/// The log or the database is unavailable.
pub async fn check(client: &Client, db: &Db, life: Life) -> Result<Life> {
    let Some(mut log) = differs(client, db, &life).await? else {
        return Ok(life);
    };
    if log.config.num_replicas > 1 {
        // A leader that was just elected may not have applied everything that it holds.
        tokio::time::sleep(ELECTION).await;
        match differs(client, db, &life).await? {
            Some(again) => log = again,
            None => return Ok(life),
        }
    }
    let common = last_common(client, db, &life, log.state).await?;
    Ok(life.follow(db, common + 1).await?)
}

/// The log's state, if it differs from what the database knows.
async fn differs(client: &Client, db: &Db, life: &Life) -> Result<Option<StreamInfo>> {
    let agrees = agrees(client, db, life).await?;
    // The log is read after the database: whatever the database knows was in the log before.
    let log = client.stream_info(LOG).await?;
    let newest = life.newest();
    if log.created_ns() != newest.stream_created {
        // Recreated just now: that is another life, which says nothing about this one.
        return Ok(None);
    }
    let has_come_so_far = newest.floor.cast_unsigned() <= log.state.last_seq;
    Ok((!(agrees && has_come_so_far)).then_some(log))
}

/// The newest row of a life: in its newest epoch, else in an earlier one, below the later ones.
async fn newest_row(db: &Db, life: &Life) -> Result<Option<Row>> {
    let mut upto = i64::MAX;
    for epoch in life.epochs() {
        if let Some(row) = last_among(db, epoch.id, epoch.first_seq..=upto).await? {
            return Ok(Some(row));
        }
        upto = upto.min(epoch.first_seq - 1);
    }
    Ok(None)
}

/// The highest sequence at which database and log have the same message. If there is none,
/// everything in the log is new.
async fn last_common(client: &Client, db: &Db, life: &Life, state: StreamState) -> Result<i64> {
    let below = state.first_seq.cast_signed() - 1;
    let mut upto = i64::MAX;
    for epoch in life.epochs() {
        // Binary search: up to the last common row all are the same, above it all differ.
        let (mut low, mut high) = (below.max(epoch.first_seq - 1), upto);
        let mut common = None;
        while low < high {
            // The newest row comes first: without a rollback it is the same.
            let middle = if high == upto {
                upto
            } else {
                low + (high - low + 1) / 2
            };
            let Some(row) = last_among(db, epoch.id, low + 1..=middle).await? else {
                low = middle;
                continue;
            };
            match verdict(client, &row).await? {
                Verdict::Same => {
                    common = Some(row.at.seq);
                    low = middle;
                }
                Verdict::Other => high = row.at.seq - 1,
            }
        }
        if let Some(common) = common {
            return Ok(common);
        }
        upto = upto.min(epoch.first_seq - 1);
    }
    Ok(below.min(state.last_seq.cast_signed()))
}

async fn verdict(client: &Client, row: &Row) -> Result<Verdict> {
    let seq = row.at.seq.cast_unsigned();
    if let Some(message) = client.message(LOG, seq).await? {
        let is_same = Logged::from(&message).message().is_ok_and(|logged| {
            (logged.uid, logged.id) == (row.message.uid.clone(), row.message.id.clone())
        });
        return Ok(if is_same {
            Verdict::Same
        } else {
            Verdict::Other
        });
    }
    let stream = client.stream_info(LOG).await?;
    let has_come_so_far = seq <= stream.state.last_seq;
    Ok(if has_come_so_far {
        Verdict::Same
    } else {
        Verdict::Other
    })
}

/// The error of `history` until `persist` has begun a new epoch: positions are ambiguous.
pub fn unsettled() -> Error {
    Error::unavailable(
        "the log was rolled back, and `persist` has not begun a new epoch yet; is it running?",
    )
}

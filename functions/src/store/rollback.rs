//! Finds out that the log was rolled back: an older copy of it was put back, and what it takes now
//! gets sequences that stand for other messages in the database.

use std::time::Duration;

use natsfn::jetstream::{StreamInfo, StreamState};
use natsfn::{Client, Db, Error, Result};

use super::epoch::{Life, newest_life};
use super::rows::{Row, last_among};
use crate::message::logged::Logged;
use crate::subjects::LOG;

/// How long the leader of a log with replicas may need to be up to date.
const ELECTION: Duration = Duration::from_secs(2);

/// What the log says of the newest row of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It holds the same message there, or has dropped it.
    Same,
    /// It holds another one, or has not come that far.
    Other,
}

/// Whether the newest message that the database has of this life is the one that the log has at
/// its sequence. This is what `history` asks: where it is not, one of the two is from another time.
///
/// # Errors
/// The log or the database is away.
pub async fn agrees(client: &Client, db: &Db, life: &Life) -> Result<bool> {
    // The row is read first: what is stored now was in the log before.
    let Some(row) = newest_row(db, life).await? else {
        return Ok(true);
    };
    Ok(verdict(client, &row).await? == Verdict::Same)
}

/// Looks whether the log was rolled back, and begins an epoch where it was: at the first sequence
/// behind the last message that log and database have in common. Returns the life as it then is.
///
/// # Errors
/// The log or the database is away.
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

/// The log, where it is not the one that the database knows.
async fn differs(client: &Client, db: &Db, life: &Life) -> Result<Option<StreamInfo>> {
    let agrees = agrees(client, db, life).await?;
    // What is noted was in the log, so the log is read after it.
    let log = client.stream_info(LOG).await?;
    let newest = life.newest();
    if log.created_ns() != newest.stream_created {
        // It was made again just now: that is another life, and says nothing of this one.
        return Ok(None);
    }
    let has_come_so_far = newest.floor.cast_unsigned() <= log.state.last_seq;
    // The log may be older than another one that was made in its place and is gone again.
    let known = newest_life(db, LOG).await?;
    let is_newest = known.is_some_and(|known| known.newest().id <= newest.id);
    Ok((!(agrees && has_come_so_far && is_newest)).then_some(log))
}

/// The newest row of a life: of the newest epoch, or what is below its beginning.
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

/// The highest sequence at which the database has what the log has. Where there is none, everything
/// that the log holds is new.
async fn last_common(client: &Client, db: &Db, life: &Life, state: StreamState) -> Result<i64> {
    let below = state.first_seq.cast_signed() - 1;
    let mut upto = i64::MAX;
    for epoch in life.epochs() {
        // Rows up to the middle are the same, or those above it are others: halves the interval.
        let (mut low, mut high) = (below.max(epoch.first_seq - 1), upto);
        let mut common = None;
        while low < high {
            // The first look is at the newest row: it is the same where nothing was rolled back.
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

/// What `history` answers until a new epoch has begun: it cannot tell one message from another.
pub fn unsettled() -> Error {
    Error::unavailable(
        "the log was rolled back, and `persist` has not begun a new epoch yet; is it running?",
    )
}

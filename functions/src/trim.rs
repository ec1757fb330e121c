//! Trims the log behind the database.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natsfn::jetstream::StreamInfo;
use natsfn::{Background, Result, Settled, dead_letter};
use serde_json::json;

use crate::app::{App, PAGE_AGE};
use crate::store::epoch::{Life, find_life};
use crate::store::rows::first_since;
use crate::subjects::LOG;

/// Interval between two trims.
const PAUSE: Duration = Duration::from_secs(5);

// No message comes to a room without others and is trimmed while a page of before is kept.
const _: () = assert!(PAGE_AGE.as_millis() < PAUSE.as_millis());

/// Purges stored messages that are older than `stream.keep_days`. If the log is more than half
/// full, it purges stored messages of any age, oldest first: a full log accepts no message. In both
/// cases only what was stored one interval before.
///
/// # Errors
/// NATS or the database is unavailable; the task is restarted after a pause.
pub async fn trim(mut background: Background, app: App) -> Result<()> {
    // An error forgets it: the log may be an older copy by then, with other messages to come.
    let mut before = None;
    loop {
        before = once(&background, &app, before).await?;
        if tokio::time::timeout(PAUSE, background.stopped())
            .await
            .is_ok()
        {
            // Saves the floor once more, or the next start would compare more than it needs to.
            return once(&background, &app, None).await.map(drop);
        }
    }
}

/// Trims what was settled before. Returns what is settled now.
async fn once(
    background: &Background,
    app: &App,
    before: Option<Settled>,
) -> Result<Option<Settled>> {
    // Compares the database with the log, and saves the floor.
    let Some(settled) = background.settled("persist").await? else {
        return Ok(None);
    };
    let before = before.filter(|before| before.stream.created == settled.stream.created);
    let upto = before.map_or(0, |before| before.upto.min(settled.upto));
    purge(background, app, &settled.stream, upto).await?;
    Ok(Some(settled))
}

/// Purges what may leave the log, of what is settled up to a sequence.
async fn purge(background: &Background, app: &App, stream: &StreamInfo, upto: u64) -> Result<()> {
    let db = background.db()?;
    let Some(life) = find_life(&db, LOG, stream.created_ns()).await? else {
        return Ok(());
    };
    show(background, &life)?;
    let first = stream.state.first_seq;
    if stream.state.messages == 0 || upto < first {
        return Ok(());
    }
    let stored_below = upto + 1;
    let below = match full(&stream.state, stream.config.max_bytes) {
        Some(below) => below,
        None => old(background, app, &life, first..=upto).await?,
    };
    // Keeps a message whose only other copy is a dead letter with fewer replicas.
    let replicas = stream.config.num_replicas;
    let letter = dead_letter::first_less_safe(background.client(), LOG, replicas).await?;
    let below = below.min(stored_below).min(letter.unwrap_or(u64::MAX));
    if below <= first {
        return Ok(());
    }
    // Rows may have been deleted since the comparison: only what is there now may leave the log.
    let again = background.settled("persist").await?;
    if again.is_some_and(|again| again.stream.created == stream.created && again.upto + 1 >= below)
    {
        background.client().purge_below(LOG, below).await?;
        tracing::info!(from = first, below, "trimmed the log behind the database");
    }
    Ok(())
}

/// Shows in `persist`'s STATS the newest epoch, and whether a rollback began it: logged only once.
fn show(background: &Background, life: &Life) -> Result<()> {
    let newest = life.newest();
    let epoch = json!({
        "id": newest.id,
        "first_seq": newest.first_seq,
        "rolled_back": newest.follows > 0,
    });
    background.show("persist", "epoch", epoch)
}

/// The sequence below which to purge so that a log over half full goes down to a quarter.
fn full(state: &natsfn::jetstream::StreamState, max_bytes: i64) -> Option<u64> {
    let max = u64::try_from(max_bytes).ok().filter(|max| *max > 0)?;
    if state.bytes <= max / 2 {
        return None;
    }
    let surplus = (state.bytes - max / 4) as f64 / state.bytes as f64;
    let sequences = (state.last_seq + 1).saturating_sub(state.first_seq);
    Some(state.first_seq + (sequences as f64 * surplus).ceil() as u64)
}

/// The first sequence that was stored within `keep_days`. If there is none, all are old, provided
/// that the log's last message is old too: an empty table proves nothing.
async fn old(
    background: &Background,
    app: &App,
    life: &Life,
    seqs: RangeInclusive<u64>,
) -> Result<u64> {
    let (first, last) = seqs.into_inner();
    let keep = Duration::from_secs(u64::from(app.config.stream.keep_days) * 24 * 60 * 60);
    let since = SystemTime::now() - keep;
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let epochs = life.epochs().map(|epoch| epoch.id);
    let young = first_since(&background.db()?, epochs, first.cast_signed(), since).await?;
    if let Some(seq) = young {
        return Ok(seq.cast_unsigned());
    }
    let newest = background.client().message(LOG, last.max(1)).await?;
    let is_old = newest.is_some_and(|newest| newest.time_ns() / 1_000_000 < since);
    Ok(if is_old { last + 1 } else { first })
}

#[cfg(test)]
mod tests {
    use natsfn::jetstream::StreamState;

    use super::*;

    #[test]
    fn log_over_half_full_is_trimmed_to_a_quarter() {
        let state = |bytes| StreamState {
            messages: 100,
            bytes,
            first_seq: 11,
            last_seq: 110,
        };
        assert_eq!(full(&state(500), 1000), None);
        assert_eq!(full(&state(1000), 1000), Some(11 + 75));
        assert_eq!(full(&state(1000), -1), None);
    }
}

//! Trims the log behind the database.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natsfn::{Background, Kind, Result};

use crate::app::App;
use crate::epoch::{find_epoch, save_floor};
use crate::rows::first_since;
use crate::subjects::{CONSUMER, LOG};

/// How often it looks.
const PAUSE: Duration = Duration::from_secs(5);

/// Purges what is stored and older than `stream.keep_days`; what is stored at all, oldest first,
/// while the log is more than half full: a full log takes no message.
///
/// # Errors
/// What kept it from looking; it begins again after a pause.
pub async fn trim(mut background: Background, app: App) -> Result<()> {
    loop {
        once(&background, &app).await?;
        if tokio::time::timeout(PAUSE, background.stopped())
            .await
            .is_ok()
        {
            // Notes what was stored since, or the next `setup` would find the database behind.
            return once(&background, &app).await;
        }
    }
}

async fn once(background: &Background, app: &App) -> Result<()> {
    let client = background.client();
    let (stream, consumer) =
        match tokio::try_join!(client.stream_info(LOG), client.consumer_info(LOG, CONSUMER)) {
            Ok(both) => both,
            // Nothing is set up yet, or it is being made again.
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
    // The floor of a former life says nothing of this one, nor does one that lies above what the
    // database has: `persist` looks at that first.
    let compared = app.compared.load(Relaxed) == stream.created_ns();
    if !compared || consumer.created < stream.created || stream.state.messages == 0 {
        return Ok(());
    }
    let floor = consumer.ack_floor.stream_seq;
    let Some(epoch) = find_epoch(&background.db()?, LOG, stream.created_ns()).await? else {
        return Ok(());
    };
    // A batch notes the floor as it was before it; this notes where the last one left it.
    save_floor(&background.db()?, epoch.id, floor.cast_signed()).await?;
    let first = stream.state.first_seq;
    let stored_below = floor + 1;
    let below = match full(&stream.state, stream.config.max_bytes) {
        Some(below) => below,
        // Where there is no younger row, all that is stored is old.
        None => old(background, app, epoch.id, first)
            .await?
            .unwrap_or(stored_below),
    };
    let below = below.min(stored_below);
    if below > first {
        client.purge_below(LOG, below).await?;
        tracing::info!(from = first, below, "trimmed the log behind the database");
    }
    Ok(())
}

/// Below which sequence the log must go to be a quarter full, where it is more than half full.
fn full(state: &natsfn::jetstream::StreamState, max_bytes: i64) -> Option<u64> {
    let max = u64::try_from(max_bytes).ok().filter(|max| *max > 0)?;
    if state.bytes <= max / 2 {
        return None;
    }
    let surplus = (state.bytes - max / 4) as f64 / state.bytes as f64;
    let sequences = (state.last_seq + 1).saturating_sub(state.first_seq);
    Some(state.first_seq + (sequences as f64 * surplus).ceil() as u64)
}

/// The first sequence that was stored since the time before which the log need not go back.
async fn old(background: &Background, app: &App, epoch: i64, first: u64) -> Result<Option<u64>> {
    let keep = Duration::from_secs(u64::from(app.config.stream.keep_days) * 24 * 60 * 60);
    let since = SystemTime::now() - keep;
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let seq = first_since(&background.db()?, epoch, first.cast_signed(), since).await?;
    Ok(seq.map(i64::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use natsfn::jetstream::StreamState;

    use super::*;

    #[test]
    fn a_log_over_half_goes_down_to_a_quarter() {
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

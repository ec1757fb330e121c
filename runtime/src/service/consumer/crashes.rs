//! Messages whose run alone in the function has not ended. A process that crashes cannot remember them,
//! so the consumer's metadata does.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Consumer;
use crate::error::{Error, Result};
use crate::function::event::Key;
use crate::nats::jetstream::{Nats, consumer_info};

/// The key of this record in a consumer's metadata.
const CRASHES: &str = "natsfn.crashes";

/// How many messages are recorded, oldest first.
const REMEMBERED: usize = 16;

/// Runs of a message that began and did not end.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Unended {
    pub(crate) runs: u32,
    /// When the first began, in ms since 1970.
    since: u64,
}

impl Unended {
    /// How long ago the first run began.
    pub(crate) fn age(self) -> Duration {
        Duration::from_millis(now().saturating_sub(self.since))
    }
}

/// Counts a run of the message, unless `limit` runs of it are known, or as many messages as are remembered; returns the
/// runs before this one.
fn count(crashes: &mut BTreeMap<String, Unended>, key: Key, limit: u32) -> Unended {
    let before = crashes.get(&name(key)).copied();
    let has_room = before.is_some() || crashes.len() < REMEMBERED;
    let before = before.unwrap_or(Unended {
        runs: 0,
        since: now(),
    });
    if before.runs < limit && has_room {
        let counted = Unended {
            runs: before.runs + 1,
            ..before
        };
        crashes.insert(name(key), counted);
    }
    before
}

impl Consumer {
    /// Records that a message begins to run alone, unless `limit` earlier runs did not end. Returns the
    /// number of runs before this one.
    pub(crate) async fn begins_alone(&self, nats: &Nats, key: Key, limit: u32) -> Result<Unended> {
        let mut before = Unended::default();
        self.change_crashes(nats, |crashes| before = count(crashes, key, limit))
            .await?;
        Ok(before)
    }

    /// Records that the run of a message has ended, with any outcome.
    pub(crate) async fn ended_alone(&self, nats: &Nats, key: Key) -> Result<()> {
        self.change_crashes(nats, |crashes| {
            crashes.remove(&name(key));
        })
        .await
    }

    async fn change_crashes(
        &self,
        nats: &Nats,
        change: impl FnOnce(&mut BTreeMap<String, Unended>),
    ) -> Result<()> {
        let found = consumer_info(nats, self.stream.name(), &self.durable_name()).await?;
        let read = found.metadata(CRASHES).unwrap_or("{}");
        let mut crashes: BTreeMap<String, Unended> = serde_json::from_str(read).unwrap_or_default();
        // Settled messages need no record.
        crashes.retain(|name, _| {
            let seq = name.split('-').next().and_then(|seq| seq.parse().ok());
            seq.is_some_and(|seq: u64| seq > found.ack_floor.stream_seq)
        });
        change(&mut crashes);
        let written = serde_json::to_string(&crashes).map_err(Error::from)?;
        if written == read {
            return Ok(());
        }
        let mut config = found.config;
        let metadata = config
            .entry("metadata")
            .or_insert_with(|| serde_json::json!({}));
        metadata[CRASHES] = written.into();
        self.create(nats, "update", config).await.map(drop)
    }
}

fn name(key: Key) -> String {
    format!("{}-{}", key.0, key.1)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_messages_are_counted_though_no_more_can_be_recorded() {
        let mut crashes = BTreeMap::new();
        for seq in 1..=20 {
            assert_eq!(count(&mut crashes, (seq, 0), 3).runs, 0);
        }
        assert_eq!(crashes.len(), REMEMBERED);

        let before: Vec<u32> = (0..4)
            .map(|_| count(&mut crashes, (1, 0), 3).runs)
            .collect();
        assert_eq!(before, [1, 2, 3, 3]);
        // Somebody else's place is free once that one is given up.
        crashes.remove(&name((1, 0)));
        count(&mut crashes, (20, 0), 3);
        assert_eq!(count(&mut crashes, (20, 0), 3).runs, 1);
    }
}
